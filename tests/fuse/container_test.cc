// What a container is told that lacks something; tests/containers does it with real ones.
#include "vmdkfuse/container.h"

#include <linux/capability.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "support/child_process.h"
#include "vmdkfuse/fuse_device.h"
#include "vmdkfuse/privileges.h"

namespace vmdkfuse {
namespace {

using testing::HasSubstr;
using testing::Not;
using vmdk::test::in_child_process;

Container with_nothing(Engine engine) {
  Container container;
  container.engine = engine;
  container.may_mount = false;
  return container;
}

TEST(ContainerHintTest, EachEngineHasItsOwnFlags) {
  EXPECT_EQ(fuse_hint(with_nothing(Engine::kDocker), ENOENT),
            "docker run --device /dev/fuse --cap-add SYS_ADMIN\n"
            "          in compose.yaml: devices: [/dev/fuse], cap_add: [SYS_ADMIN]\n"
            "          missing here: --device /dev/fuse, --cap-add SYS_ADMIN\n"
            "          without FUSE: vmdkctl cat, vmdkctl convert");
  EXPECT_EQ(fuse_hint(with_nothing(Engine::kPodman), ENOENT),
            "podman run --device /dev/fuse --cap-add SYS_ADMIN\n"
            "          missing here: --device /dev/fuse, --cap-add SYS_ADMIN\n"
            "          without FUSE: vmdkctl cat, vmdkctl convert");
  const std::string pod = fuse_hint(with_nothing(Engine::kKubernetes), ENOENT);
  EXPECT_THAT(pod, HasSubstr("/dev/fuse from a device plugin and "
                             "securityContext: {capabilities: {add: [SYS_ADMIN]}}"));
  EXPECT_THAT(pod, HasSubstr("or securityContext: {privileged: true}"));
  EXPECT_THAT(fuse_hint(with_nothing(Engine::kOther), ENOENT),
              HasSubstr("give the container the device /dev/fuse and CAP_SYS_ADMIN"));
}

TEST(ContainerHintTest, OnlyWhatIsMissingIsCalledMissing) {
  Container container = with_nothing(Engine::kPodman);
  EXPECT_THAT(fuse_hint(container, 0), HasSubstr("missing here: --cap-add SYS_ADMIN\n"));
  container.may_mount = true;
  EXPECT_THAT(fuse_hint(container, ENOENT),
              HasSubstr("missing here: --device /dev/fuse (where it is given: modprobe fuse on "
                        "the host)\n"));
  // The node is there, the device's control group forbids it.
  EXPECT_THAT(fuse_hint(container, EPERM), HasSubstr("missing here: --device /dev/fuse\n"));
  EXPECT_THAT(fuse_hint(container, 0), HasSubstr("nothing of that is missing here"));
  container.profile = Profile::kAppArmor;
  EXPECT_THAT(fuse_hint(container, 0),
              HasSubstr("missing here: --security-opt apparmor=unconfined\n"));
  container.profile = Profile::kSelinux;
  EXPECT_THAT(fuse_hint(container, 0), HasSubstr("missing here: --security-opt label=disable\n"));
  container.may_gain_rights = false;
  EXPECT_THAT(fuse_hint(container, 0),
              HasSubstr("missing here: no --security-opt no-new-privileges\n"));
}

TEST(ContainerHintTest, OutsideNothingIsSaidOfContainers) {
  Container none;
  EXPECT_EQ(fuse_hint(none, ENOENT), "modprobe fuse");
  EXPECT_EQ(fuse_hint(none, EACCES), "");
  EXPECT_EQ(fuse_hint(none, 0), "");
  EXPECT_FALSE(lacks_rights(with_nothing(Engine::kNone)));
  EXPECT_EQ(place_of(none), "");
  none.user_namespace = true;
  EXPECT_THAT(fuse_hint(none, EACCES), HasSubstr("chmod 666 /dev/fuse"));
  EXPECT_THAT(fuse_hint(none, 0), HasSubstr("unshare --user --map-root-user --mount"));
}

// What look_at_container() says in a process that `prepare` has changed.
template <class Prepare>
std::string seen_by(Prepare prepare) {
  return in_child_process([&] {
    prepare();
    const Container seen = look_at_container();
    return place_of(seen) + (seen.may_mount ? " mounts" : "") +
           (seen.may_gain_rights ? " gains" : "") + (seen.user_namespace ? " namespace" : "");
  });
}

TEST(ContainerTest, APodIsKnownByItsEnvironmentWhateverRunsIt) {
  EXPECT_THAT(seen_by([] { setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1", 1); }),
              HasSubstr("running in a Kubernetes pod"));
}

TEST(ContainerTest, RightsThatAreGoneAreMissed) {
  if (geteuid() != 0)
    GTEST_SKIP() << "only root has capabilities to give up";
  if (!has_capability(CAP_SYS_ADMIN))
    GTEST_SKIP() << "CAP_SYS_ADMIN is not to be had here";
  EXPECT_THAT(seen_by([] {}), HasSubstr(" mounts gains"));
  EXPECT_THAT(seen_by([] { static_cast<void>(keep_capabilities({}).has_value()); }),
              Not(HasSubstr("mounts")));
  const auto ordinary = [](bool bounded) {
    return seen_by([bounded] {
      if (bounded)
        prctl(PR_CAPBSET_DROP, CAP_SYS_ADMIN, 0, 0, 0);
      else
        static_cast<void>(forbid_new_privileges().has_value());
      [[maybe_unused]] const int done = setresuid(61234, 61234, 61234);
    });
  };
  // What counts then is what fusermount3 gets.
  EXPECT_THAT(ordinary(true), testing::EndsWith(" gains"));
  EXPECT_THAT(ordinary(true), Not(HasSubstr("mounts")));
  EXPECT_THAT(ordinary(false), testing::EndsWith(" mounts"));
}

}  // namespace
}  // namespace vmdkfuse

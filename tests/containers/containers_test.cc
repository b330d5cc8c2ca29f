// Mounts in real containers: with the flags that they take, and what is said without them.
#include <fstream>
#include <memory>
#include <string>

#include <gmock/gmock.h>

#include "containers/engine.h"
#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

using testing::HasSubstr;

constexpr const char* kMayMount = "--device /dev/fuse --cap-add SYS_ADMIN";

// A disk with one partition, ext4, in which are the files `hello` and `big`.
class ContainersTest : public MountTest {
 protected:
  static void SetUpTestSuite() { engine_ = Engine::start(why_not_); }

  static void TearDownTestSuite() { engine_.reset(); }

  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    if (!engine_)
      GTEST_SKIP() << "no containers here: " << why_not_;
    for (const char* program : {"sfdisk", "mkfs.ext4"})
      NEEDS_PROGRAM(program);
    ASSERT_TRUE(
        shell("mkdir files && echo hello > files/hello && "
              "dd if=/dev/urandom of=files/big bs=1M count=3 status=none && "
              "dd if=/dev/urandom of=new bs=1M count=5 status=none && truncate -s 64M raw && "
              "printf '%s\\n' 'label: dos' 'start=2048, size=48M, type=83' | sfdisk -q raw && "
              "mkfs.ext4 -q -F -E offset=1048576 -d files raw 48M && " +
              shell_word(VMDKCTL_PROGRAM) + " convert --from=raw raw disk.vmdk"));
  }

  // On hosts with AppArmor the profile of the engine forbids mounts.
  static std::string may_mount() {
    std::string flags = kMayMount;
    std::ifstream file("/sys/module/apparmor/parameters/enabled");
    if (file.get() == 'Y')
      flags += " --security-opt apparmor=unconfined";
    return flags;
  }

  CommandResult in_container(const std::string& flags, const std::string& script) const {
    return engine_->run(flags, path(""), "set -e\n" + script);
  }

  void expect_works(const std::string& flags, const std::string& script) const {
    const CommandResult result = in_container(flags, script);
    EXPECT_EQ(result.status, 0) << flags << "\n" << script << "\n" << result.to_text();
  }

  // Expects that a mount is refused with the words `missing`. `before`: what starts the program.
  void expect_missing(const std::string& flags, const std::string& missing,
                      const std::string& before = "") const {
    SCOPED_TRACE(flags);
    const CommandResult result =
        in_container(flags, "mkdir -p /tmp/m; " + before + " vmdkfuse /w/disk.vmdk /tmp/m");
    EXPECT_EQ(result.status, 32) << result.to_text();
    EXPECT_THAT(result.err, HasSubstr(missing)) << result.to_text();
    EXPECT_THAT(result.err, HasSubstr("without FUSE: vmdkctl cat, vmdkctl convert"));
    EXPECT_FALSE(is_mounted("m"));
  }

  // Expects that the image is sound and that `new` was written over the disk at 50 MiB.
  void expect_new_at_50_mib() {
    expect_check("disk.vmdk");
    EXPECT_TRUE(shell("dd if=new of=raw bs=1M seek=50 conv=notrunc status=none && " +
                      shell_word(VMDKCTL_PROGRAM) + " compare --raw=b disk.vmdk raw"));
  }

  static std::unique_ptr<Engine> engine_;
  static std::string why_not_;
};

std::unique_ptr<Engine> ContainersTest::engine_;
std::string ContainersTest::why_not_;

TEST_F(ContainersTest, DeviceAndCapabilityDo) {
  expect_works(may_mount(), R"sh(
    mkdir /m
    vmdkfuse /w/disk.vmdk /m
    cmp /m/flat /w/raw
    dd if=/w/new of=/m/flat bs=1M seek=50 conv=notrunc status=none
    vmdkfuse -u /m)sh");
  expect_new_at_50_mib();
}

TEST_F(ContainersTest, WithNothingAtAllDisksAreCopied) {
  ASSERT_TRUE(shell("mkdir out"));
  expect_works("--cap-drop ALL --read-only", R"sh(
    [ ! -e /dev/fuse ]
    vmdkctl cat /w/disk.vmdk | cmp - /w/raw
    vmdkctl convert --type=raw /w/disk.vmdk /w/out/copy.raw
    cmp /w/out/copy.raw /w/raw
    vmdkctl convert --type=streamOptimized --verify /w/disk.vmdk /w/out/stream.vmdk
    vmdkctl compare /w/out/stream.vmdk /w/disk.vmdk
    vmdkctl check /w/disk.vmdk)sh");
  expect_check("out/stream.vmdk");
  EXPECT_TRUE(shell("cmp out/copy.raw raw"));
}

TEST_F(ContainersTest, WhatIsMissingIsNamed) {
  const std::string command = "hint: podman run --device /dev/fuse --cap-add SYS_ADMIN\n";
  const std::string missing = "          missing here: ";
  expect_missing("", "/dev/fuse: No such file or directory (running in a Podman container)\n    " +
                         command + missing + "--device /dev/fuse, --cap-add SYS_ADMIN\n");
  expect_missing("--device /dev/fuse", command + missing + "--cap-add SYS_ADMIN\n");
  expect_missing("--cap-add SYS_ADMIN", command + missing + "--device /dev/fuse (where");
  // The node alone does not do: the device's control group forbids it.
  expect_missing("-v /dev/fuse:/dev/fuse --cap-add SYS_ADMIN",
                 "/dev/fuse: Operation not permitted (running in a Podman container)\n    " +
                     command + missing + "--device /dev/fuse\n");
  // Somebody who is not root mounts with fusermount3, whose rights count.
  ASSERT_TRUE(shell("chmod 711 . && chmod 666 disk.vmdk"));
  expect_missing("--user 1000 --device /dev/fuse", command + missing + "--cap-add SYS_ADMIN\n");
  // Podman gives it what it adds to the capabilities, other engines do not.
  expect_missing(may_mount() + " --user 1000 --security-opt no-new-privileges",
                 command + missing + "no --security-opt no-new-privileges\n",
                 "setpriv --inh-caps=-all --ambient-caps=-all");
}

TEST_F(ContainersTest, OtherEnginesHaveTheirOwnWords) {
  expect_missing("-v /dev/null:/.dockerenv",
                 "(running in a Docker container)\n"
                 "    hint: docker run --device /dev/fuse --cap-add "
                 "SYS_ADMIN\n"
                 "          in compose.yaml: devices: [/dev/fuse], "
                 "cap_add: [SYS_ADMIN]\n");
  expect_missing("-e KUBERNETES_SERVICE_HOST=10.0.0.1", "(running in a Kubernetes pod)\n");
  expect_missing("-e KUBERNETES_SERVICE_HOST=10.0.0.1", "/dev/fuse from a device plugin");
}

// `podman stop`, `docker stop` and the end of a pod send SIGTERM to the first process, which is the
// daemon itself here.
TEST_F(ContainersTest, TheDaemonAsFirstProcessEndsInOrder) {
  ASSERT_TRUE(shell("mkdir m"));
  const CommandResult started =
      run_command(engine_->run_command_line(path("")) + " -d --name first " + may_mount() + " " +
                  Engine::image() + " sh -c 'mkdir /m && exec vmdkfuse -f /w/disk.vmdk /m'");
  ASSERT_EQ(started.status, 0) << started.to_text();
  const CommandResult written = engine_->podman(
      "exec first sh -c 'for try in $(seq 100); do [ -e /m/flat ] && break; sleep 0.1; done; "
      "dd if=/w/new of=/m/flat bs=1M seek=50 conv=notrunc status=none'");
  EXPECT_EQ(written.status, 0) << written.to_text();
  const CommandResult stopped = engine_->podman("stop -t 30 first");
  EXPECT_EQ(stopped.status, 0) << stopped.to_text();
  expect_new_at_50_mib();
}

// One container mounts, the host and another container use the disk.
TEST_F(ContainersTest, AMountIsSharedWhereTheVolumeIs) {
  ASSERT_TRUE(shell("mkdir shared && mount --bind shared shared && mount --make-shared shared"));
  const std::string volume = " -v " + word("shared") + ":/shared:";
  const CommandResult started = run_command(
      engine_->run_command_line(path("")) + " -d --name mounter " + may_mount() + volume +
      "rshared " + Engine::image() +
      " sh -c 'mkdir /shared/m && exec vmdkfuse -f -o allow_other /w/disk.vmdk /shared/m'");
  ASSERT_EQ(started.status, 0) << started.to_text();
  ASSERT_TRUE(eventually([&] { return size_of(path("shared/m/flat")) != 0; }));
  EXPECT_TRUE(shell("cmp shared/m/flat raw"));
  expect_works(volume + "rslave", "cmp /shared/m/flat /w/raw");
  EXPECT_EQ(engine_->podman("stop -t 30 mounter").status, 0);
  EXPECT_FALSE(is_mounted("shared/m"));
  EXPECT_TRUE(shell("umount shared"));
  expect_check("disk.vmdk");
}

}  // namespace
}  // namespace vmdkfuse::test

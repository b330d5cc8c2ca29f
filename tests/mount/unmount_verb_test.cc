// vmdkfuse -u: its verdicts and exit codes.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <filesystem>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

class UnmountVerbTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped())
      create();
  }
};

// For the tests with a second mount namespace. A root that is no mount point, as in a plain chroot,
// cannot be made private.
class OtherNamespaceTest : public UnmountVerbTest {
 protected:
  void SetUp() override {
    UnmountVerbTest::SetUp();
    if (const CommandResult result = in_folder("unshare -m true"); result.status != 0)
      GTEST_SKIP() << "no second mount namespace here: " << result.err;
  }
};

TEST_F(UnmountVerbTest, ReturnsWhenTheDaemonHasGone) {
  make_reference("ref");
  mount();
  const pid_t pid = daemon();
  ASSERT_TRUE(shell("cp ref flat"));
  unmount();
  EXPECT_EQ(access(path("pid").c_str(), F_OK), -1);
  // Its last act is to end; the connection ends with it.
  EXPECT_TRUE(eventually([&] { return kill(pid, 0) != 0; }));
  mount("-r");
  EXPECT_TRUE(shell("cmp ref flat"));
}

TEST_F(UnmountVerbTest, BusyIs32AndTearsNothingDown) {
  mount();
  const int file = open(path("flat").c_str(), O_RDWR | O_CLOEXEC);
  ASSERT_GE(file, 0);
  const CommandResult result = vmdkfuse("-u flat");
  EXPECT_EQ(result.status, 32) << result.to_text();
  EXPECT_NE(result.err.find("busy"), std::string::npos) << result.to_text();
  EXPECT_NE(result.err.find("\n    hint: \"fuser -vm flat\" shows which program uses it, "),
            std::string::npos)
      << result.to_text();
  EXPECT_EQ(pwrite(file, "busy", 4, 0), 4);
  EXPECT_TRUE(is_mounted());
  close(file);
  unmount();
}

TEST_F(UnmountVerbTest, DeadDaemonIs4) {
  mount();
  ASSERT_EQ(kill(daemon(), SIGKILL), 0);
  ASSERT_TRUE(daemon_ends());
  const CommandResult result = vmdkfuse("-u flat");
  EXPECT_EQ(result.status, 4) << result.to_text();
  EXPECT_FALSE(is_mounted());
}

TEST_F(OtherNamespaceTest, DaemonThatDiesBeforeItsVerdictIs4) {
  mount_on_folder();
  // A copy of the mount in another namespace keeps the daemon from ending; then it is killed.
  ASSERT_TRUE(shell(
      "unshare -m --propagation private sleep 30 > /dev/null 2>&1 & echo $! > holder; sleep 0.3"));
  const CommandResult result = in_folder("(sleep 1; kill -KILL " + std::to_string(daemon()) +
                                         ") & " + shell_word(VMDKFUSE_PROGRAM) + " -u dir");
  EXPECT_EQ(result.status, 4) << result.to_text();
  EXPECT_NE(result.err.find("died"), std::string::npos) << result.to_text();
  shell("kill $(cat holder)");
}

TEST_F(OtherNamespaceTest, HeldInAnotherNamespaceIs64) {
  mount_on_folder();
  // The copy of the mount in the other namespace keeps the session alive.
  ASSERT_TRUE(shell(
      "unshare -m --propagation private sleep 30 > /dev/null 2>&1 & echo $! > holder; sleep 0.3"));
  const CommandResult result = vmdkfuse("-u dir");
  EXPECT_EQ(result.status, 64) << result.to_text();
  EXPECT_NE(result.err.find("another mount namespace"), std::string::npos) << result.to_text();
  EXPECT_FALSE(is_mounted("dir"));
  EXPECT_TRUE(daemon_lives());
  shell("kill $(cat holder)");
  EXPECT_TRUE(daemon_ends());
}

TEST_F(OtherNamespaceTest, WithoutSocketTheSyncDecides) {
  make_reference("ref");
  mount();
  ASSERT_TRUE(shell("cp ref flat"));
  // A mount namespace whose /run is another one, like a container.
  const CommandResult result =
      in_folder("unshare -m sh -c " + shell_word("mount -t tmpfs none /run && exec " +
                                                 shell_word(VMDKFUSE_PROGRAM) + " -u flat"));
  EXPECT_EQ(result.status, 0) << result.to_text();
  EXPECT_NE(result.err.find("socket is not in reach"), std::string::npos) << result.to_text();
  unmount();
}

TEST_F(UnmountVerbTest, EndlessWriterBeforeIsNoFailure) {
  mount();
  EXPECT_NE(shell_status("ulimit -f 2097152; cat /dev/zero > flat"), 0);
  const CommandResult result = vmdkfuse("-u flat");
  EXPECT_EQ(result.status, 0) << result.to_text();
}

TEST_F(UnmountVerbTest, LastCommitThatFailsIs2) {
  // The image lies on a file system with no room for what the cache has taken.
  std::filesystem::create_directory(path("small"));
  if (shell_status("mount -t tmpfs -o size=3m none small") != 0)
    GTEST_SKIP() << "no permission to mount a tmpfs";
  ASSERT_TRUE(shell("mv disk.vmdk small && ln -s small/disk.vmdk disk.vmdk"));
  mount("--cache=writeback");
  shell_status("dd if=/dev/urandom of=flat bs=1M count=6 conv=notrunc");
  const CommandResult result = vmdkfuse("-u flat");
  EXPECT_EQ(result.status, 2) << result.to_text();
  EXPECT_NE(result.err.find("No space left"), std::string::npos) << result.to_text();
  EXPECT_TRUE(daemon_ends());
}

TEST_F(UnmountVerbTest, SeveralMountpointsAndWhatIsNoMount) {
  create("other.vmdk");
  mount();
  ASSERT_TRUE(shell("touch two"));
  ASSERT_EQ(vmdkfuse("other.vmdk two").status, 0);
  EXPECT_EQ(vmdkfuse("-u flat two").status, 0);
  EXPECT_FALSE(is_mounted("two"));
  const CommandResult none = vmdkfuse("-u flat");
  EXPECT_EQ(none.status, 1);
  EXPECT_EQ(none.err, "vmdkfuse: flat: not a mount of vmdkfuse\n");
  EXPECT_EQ(vmdkfuse("-u missing").status, 1);
}

}  // namespace
}  // namespace vmdkfuse::test

// What was synced survives the daemon's sudden death.
#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

class DurabilityTest : public MountTest {
 protected:
  // Ends the daemon as a crash would and mounts again.
  void crash_and_remount() {
    ASSERT_EQ(kill(daemon(), SIGKILL), 0);
    ASSERT_TRUE(daemon_ends());
    EXPECT_NE(shell_status("cat flat > /dev/null"), 0);
    ASSERT_TRUE(shell("fusermount3 -u flat"));
    ASSERT_TRUE(shell("rm -f pid"));
    mount("--commit=0");
  }
};

TEST_F(DurabilityTest, FsyncedDataSurvivesKill) {
  create("disk.vmdk", 64 * vmdk::kMiB);
  make_reference("ref", 16 * vmdk::kMiB);
  for (const std::string cache : {"writeback", "writethrough", "none"}) {
    mount("--commit=0 --cache=" + cache);
    ASSERT_TRUE(shell("dd if=ref of=flat bs=1M seek=8 conv=notrunc,fsync"));
    // Not synced: may be lost, must not hurt.
    ASSERT_TRUE(shell("dd if=ref of=flat bs=1M seek=40 conv=notrunc"));
    crash_and_remount();
    EXPECT_TRUE(shell("cmp -n 16777216 -i 0:8388608 ref flat")) << cache;
    unmount();
    EXPECT_TRUE(shell("rm -f pid"));
  }
}

TEST_F(DurabilityTest, SynchronousWritesSurviveKill) {
  create();

  struct Case {
    const char* cache;
    int flags;
  };

  off_t at = 0;
  for (const Case each : {Case{"writeback", O_DSYNC}, Case{"writeback", O_DSYNC | O_DIRECT},
                          Case{"writethrough", O_DSYNC}, Case{"writethrough", O_SYNC | O_DIRECT},
                          Case{"none", O_DSYNC}, Case{"none", O_SYNC}}) {
    mount(std::string("--commit=0 --cache=") + each.cache);
    const std::unique_ptr<char, decltype(&std::free)> bytes(
        static_cast<char*>(std::aligned_alloc(4096, 4096)), &std::free);
    std::fill_n(bytes.get(), 4096, 's');
    const int file = open(path("flat").c_str(), O_WRONLY | O_CLOEXEC | each.flags);
    ASSERT_GE(file, 0);
    EXPECT_EQ(pwrite(file, bytes.get(), 4096, at), 4096);
    // Dies with the handle open, so that no close() commits.
    ASSERT_EQ(kill(daemon(), SIGKILL), 0);
    ASSERT_TRUE(daemon_ends());
    close(file);
    ASSERT_TRUE(shell("fusermount3 -u flat; rm -f pid"));
    mount("-r");
    EXPECT_EQ(shell_output("dd if=flat bs=4096 count=1 iflag=skip_bytes skip=" +
                           std::to_string(at) + " 2>/dev/null | tr -d s | wc -c"),
              "0")
        << each.cache << " " << each.flags;
    unmount();
    EXPECT_TRUE(shell("rm -f pid"));
    at += 1 << 20;
  }
}

TEST_F(DurabilityTest, TimerCommitsWithoutAnybodyAsking) {
  create();
  mount("--commit=1 --cache=writethrough");
  const int file = open(path("flat").c_str(), O_WRONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  EXPECT_EQ(pwrite(file, "timer", 5, 12345), 5);
  sleep(3);
  ASSERT_EQ(kill(daemon(), SIGKILL), 0);
  ASSERT_TRUE(daemon_ends());
  close(file);
  ASSERT_TRUE(shell("fusermount3 -u flat; rm -f pid"));
  mount("-r");
  EXPECT_EQ(shell_output("dd if=flat bs=1 skip=12345 count=5 2>/dev/null"), "timer");
}

TEST_F(DurabilityTest, KilledDaemonsImageIsTakenByTheNextMount) {
  create();
  make_reference("ref");
  mount();
  ASSERT_TRUE(shell("cp ref flat && sync flat"));
  ASSERT_EQ(kill(daemon(), SIGKILL), 0);
  ASSERT_TRUE(daemon_ends());
  const CommandResult refused = vmdkfuse("disk.vmdk flat");
  EXPECT_EQ(refused.status, 32);
  EXPECT_NE(refused.err.find("fusermount3 -u -- flat"), std::string::npos) << refused.to_text();
  mount("--replace-stale");
  EXPECT_TRUE(shell("cmp ref flat"));
  unmount();
  if (vmdk::test::have_program("qemu-img")) {
    EXPECT_TRUE(shell("qemu-img check disk.vmdk"));
  }
}

// The kernel keeps the attributes of a dead mount, which must not make it look alive.
TEST_F(DurabilityTest, ADeadMountIsSeenWhileItsAttributesAreKept) {
  create();
  mount();
  EXPECT_EQ(size_of(path("flat")), kDiskSize);
  ASSERT_EQ(kill(daemon(), SIGKILL), 0);
  ASSERT_TRUE(daemon_ends());
  const CommandResult result = vmdkfuse("disk.vmdk flat");
  EXPECT_EQ(result.status, 32) << result.to_text();
  EXPECT_NE(result.err.find("fusermount3 -u -- flat"), std::string::npos) << result.to_text();
  mount("--replace-stale");
  EXPECT_EQ(shell_output("grep -c \"$PWD/flat \" /proc/mounts"), "1");
  unmount();
}

}  // namespace
}  // namespace vmdkfuse::test

// Requests that wait for the disk do not hold up those that need not.
#include <optional>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

// The image is on a file system that can be made to stand still.
class WaitingTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    NEEDS_PROGRAM("mkfs.ext4");
    NEEDS_PROGRAM("fsfreeze");
    ASSERT_TRUE(shell("truncate -s 96M fs && mkfs.ext4 -q -F fs && mkdir fsdir"));
    const auto device = attach_loop("fs");
    if (!device)
      GTEST_SKIP() << "no loop device to be had";
    ASSERT_TRUE(shell("mount " + *device + " fsdir"));
    create("fsdir/disk.vmdk");
    make_reference("ref");
    const CommandResult result =
        in_folder("touch flat && " + vmdk::test::shell_word(VMDKFUSE_PROGRAM) +
                  " --pid-file=pid --cache=none --commit=0 --threads=8 fsdir/disk.vmdk flat");
    ASSERT_EQ(result.status, 0) << result.to_text();
    ASSERT_TRUE(shell("dd if=ref of=flat bs=1M conv=notrunc,fsync"));
  }

  void TearDown() override {
    in_folder("fsfreeze -u fsdir");
    in_folder(vmdk::test::shell_word(VMDKFUSE_PROGRAM) + " -u flat");
    MountTest::TearDown();
  }
};

TEST_F(WaitingTest, ReadsAreAnsweredWhileWritesWait) {
  // Whatever happens to this test, the file system moves again.
  ASSERT_TRUE(shell("fsfreeze -f fsdir && { (sleep 30; fsfreeze -u fsdir) > gone 2>&1 & }"));
  ASSERT_TRUE(
      shell("for at in 0 1 2 3 4 5; do dd if=ref of=flat bs=64k count=1 seek=$at skip=$at "
            "conv=notrunc > out.$at 2>&1 & done; sleep 0.5"));
  EXPECT_TRUE(shell("timeout 10 cmp ref flat"));
  // They did wait, or nothing was shown.
  EXPECT_EQ(shell_output("cat out.*"), "");
  ASSERT_TRUE(shell("fsfreeze -u fsdir"));
  EXPECT_TRUE(eventually([&] { return shell_output("cat out.* | grep -c copied") == "6"; }))
      << shell_output("cat out.*");
  unmount();
}

}  // namespace
}  // namespace vmdkfuse::test

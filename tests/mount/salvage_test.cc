// Disks of which a part is gone, mounted with --salvage.
#include <filesystem>
#include <fstream>
#include <string>

#include <gmock/gmock.h>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

using testing::HasSubstr;

class SalvageMountTest : public MountTest {
 protected:
  // A split flat disk whose second file ends after a mebibyte.
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    std::ofstream(path("disk.vmdk")) << "# Disk DescriptorFile\nversion=1\nCID=12345678\n"
                                        "parentCID=ffffffff\ncreateType=\"twoGbMaxExtentFlat\"\n"
                                        "RW 8192 FLAT \"disk-f001.vmdk\" 0\n"
                                        "RW 8192 FLAT \"disk-f002.vmdk\" 0\n";
    make_reference("reference");
    ASSERT_TRUE(
        shell("dd if=reference of=disk-f001.vmdk bs=1M count=4 status=none; "
              "dd if=reference of=disk-f002.vmdk bs=1M skip=4 count=1 status=none"));
    std::ofstream(path("flat")).flush();
  }
};

TEST_F(SalvageMountTest, ShowsWhatIsThereAndListsWhatIsNot) {
  const CommandResult refused = vmdkfuse("-r disk.vmdk flat");
  EXPECT_EQ(refused.status, 32);
  EXPECT_THAT(refused.err, HasSubstr("--salvage reads what is sound"));
  EXPECT_EQ(vmdkfuse("--salvage -w disk.vmdk flat").status, 1);
  const CommandResult mounted = vmdkfuse("--pid-file=pid --log-file=log --salvage disk.vmdk flat");
  ASSERT_EQ(mounted.status, 0) << mounted.to_text();
  EXPECT_THAT(mounted.err, HasSubstr("vmdkfuse: salvaged: "));
  EXPECT_THAT(mounted.err, HasSubstr("cut: bytes 5242880 to 8388608 of the disk read EIO"));
  EXPECT_THAT(shell_output("cat log"), HasSubstr("of the disk read EIO"));
  EXPECT_TRUE(shell("cmp -n 5242880 flat reference"));
  EXPECT_NE(shell_status("dd if=flat of=/dev/null bs=4k skip=1280 count=1 status=none 2>error"), 0);
  EXPECT_THAT(shell_output("cat error"), HasSubstr("Input/output error"));
  EXPECT_NE(shell_status("dd if=reference of=flat bs=4k count=1 conv=notrunc status=none 2>error"),
            0);
  unmount();
}

TEST_F(SalvageMountTest, AnOverlayTakesWhatIsWritten) {
  const CommandResult mounted =
      vmdkfuse("--pid-file=pid --salvage --overlay=over.vmdk disk.vmdk flat");
  ASSERT_EQ(mounted.status, 0) << mounted.to_text();
  EXPECT_TRUE(shell("dd if=reference of=flat bs=1M skip=5 seek=5 conv=notrunc,fsync status=none"));
  EXPECT_TRUE(shell("cmp flat reference"));
  unmount();
  EXPECT_EQ(size_of(path("disk-f002.vmdk")), vmdk::kMiB);
}

// Only a part of a grain is written, and the rest of it is lost.
TEST_F(SalvageMountTest, AWriteOverWhatIsLostFailsAtOnce) {
  const CommandResult mounted =
      vmdkfuse("--pid-file=pid --salvage --overlay=over.vmdk disk.vmdk flat");
  ASSERT_EQ(mounted.status, 0) << mounted.to_text();
  EXPECT_NE(shell_status("dd if=reference of=flat bs=4k count=1 seek=1536 conv=notrunc status=none "
                         "2>error"),
            0);
  EXPECT_THAT(shell_output("cat error"), HasSubstr("error writing 'flat': Input/output error"))
      << "the write itself, not the close of the file";
  EXPECT_TRUE(
      shell("dd if=reference of=flat bs=64k count=1 seek=96 conv=notrunc,fsync status=none"));
  unmount();
}

}  // namespace
}  // namespace vmdkfuse::test

// A disk made of a block device: a loop device stands for it.
#include <fstream>
#include <optional>
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

TEST_F(MountTest, AWholeDeviceIsMountedWhenAllowed) {
  make_reference("ref");
  ASSERT_TRUE(shell("cp ref device"));
  const auto device = attach_loop("device");
  if (!device)
    GTEST_SKIP() << "no loop device to be had";
  std::ofstream(path("disk.vmdk")) << "# Disk DescriptorFile\nversion=1\nCID=12345678\n"
                                      "parentCID=ffffffff\ncreateType=\"fullDevice\"\n"
                                      "RW "
                                   << kDiskSize / 512 << " FLAT \"" << *device << "\" 0\n";
  std::ofstream(path("flat")).flush();
  const CommandResult refused = vmdkfuse("disk.vmdk flat");
  EXPECT_EQ(refused.status, 32) << refused.to_text();
  EXPECT_NE(refused.err.find("--allow-devices"), std::string::npos) << refused.to_text();
  mount("--allow-devices");
  EXPECT_TRUE(shell("cmp ref flat"));
  EXPECT_TRUE(shell("dd if=/dev/urandom of=ref bs=4k count=16 seek=8 conv=notrunc"));
  EXPECT_TRUE(shell("dd if=ref of=flat bs=1M conv=notrunc,fsync"));
  unmount();
  EXPECT_TRUE(shell("cmp ref " + *device));
}

TEST_F(MountTest, ADeviceThatIsMountedIsNotWrittenTo) {
  NEEDS_PROGRAM("mkfs.ext4");
  ASSERT_TRUE(shell("truncate -s 8M device && mkfs.ext4 -q -F device && mkdir files"));
  const auto device = attach_loop("device");
  if (!device)
    GTEST_SKIP() << "no loop device to be had";
  ASSERT_TRUE(shell("mount " + *device + " files"));
  std::ofstream(path("disk.vmdk")) << "# Disk DescriptorFile\nversion=1\nCID=12345678\n"
                                      "parentCID=ffffffff\ncreateType=\"fullDevice\"\n"
                                      "RW 16384 FLAT \""
                                   << *device << "\" 0\n";
  std::ofstream(path("flat")).flush();
  const CommandResult refused = vmdkfuse("--allow-devices disk.vmdk flat");
  EXPECT_EQ(refused.status, 32) << refused.to_text();
  EXPECT_NE(refused.err.find("busy"), std::string::npos) << refused.to_text();
  EXPECT_TRUE(shell("umount files"));
}

}  // namespace
}  // namespace vmdkfuse::test

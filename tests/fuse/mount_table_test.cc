#include "vmdkfuse/mount_table.h"

#include <sys/sysmacros.h>

#include <gtest/gtest.h>

namespace vmdkfuse {
namespace {

TEST(MountTableTest, ReadsALineOfOurs) {
  const auto table = parse_mount_table(
      "42 27 0:39 / /mnt/my\\040disk rw,nosuid,nodev,relatime shared:7 master:1 - fuse.vmdkfuse "
      "/images/a,\\134b.vmdk rw,user_id=1000,group_id=1000\n");
  ASSERT_EQ(table.size(), 1U);
  EXPECT_EQ(table[0].device, makedev(0, 39));
  EXPECT_EQ(table[0].mountpoint, "/mnt/my disk");
  EXPECT_EQ(table[0].type, kFileSystemType);
  EXPECT_EQ(table[0].source, "/images/a,\\b.vmdk");
  EXPECT_FALSE(table[0].read_only);
  EXPECT_EQ(table[0].user_id, 1000U);
}

TEST(MountTableTest, ReadOnlyOnEitherSideIsReadOnly) {
  const auto table = parse_mount_table(
      "1 2 8:1 / /a ro,relatime - ext4 /dev/sda1 rw\n"
      "1 2 8:1 / /b rw,relatime - ext4 /dev/sda1 ro,errors=x\n"
      "1 2 8:1 / /c rw,relatime - ext4 /dev/sda1 rw,prot\n");
  ASSERT_EQ(table.size(), 3U);
  EXPECT_TRUE(table[0].read_only);
  EXPECT_TRUE(table[1].read_only);
  EXPECT_FALSE(table[2].read_only);
  EXPECT_FALSE(table[0].user_id.has_value());
}

TEST(MountTableTest, LeavesOutWhatIsNoLine) {
  EXPECT_TRUE(parse_mount_table("").empty());
  EXPECT_TRUE(parse_mount_table("garbage\n\n1 2 3 4 5 6 7 8 9 10\n").empty());
  EXPECT_TRUE(parse_mount_table("1 2 x:y / /a rw - ext4 src rw\n").empty());
  EXPECT_TRUE(parse_mount_table("1 2 8:1 / /a rw - ext4 src\n").empty());
}

TEST(MountTableTest, OwnTableHasItsOwnFileSystem) {
  // In a chroot the root need not be a mount; the table itself always comes from one.
  const auto proc = mount_at("/proc");
  ASSERT_TRUE(proc.has_value());
  EXPECT_FALSE(mount_at("/no such mountpoint").has_value());
}

}  // namespace
}  // namespace vmdkfuse

// Programs that people put on a disk: partition tables, file systems, loop devices, fio.
#include <string>

#include "mount/mount_test.h"

namespace vmdkfuse::test {
namespace {

constexpr std::uint64_t kLarge = 600 * vmdk::kMiB;

class FileSystemsTest : public MountTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (!IsSkipped())
      create("disk.vmdk", kLarge);
  }

  void check_image() {
    if (vmdk::test::have_program("qemu-img")) {
      EXPECT_TRUE(shell("qemu-img check disk.vmdk"));
    }
  }

  // Makes a file system through `flat`, uses it on a loop device, and checks it after a new mount.
  void use_on_loop(const std::string& make, const std::string& check, const std::string& loop) {
    mount();
    ASSERT_TRUE(shell(make + " flat"));
    const auto device = attach_loop("flat", loop);
    if (!device)
      GTEST_SKIP() << "no loop device to be had";
    ASSERT_TRUE(shell("mkdir -p fs && mount " + *device + " fs"));
    ASSERT_TRUE(
        shell("cp -r /usr/include/linux fs/ && dd if=/dev/urandom of=fs/big bs=1M count=64 "
              "conv=fsync && cp fs/big big && rm -r fs/linux/netfilter* && sync -f fs"));
    ASSERT_TRUE(shell("umount fs && losetup -d " + *device));
    EXPECT_TRUE(eventually([&] { return vmdkfuse("-u flat").status == 0; }));
    check_image();
    mount();
    EXPECT_TRUE(shell(check + " flat"));
    const auto again = attach_loop("flat", "-r");
    ASSERT_TRUE(again);
    ASSERT_TRUE(shell("mount -o ro " + *again +
                      " fs && cmp big fs/big && umount fs && losetup -d " + *again));
    EXPECT_TRUE(eventually([&] { return vmdkfuse("-u flat").status == 0; }));
    check_image();
  }
};

TEST_F(FileSystemsTest, FdiskWritesAndReadsATable) {
  NEEDS_PROGRAM("sfdisk");
  mount();
  ASSERT_TRUE(shell("printf 'label: gpt\\nsize=100M\\nsize=200M\\n' | sfdisk -q flat"));
  unmount();
  mount("-r");
  EXPECT_EQ(shell_output("sfdisk -d flat | grep -c 'size='"), "2");
  unmount();
  check_image();
}

TEST_F(FileSystemsTest, Ext4) {
  NEEDS_PROGRAM("mkfs.ext4");
  use_on_loop("mkfs.ext4 -q -F", "e2fsck -fn", "");
}

TEST_F(FileSystemsTest, Ext4WithDirectLoop) {
  NEEDS_PROGRAM("mkfs.ext4");
  use_on_loop("mkfs.ext4 -q -F", "e2fsck -fn", "--direct-io=on");
}

TEST_F(FileSystemsTest, Xfs) {
  NEEDS_PROGRAM("mkfs.xfs");
  use_on_loop("mkfs.xfs -q -f", "xfs_repair -n -f", "");
}

TEST_F(FileSystemsTest, XfsWithDirectLoop) {
  NEEDS_PROGRAM("mkfs.xfs");
  use_on_loop("mkfs.xfs -q -f", "xfs_repair -n -f", "--direct-io=on");
}

TEST_F(FileSystemsTest, Btrfs) {
  NEEDS_PROGRAM("mkfs.btrfs");
  use_on_loop("mkfs.btrfs -q -f", "btrfs check --readonly", "");
}

TEST_F(FileSystemsTest, DiscardOnLoopGivesSpaceBack) {
  NEEDS_PROGRAM("blkdiscard");
  mount();
  ASSERT_TRUE(shell("dd if=/dev/urandom of=flat bs=1M count=64 conv=notrunc,fsync"));
  const auto device = attach_loop("flat");
  if (!device)
    GTEST_SKIP() << "no loop device to be had";
  EXPECT_TRUE(shell("blkdiscard " + *device + " && sync flat"));
  EXPECT_TRUE(eventually([&] { return std::stoull(shell_output("stat -c %b flat")) < 4096; }))
      << shell_output("stat -c %b flat");
  EXPECT_TRUE(shell("losetup -d " + *device));
  EXPECT_EQ(shell_output("tr -d '\\0' < flat | wc -c"), "0");
}

TEST_F(FileSystemsTest, Fuse2fsOnTheFlatFile) {
  NEEDS_PROGRAM("fuse2fs");
  NEEDS_PROGRAM("mkfs.ext4");
  mount();
  ASSERT_TRUE(shell("mkfs.ext4 -q -F flat && mkdir fs && fuse2fs -o fakeroot flat fs"));
  ASSERT_TRUE(shell("dd if=/dev/urandom of=big bs=1M count=32 && cp big fs/ && umount fs"));
  EXPECT_TRUE(eventually([&] { return shell_status("fuser -s flat") != 0; }));
  EXPECT_TRUE(eventually([&] { return vmdkfuse("-u flat").status == 0; }));
  check_image();
  mount("-r");
  ASSERT_TRUE(shell("fuse2fs -o ro,fakeroot flat fs && cmp big fs/big && umount fs"));
  EXPECT_TRUE(eventually([&] { return vmdkfuse("-u flat").status == 0; }));
}

class FioTest : public FileSystemsTest, public ::testing::WithParamInterface<const char*> {};

TEST_P(FioTest, VerifiesWhatItWrote) {
  NEEDS_PROGRAM("fio");
  mount(std::string("--cache=") + GetParam());
  const std::string common =
      "fio --name=v --filename=flat --size=64M --verify=crc32c --verify_fatal=1 --randrepeat=1 ";
  EXPECT_TRUE(shell(common + "--rw=randwrite --bsrange=512-128k --ioengine=psync"));
  EXPECT_TRUE(shell(common + "--rw=randwrite --bs=4k --ioengine=libaio --iodepth=32 --direct=1 "
                             "--offset=128M"));
  EXPECT_TRUE(shell(common + "--rw=write --bs=128k --ioengine=libaio --iodepth=16 --direct=1 "
                             "--offset=256M"));
  EXPECT_TRUE(shell(common + "--rw=randwrite --bs=4k --ioengine=psync --direct=1 --numjobs=4 "
                             "--offset=320M --offset_increment=64M"));
  unmount();
  check_image();
}

INSTANTIATE_TEST_SUITE_P(CacheModes, FioTest,
                         ::testing::Values("writeback", "writethrough", "none"),
                         [](const auto& mode) { return std::string(mode.param); });

}  // namespace
}  // namespace vmdkfuse::test

// The files flat1, flat2 ... of a directory mount, beside plain files with the bytes of those
// partitions.
#include "matrix/twin_test.h"

namespace vmdkfuse::test {
namespace {

// One file system on the first partition, and another one, 28 MiB long, on the second.
class PartitionFilesTest : public TwinTest {
 protected:
  void SetUp() override {
    MountTest::SetUp();
    if (IsSkipped())
      return;
    NEEDS_PROGRAM("sfdisk");
    name_ = "part";
    own_name_ = "dir/flat1";
    ASSERT_TRUE(shell(
        "truncate -s 96M raw && printf '%s\\n' 'label: gpt' 'start=2048, size=64M' 'size=28M' | "
        "sfdisk -q raw && " +
        shell_word(VMDKCTL_PROGRAM) +
        " convert --from=raw raw disk.vmdk && mkdir plain ours && "
        "ln -s ../dir/flat1 ours/part && ln -s ../dir/flat2 ours/second && "
        "truncate -s 64M plain/part && truncate -s 28M plain/second"));
    mount_on_folder();
    ASSERT_EQ(size_of(path("dir/flat1")), 64 * vmdk::kMiB);
    ASSERT_EQ(size_of(path("dir/flat2")), 28 * vmdk::kMiB);
  }

  // Expects that the image holds what the mount showed, and that beside the partitions it is as it
  // was.
  void TearDown() override {
    if (!HasFailure() && is_mounted("dir"))
      end_mount();
    MountTest::TearDown();
  }

 private:
  void end_mount() {
    ASSERT_TRUE(
        shell("dd if=dir/flat1 of=raw bs=1M seek=1 conv=notrunc,sparse status=none && "
              "dd if=dir/flat2 of=raw bs=1M seek=65 conv=notrunc,sparse status=none"));
    EXPECT_TRUE(eventually([&] { return vmdkfuse("-u dir").status == 0; }));
    expect_check("disk.vmdk");
    EXPECT_TRUE(shell(shell_word(VMDKCTL_PROGRAM) + " compare --raw=b disk.vmdk raw"));
  }
};

TEST_F(PartitionFilesTest, AreCalledAsFdiskCallsThem) {
  NEEDS_PROGRAM("fdisk");
  EXPECT_EQ(shell_output("fdisk -l -o Device dir/flat | grep '^dir/'"),
            shell_output("ls -d dir/flat[0-9]*"));
}

TEST_F(PartitionFilesTest, Ext4AndFuse2fs) {
  NEEDS_PROGRAM("mkfs.ext4");
  NEEDS_PROGRAM("fuse2fs");
  make_tree();
  WORKS("mkfs.ext4 -q -F part");
  AGREES(
      "serve_fs fs fuse2fs -f -o fakeroot part fs && cp -r ../tree fs/ && listing fs && "
      "end_fs fs");
  WORKS("e2fsck -fn part");
  AGREES("serve_fs fs fuse2fs -f -o ro,fakeroot part fs && listing fs && end_fs fs");
}

TEST_F(PartitionFilesTest, LoopMountsNeedNoPartscan) {
  NEEDS_PROGRAM("mkfs.ext4");
  make_tree();
  WORKS("mkfs.ext4 -q -F part");
  AGREES(
      "mkdir -p fs && mount -o loop part fs && cp -r ../tree fs/ && sync -f fs && listing fs; "
      "umount fs");
  AGREES(
      "on_loop --direct-io=on part && mount $loop fs && rm -r fs/tree/sub && listing fs && "
      "umount fs");
  WORKS("e2fsck -fn part");
}

TEST_F(PartitionFilesTest, NtfsAndNtfs3g) {
  NEEDS_PROGRAM("mkfs.ntfs");
  NEEDS_PROGRAM("ntfs-3g");
  make_tree();
  WORKS("mkfs.ntfs -F -Q -q part");
  AGREES(
      "serve_fs fs ntfs-3g -o no_detach part fs && cp -r ../tree fs/ && listing fs && end_fs fs");
  AGREES("ntfsfix -n part");
  AGREES("ntfsls part && ntfscat part tree/big | sha256sum");
}

TEST_F(PartitionFilesTest, VfatAndExfat) {
  NEEDS_PROGRAM("mkfs.vfat");
  AGREES("mkfs.vfat --invariant -F 32 part");
  same_bytes("part");
  AGREES("fsck.vfat -n part");
  NEEDS_PROGRAM("mkfs.exfat");
  WORKS("mkfs.exfat part");
  AGREES("fsck.exfat -n part");
}

TEST_F(PartitionFilesTest, BothAtTheSameTime) {
  NEEDS_PROGRAM("mkfs.ext4");
  NEEDS_PROGRAM("mkfs.vfat");
  NEEDS_PROGRAM("fuse2fs");
  make_tree();
  WORKS("mkfs.ext4 -q -F part & first=$!; mkfs.vfat --invariant -F 16 second && wait $first");
  WORKS(
      "serve_fs fs fuse2fs -f -o fakeroot part fs && "
      "{ cp -r ../tree fs/ & copy=$!; fatlabel second OTHER && wait $copy && end_fs fs; }");
  same_bytes("second");
  WORKS("e2fsck -fn part && fsck.vfat -n second");
}

TEST_F(PartitionFilesTest, Copies) {
  make_content(64 * vmdk::kMiB);
  WORKS("dd if=../content of=part bs=1M conv=notrunc,fsync status=none");
  same_bytes("part");
  AGREES("sha256sum part; dd if=part bs=1M iflag=direct status=none | sha256sum");
  WORKS("cp part out && cmp part out");
  WORKS("tar -chSf out.tar part && tar -xOf out.tar | cmp - part");
  WORKS("cp out part");
  same_bytes("part");
}

TEST_F(PartitionFilesTest, QemuImg) {
  NEEDS_PROGRAM("qemu-img");
  make_content(64 * vmdk::kMiB);
  WORKS("qemu-img convert -n -f raw -O raw ../content part");
  same_bytes("part");
  WORKS("qemu-img convert -f raw -O qcow2 part out && qemu-img compare part out");
}

TEST_F(PartitionFilesTest, Sleuthkit) {
  NEEDS_PROGRAM("fls");
  NEEDS_PROGRAM("mkfs.ext4");
  make_tree();
  WORKS(
      "E2FSPROGS_FAKE_TIME=1700000000 mkfs.ext4 -q -F -U 11111111-2222-3333-4444-555555555555 "
      "-E hash_seed=11111111-2222-3333-4444-555555555555 -d ../tree part");
  same_bytes("part");
  AGREES("fsstat part; fls -r -p part");
}

}  // namespace
}  // namespace vmdkfuse::test

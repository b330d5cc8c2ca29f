// File systems on the disk, mounted: by the kernel on loop devices, and by programs through FUSE.
#include "matrix/matrix_test.h"

namespace vmdkfuse::test {
namespace {

// Copies, changes and removes files; the list of what is there then is what the job prints.
std::string use(const std::string& folder) {
  return "cp -r ../tree " + folder + "/ && sync -f " + folder + " && rm " + folder +
         "/tree/sub/1* && dd if=/dev/zero of=" + folder +
         "/tree/big bs=4k seek=3 count=7 conv=notrunc status=none && mv " + folder +
         "/tree/sub/sub " + folder + "/moved && listing " + folder;
}

class LoopMatrixTest : public MatrixTest {
 protected:
  // Two times on a loop device: written, then read. A file system that the kernel does not know
  // fails on the plain file, too.
  void use_on_loop(const std::string& make, const std::string& check, const std::string& options) {
    make_tree();
    use_tree_on_loop(make, check, options);
  }

  // The same with a file system that knows no links.
  void use_on_loop_without_links(const std::string& make, const std::string& check) {
    make_tree();
    ASSERT_TRUE(shell("rm tree/sub/link"));
    use_tree_on_loop(make, check, "");
  }

 private:
  void use_tree_on_loop(const std::string& make, const std::string& check,
                        const std::string& options) {
    WORKS(make + " disk");
    AGREES("on_loop " + options + " disk && mount $loop fs && " + use("fs") + " && umount fs");
    AGREES("on_loop -r " + options + " disk && mount -o ro $loop fs && listing fs && umount fs");
    WORKS(check + " disk");
  }
};

TEST_P(LoopMatrixTest, Ext4) {
  NEEDS_PROGRAM("mkfs.ext4");
  use_on_loop("mkfs.ext4 -q -F", "e2fsck -fn", "");
}

TEST_P(LoopMatrixTest, Ext4Direct) {
  NEEDS_PROGRAM("mkfs.ext4");
  use_on_loop("mkfs.ext4 -q -F", "e2fsck -fn", "--direct-io=on");
}

TEST_P(LoopMatrixTest, Xfs) {
  NEEDS_PROGRAM("mkfs.xfs");
  use_size(320 * vmdk::kMiB);
  use_on_loop("mkfs.xfs -q -f", "xfs_repair -n -f", "");
}

TEST_P(LoopMatrixTest, XfsDirect) {
  NEEDS_PROGRAM("mkfs.xfs");
  use_size(320 * vmdk::kMiB);
  use_on_loop("mkfs.xfs -q -f", "xfs_repair -n -f", "--direct-io=on");
}

TEST_P(LoopMatrixTest, Btrfs) {
  NEEDS_PROGRAM("mkfs.btrfs");
  use_size(160 * vmdk::kMiB);
  use_on_loop("mkfs.btrfs -q -f", "btrfs check --readonly", "");
}

TEST_P(LoopMatrixTest, Vfat) {
  NEEDS_PROGRAM("mkfs.vfat");
  use_on_loop_without_links("mkfs.vfat -F 32", "fsck.vfat -n");
}

TEST_P(LoopMatrixTest, Exfat) {
  NEEDS_PROGRAM("mkfs.exfat");
  use_on_loop_without_links("mkfs.exfat", "fsck.exfat -n");
}

INSTANTIATE_TEST_SUITE_P(Kinds, LoopMatrixTest, ::testing::ValuesIn(matrix_kinds()),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_P(MatrixTest, Losetup) {
  NEEDS_PROGRAM("blkdiscard");
  AGREES(R"(on_loop --sector-size 4096 disk && blockdev --getsize64 --getss $loop)");
  AGREES(R"(on_loop --offset 1M --sizelimit 8M disk && blockdev --getsize64 $loop &&
            dd if=/dev/zero bs=1M count=8 status=none | tr '\0' x | dd of=$loop bs=1M status=none &&
            blkdiscard -o 2M -l 1M $loop && sync $loop)");
  same_bytes("disk");
  AGREES("on_loop -r disk && sha256sum < $loop && ! dd if=/dev/zero of=$loop count=1 2>/dev/null");
}

TEST_P(MatrixTest, Mount) {
  NEEDS_PROGRAM("mkfs.ext4");
  make_tree();
  WORKS("mkfs.ext4 -q -F -E offset=1048576 disk 32M");
  // As a partition is mounted by hand.
  const std::string at = "offset=1048576,sizelimit=33554432";
  AGREES("mkdir -p fs && mount -o loop," + at + " disk fs && " + use("fs") + "; umount fs");
  AGREES("mount -o loop,ro," + at + " disk fs && listing fs; umount fs");
}

TEST_P(MatrixTest, Fuse2fs) {
  NEEDS_PROGRAM("fuse2fs");
  NEEDS_PROGRAM("mkfs.ext4");
  make_tree();
  WORKS("mkfs.ext4 -q -F disk");
  AGREES("serve_fs fs fuse2fs -f -o fakeroot disk fs && " + use("fs") + " && end_fs fs");
  AGREES("e2fsck -fn disk > check; tail -n 1 check | sed 's,.*: ,,'");
  AGREES("serve_fs fs fuse2fs -f -o ro,fakeroot disk fs && listing fs && end_fs fs");
}

TEST_P(MatrixTest, Ntfs3g) {
  NEEDS_PROGRAM("ntfs-3g");
  NEEDS_PROGRAM("mkfs.ntfs");
  make_tree();
  WORKS("mkfs.ntfs -F -Q -q disk");
  AGREES("serve_fs fs ntfs-3g -o no_detach disk fs && " + use("fs") + " && end_fs fs");
  AGREES("ntfsfix -n disk");
  AGREES("serve_fs fs ntfs-3g -o no_detach,ro disk fs && listing fs && end_fs fs");
}

}  // namespace
}  // namespace vmdkfuse::test

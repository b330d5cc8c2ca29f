// Making and checking file systems on the whole disk, without mounting them.
#include "matrix/matrix_test.h"

namespace vmdkfuse::test {
namespace {

constexpr const char* kId = "11111111-2222-3333-4444-555555555555";

TEST_P(MatrixTest, Ext4) {
  NEEDS_PROGRAM("mkfs.ext4");
  make_tree();
  const std::string id = kId;
  WORKS("E2FSPROGS_FAKE_TIME=1700000000 mkfs.ext4 -q -F -U " + id + " -E hash_seed=" + id +
        " -d ../tree disk");
  same_bytes("disk");
  AGREES("e2fsck -fn disk");
  AGREES("dumpe2fs disk");
  AGREES("debugfs -R 'cat /big' disk | sha256sum");
  WORKS("resize2fs disk 48M && e2fsck -fy disk");
  AGREES("e2fsck -fn disk");
}

TEST_P(MatrixTest, Xfs) {
  NEEDS_PROGRAM("mkfs.xfs");
  use_size(320 * vmdk::kMiB);
  AGREES(std::string("mkfs.xfs -m uuid=") + kId + " disk");
  // Sorted: its threads come to the allocation groups in any order.
  AGREES("said=$(xfs_repair -n -f disk 2>&1); status=$?; echo \"$said\" | sort; exit $status");
  AGREES("xfs_db -f -r -c 'sb 0' -c p disk");
  WORKS("xfs_repair -f disk");
}

TEST_P(MatrixTest, Btrfs) {
  NEEDS_PROGRAM("mkfs.btrfs");
  use_size(160 * vmdk::kMiB);
  make_tree();
  WORKS("mkfs.btrfs -q -f -r ../tree disk");
  WORKS("btrfs check --readonly --check-data-csum disk");
  AGREES("mkdir -p out && btrfs restore disk out > /dev/null && listing out");
}

TEST_P(MatrixTest, Vfat) {
  NEEDS_PROGRAM("mkfs.vfat");
  AGREES("mkfs.vfat --invariant -F 32 -n LABEL disk");
  same_bytes("disk");
  AGREES("fsck.vfat -n -v disk");
  WORKS("fatlabel disk OTHER");
  same_bytes("disk");
}

TEST_P(MatrixTest, Exfat) {
  NEEDS_PROGRAM("mkfs.exfat");
  WORKS("mkfs.exfat -L label disk");
  AGREES("fsck.exfat -n disk");
  AGREES("tune.exfat -l disk");
}

TEST_P(MatrixTest, Ntfs) {
  NEEDS_PROGRAM("mkfs.ntfs");
  make_tree();
  WORKS("mkfs.ntfs -F -Q -L label disk");
  WORKS("ntfscp disk ../tree/big big");
  AGREES("ntfscat disk big | sha256sum");
  AGREES("ntfsls disk");
  AGREES("ntfsfix -n disk");
  WORKS("ntfsfix disk");
}

}  // namespace
}  // namespace vmdkfuse::test

// Tools that look at a disk from outside.
#include "matrix/matrix_test.h"

namespace vmdkfuse::test {
namespace {

class ForensicMatrixTest : public MatrixTest {
 protected:
  // A table with one partition at 1 MiB, with files in it; the same bytes on both.
  std::string make_partition() {
    make_tree();
    const std::string id = "11111111-2222-3333-4444-555555555555";
    return works(
        "printf '%s\\n' 'label: dos' 'label-id: 0x12345678' "
        "'start=2048, size=32M, type=83' | sfdisk -q disk && "
        "E2FSPROGS_FAKE_TIME=1700000000 mkfs.ext4 -q -F -U " +
        id + " -E offset=1048576,hash_seed=" + id + " -d ../tree disk 32M");
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, ForensicMatrixTest, ::testing::ValuesIn(matrix_kinds()),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_P(ForensicMatrixTest, Sleuthkit) {
  NEEDS_PROGRAM("mmls");
  NEEDS_PROGRAM("sfdisk");
  NEEDS_PROGRAM("mkfs.ext4");
  if (const std::string why = make_partition(); !why.empty())
    GTEST_SKIP() << why;
  same_bytes("disk");
  AGREES("mmls disk");
  AGREES("fsstat -o 2048 disk");
  AGREES("fls -o 2048 -r -p disk");
  AGREES(
      "node=$(fls -o 2048 disk | sed -n 's,^r/r \\([0-9]*\\):.*big$,\\1,p') && "
      "icat -o 2048 disk $node > big && cmp big ../tree/big && istat -o 2048 disk $node");
}

TEST_P(ForensicMatrixTest, Testdisk) {
  NEEDS_PROGRAM("testdisk");
  NEEDS_PROGRAM("sfdisk");
  NEEDS_PROGRAM("mkfs.ext4");
  if (const std::string why = make_partition(); !why.empty())
    GTEST_SKIP() << why;
  AGREES("testdisk /list disk | sed -n '/^Disk/,$p'");
  // Finds the partition of which the table was lost.
  WORKS("dd if=/dev/zero of=disk count=1 conv=notrunc status=none");
  AGREES(
      "TERM=dumb testdisk /log /cmd disk partition_i386,analyze,search > /dev/null 2>&1; "
      "sed -n '/^search_part/,$p' testdisk.log > found && grep -q ' Linux ' found && cat found");
}

}  // namespace
}  // namespace vmdkfuse::test

// Tools that copy a whole disk, out and in, and compare it.
#include "matrix/matrix_test.h"

namespace vmdkfuse::test {
namespace {

class CopyMatrixTest : public MatrixTest {
 protected:
  void SetUp() override {
    MatrixTest::SetUp();
    if (!IsSkipped())
      make_content(kSize);
  }

  // The disk then has holes, here as there.
  void fill() { ASSERT_TRUE(shell(put("plain") + " && " + put("ours"))); }

 private:
  static std::string put(const std::string& folder) {
    return "dd if=content of=" + folder + "/disk bs=64k conv=notrunc,sparse status=none";
  }
};

INSTANTIATE_TEST_SUITE_P(Kinds, CopyMatrixTest, ::testing::ValuesIn(matrix_kinds()),
                         [](const auto& kind) { return std::string(kind.param); });

TEST_P(CopyMatrixTest, Dd) {
  WORKS("dd if=../content of=disk bs=1M conv=notrunc,fsync status=none");
  WORKS(
      "dd if=../content of=disk bs=4k skip=77 seek=1000 count=600 conv=notrunc oflag=direct "
      "status=none");
  WORKS("dd if=../content of=disk bs=1000 seek=12345 count=999 conv=notrunc,fdatasync status=none");
  WORKS("dd if=/dev/zero of=disk bs=64k seek=100 count=50 conv=notrunc status=none");
  WORKS(
      "dd if=../content of=disk bs=64k seek=1 count=20 oflag=dsync conv=notrunc,swab status=none");
  same_bytes("disk");
  AGREES("dd if=disk bs=7k status=none | sha256sum");
  AGREES("dd if=disk bs=1M iflag=direct status=none | sha256sum");
  AGREES("dd if=disk bs=512 skip=100000 count=3000 status=none | sha256sum");
  // One byte behind the end.
  AGREES("dd if=disk bs=1M skip=63 count=5 status=none | wc -c");
}

TEST_P(CopyMatrixTest, Ddrescue) {
  NEEDS_PROGRAM("ddrescue");
  WORKS("ddrescue -q --force ../content disk in.map");
  same_bytes("disk");
  WORKS("ddrescue -q disk out out.map && cmp disk out");
  WORKS("ddrescue -q --sparse --idirect disk sparse && cmp disk sparse");
  AGREES("ddrescuelog -t out.map | sed 's,^out.map,,'");
  WORKS("[ $(stat -c %b sparse) -lt 65536 ]");
}

TEST_P(CopyMatrixTest, CpSparse) {
  WORKS("cp ../content disk");
  same_bytes("disk");
  for (const std::string mode : {"always", "auto", "never"})
    WORKS("cp --sparse=" + mode + " disk out." + mode + " && cmp disk out." + mode);
  fill();
  // What was never written costs no space in the copy.
  WORKS("cp disk out && cmp disk out && [ $(stat -c %b out) -lt 65536 ]");
  WORKS("cp -a disk kept && cmp disk kept");
}

TEST_P(CopyMatrixTest, TarSparse) {
  fill();
  // Status 1 would be a file that changed while it was read.
  WORKS("tar -cSf out.tar disk && [ $(stat -c %s out.tar) -lt 33554432 ]");
  WORKS("mkdir -p out && tar -xf out.tar -C out && cmp disk out/disk");
  WORKS("tar -cf full.tar disk && tar -df full.tar");
}

TEST_P(CopyMatrixTest, Rsync) {
  NEEDS_PROGRAM("rsync");
  WORKS("rsync --ignore-times --inplace ../content disk");
  same_bytes("disk");
  WORKS("rsync -S disk out && cmp disk out");
  WORKS(
      "dd if=/dev/urandom of=out bs=1k seek=5000 count=9 conv=notrunc status=none && "
      "rsync --inplace --no-whole-file --checksum out disk && cmp out disk");
  WORKS(
      "rsync -t --ignore-times --inplace ../content disk && "
      "[ $(stat -c %Y disk) = $(stat -c %Y ../content) ]");
  same_bytes("disk");
}

TEST_P(CopyMatrixTest, CmpAndSha256sum) {
  fill();
  AGREES("sha256sum disk");
  AGREES("cmp disk ../content");
  AGREES(
      "printf x | dd of=disk bs=1 seek=4194304 conv=notrunc status=none; "
      "cmp disk ../content > said; [ $? -eq 1 ] && cat said");
  AGREES("md5sum disk; cksum disk; wc -c disk");
}

TEST_P(CopyMatrixTest, QemuImgAsSource) {
  NEEDS_PROGRAM("qemu-img");
  fill();
  WORKS("qemu-img convert -f raw -O qcow2 disk out.qcow2");
  AGREES("qemu-img compare -f raw -F qcow2 disk out.qcow2");
  WORKS("qemu-img convert -f raw -T none -O vmdk disk out.vmdk");
  AGREES("qemu-img compare -f raw -F vmdk disk out.vmdk");
  AGREES("qemu-img info -f raw disk | grep -E '^(file format|virtual size)'");
  // Holes are seen, so they are not read.
  WORKS("qemu-img map -f raw --output=json disk | grep -q '\"data\": false'");
}

TEST_P(CopyMatrixTest, QemuImgAsTarget) {
  NEEDS_PROGRAM("qemu-img");
  WORKS("qemu-img convert -n -f raw -O raw ../content disk");
  same_bytes("disk");
  WORKS(
      "dd if=/dev/zero bs=1M count=64 status=none | tr '\\0' z | dd of=disk bs=1M conv=notrunc "
      "status=none");
  WORKS("qemu-img convert -n -t none -f raw -O raw ../content disk");
  same_bytes("disk");
  // Without -n the target is opened as a new file.
  WORKS("qemu-img convert -W -m 8 -f raw -O raw ../content disk");
  same_bytes("disk");
  WORKS("qemu-img bench -q -w -f raw -t none -c 200 -d 16 -s 4096 -o 8388608 --pattern=65 disk");
  same_bytes("disk");
}

TEST_P(CopyMatrixTest, QemuIo) {
  NEEDS_PROGRAM("qemu-io");
  WORKS(
      "qemu-io -f raw -c 'write -P 7 1M 3M' -c 'discard 2M 64k' -c 'write -z 3M 64k' "
      "-c 'write -z -u 3200k 64k' -c 'write -P 9 65537 777' -c flush disk");
  same_bytes("disk");
}

}  // namespace
}  // namespace vmdkfuse::test

// Tools that put load on a disk and look whether it kept what they wrote.
#include "matrix/matrix_test.h"

namespace vmdkfuse::test {
namespace {

TEST_P(MatrixTest, Fio) {
  NEEDS_PROGRAM("fio");
  const std::string common =
      "fio --name=v --filename=disk --size=16M --verify=crc32c --verify_fatal=1 --randrepeat=1 "
      "--output=log ";
  WORKS(common + "--rw=randwrite --bsrange=512-128k --ioengine=psync");
  WORKS(common + "--rw=randwrite --bs=4k --ioengine=libaio --iodepth=32 --direct=1 --offset=16M");
  WORKS(common + "--rw=write --bs=64k --ioengine=mmap --offset=32M");
  WORKS(common + "--rw=randrw --bs=4k --ioengine=psync --fsync=16 --offset=48M");
}

TEST_P(MatrixTest, FioTrims) {
  NEEDS_PROGRAM("fio");
  // The bytes are those of a seed; what was trimmed reads as zeros.
  WORKS(
      "fio --name=t --filename=disk --size=16M --rw=randwrite --bs=4k --ioengine=psync "
      "--randrepeat=1 --buffer_pattern=0x5a --output=log");
  WORKS(
      "for at in 3 17 40 2000 3001; do fallocate -p -o $((at * 4096)) -l 12288 disk || exit; "
      "done");
  same_bytes("disk");
}

TEST_P(MatrixTest, StressNg) {
  NEEDS_PROGRAM("stress-ng");
  NEEDS_PROGRAM("mkfs.ext4");
  const std::string seconds = soak() ? "20" : "2";
  WORKS("mkfs.ext4 -q -F disk");
  WORKS(
      "on_loop disk && mount $loop fs && "
      "stress-ng --quiet --temp-path fs --timeout " +
      seconds +
      " --verify --hdd 1 --hdd-bytes 8M --hdd-opts wr-rnd,rd-rnd,fsync --sync-file 1 "
      "--sync-file-bytes 8M --fallocate 1 --fallocate-bytes 8M && umount fs");
  WORKS("e2fsck -fn disk");
}

}  // namespace
}  // namespace vmdkfuse::test

// Tools that write and read partition tables.
#include "matrix/matrix_test.h"

namespace vmdkfuse::test {
namespace {

TEST_P(MatrixTest, Fdisk) {
  NEEDS_PROGRAM("fdisk");
  WORKS(R"(printf '%s\n' o n p 1 2048 +16M n p 2 '' '' t 2 7 x i 0x12345678 r w |
           fdisk -w always -W always disk)");
  same_bytes("disk");
  AGREES("fdisk -l disk");
  AGREES("fdisk -l -o Device,Start,End,Type --bytes disk");
}

TEST_P(MatrixTest, Sfdisk) {
  NEEDS_PROGRAM("sfdisk");
  WORKS(R"(printf '%s\n' 'label: gpt' 'label-id: 11111111-2222-3333-4444-555555555555' \
             'size=16M, type=linux, uuid=11111111-2222-3333-4444-000000000001' \
             'size=20M, type=uefi, name="efi", uuid=11111111-2222-3333-4444-000000000002' |
           sfdisk disk)");
  same_bytes("disk");
  AGREES("sfdisk --verify disk");
  AGREES("sfdisk -d disk");
  AGREES("sfdisk -J disk");
  WORKS("sfdisk --delete disk 2 && sfdisk --part-label disk 1 first");
  same_bytes("disk");
}

TEST_P(MatrixTest, Gdisk) {
  NEEDS_PROGRAM("gdisk");
  WORKS(R"(printf '%s\n' o y n 1 '' +16M 8300 n 2 '' '' 0700 w y | gdisk disk)");
  // The identifiers are random.
  WORKS(R"(sgdisk -U 11111111-2222-3333-4444-555555555555 \
             -u 1:11111111-2222-3333-4444-000000000001 \
             -u 2:11111111-2222-3333-4444-000000000002 disk)");
  same_bytes("disk");
  AGREES("gdisk -l disk");
  AGREES("sgdisk -v -p -i 1 disk");
  // It waits for a second after each write, so there are few.
  WORKS("sgdisk --backup=table --delete=2 disk && sgdisk --load-backup=table disk");
  same_bytes("disk");
}

TEST_P(MatrixTest, Parted) {
  NEEDS_PROGRAM("parted");
  WORKS(R"(parted -s disk mklabel msdos mkpart primary ext4 1MiB 17MiB \
             mkpart primary ntfs 17MiB 100% set 1 boot on)");
  AGREES("parted -s disk unit B print free");
  AGREES("parted -s -m disk unit s print");
  WORKS("parted -s disk rm 2 resizepart 1 33MiB");
  // The number of the table is random.
  WORKS("printf '\\022\\064\\126\\170' | dd of=disk bs=1 seek=440 conv=notrunc status=none");
  same_bytes("disk");
  WORKS("parted -s disk mklabel gpt mkpart first 1MiB 50%");
  AGREES("parted -s disk print");
}

TEST_P(MatrixTest, Kpartx) {
  NEEDS_PROGRAM("kpartx");
  NEEDS_PROGRAM("sfdisk");
  NEEDS_PROGRAM("mkfs.ext4");
  WORKS("printf '%s\\n' 'label: dos' 'start=2048, size=32M, type=83' | sfdisk disk");
  AGREES("kpartx -l disk | sed 's,loop[0-9]*,LOOP,g'");
  make_tree();
  WORKS(R"(kpartx -s -a disk || exit
           part=/dev/mapper/$(kpartx -l disk | sed -n 's/ .*//p' | head -n 1)
           trap 'mountpoint -q fs && umount fs; kpartx -d disk' EXIT
           mkdir -p fs && mkfs.ext4 -q "$part" && mount "$part" fs && cp -r ../tree fs && umount fs)");
}

}  // namespace
}  // namespace vmdkfuse::test

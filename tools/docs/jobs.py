"""The jobs of docs/comparison.md: how they are done today, and our lines, which are run."""

import dataclasses


@dataclasses.dataclass
class Job:
    title: str
    today: list  # lines of other programs; they are not run
    ours: list  # lines, run one after the other in one folder
    note: str = ""
    most_lines: int = 0  # of an output that are shown; 0: all
    after: str = ""  # run behind them and not shown


JOBS = [
    Job("See what is on the disk",
        ["modprobe nbd max_part=16", "qemu-nbd -r -c /dev/nbd0 web.vmdk", "fdisk -l /dev/nbd0", "qemu-nbd -d /dev/nbd0"],
        ["vmdkctl info --partitions web-000002.vmdk"],
        "nbd needs root and a module of the kernel."),
    Job("The disk as a flat file, read-only",
        ["qemu-storage-daemon --blockdev driver=file,node-name=f,filename=web.vmdk \\",
         "    --blockdev driver=vmdk,node-name=d,file=f \\",
         "    --export type=fuse,id=e,node-name=d,mountpoint=$PWD/disk --daemonize --pidfile pid",
         "nbdfuse -r disk [ qemu-nbd -r -f vmdk web.vmdk ] &"],
        ["touch disk", "vmdkfuse -r web-000002.vmdk disk", "fdisk -l disk", "vmdkfuse -u disk"]),
    Job("A file out of the second partition, without root",
        ["guestmount -a web.vmdk -m /dev/sda2 --ro mnt      # a virtual machine, /dev/kvm to be fast",
         "vmware-mount web.vmdk 2 /mnt                      # root, VMware's program",
         "partfs -o dev=disk parts && fuse2fs parts/p2 mnt -o fakeroot,ro"],
        ["mkdir m mnt && vmdkfuse -r web-000002.vmdk m && ls m", "fuse2fs m/flat2 mnt -o fakeroot,ro >/dev/null",
         "cat mnt/settings.txt", "fusermount3 -u mnt && vmdkfuse -u m"],
        "With root: `mount -o loop,ro m/flat2 /mnt`."),
    Job("Read and write",
        ["qemu-nbd -c /dev/nbd0 web-000002.vmdk", "mount /dev/nbd0p2 /mnt", "umount /mnt && qemu-nbd -d /dev/nbd0"],
        ["vmdkfuse web-000002.vmdk disk", "echo 'a boot loader' | dd of=disk bs=512 seek=1 conv=notrunc,fsync status=none",
         "vmdkfuse -u disk && vmdkctl check web-000002.vmdk"]),
    Job("Writes that are thrown away",
        ["qemu-nbd -s -c /dev/nbd0 web.vmdk", "nbdkit --filter=cow file web.raw",
         "qemu-img create -b web.vmdk -F vmdk -f qcow2 temporary.qcow2   # and mount that"],
        ["sha256sum web-000002.vmdk", "vmdkfuse --overlay=tmp web-000002.vmdk disk",
         "dd if=/dev/urandom of=disk bs=1M count=8 conv=notrunc,fsync status=none",
         "vmdkfuse -u disk && sha256sum web-000002.vmdk"]),
    Job("Writes that are kept beside the original",
        ["qemu-img create -b web.vmdk -F vmdk -f qcow2 try.qcow2     # VMware cannot read it"],
        ["vmdkfuse --overlay=try.vmdk web-000002.vmdk disk",
         "dd if=/dev/urandom of=disk bs=1M count=8 conv=notrunc,fsync status=none && vmdkfuse -u disk",
         "qemu-img info try.vmdk"], "A snapshot like those that VMware makes.", most_lines=5, after="rm try.vmdk"),
    Job("The disk as of an older snapshot",
        ["# read the descriptors, find out which of the -00000N.vmdk it was, and mount that"],
        ["vmdkfuse -r web-000002.vmdk m && ls m/layers && vmdkfuse -u m",
         "vmdkfuse --layer=0 web-000002.vmdk disk && vmdkfuse --list && vmdkfuse -u disk"]),
    Job("A partition without FUSE",
        ["qemu-img convert -O raw web.vmdk web.raw          # all of it first"],
        ["vmdkctl cat --partition=2 web-000002.vmdk > system.ext4", "file system.ext4",
         "debugfs -R 'cat settings.txt' system.ext4 2>/dev/null"]),
    Job("A hash of the disk",
        ["qemu-img convert -O raw web.vmdk web.raw && sha256sum web.raw"],
        ["vmdkctl cat web-000002.vmdk | sha256sum"]),
    Job("What a script wants to know",
        ["qemu-img info --backing-chain --output=json web-000002.vmdk"],
        ["vmdkctl info --json web-000002.vmdk | python3 -m json.tool"], most_lines=12),
    Job("Is it sound?",
        ["qemu-img check web.vmdk                           # calls cross-linked and cut images clean"],
        ["vmdkctl check web-000002.vmdk", "head -c 300K web.vmdk >cut.vmdk",
         "vmdkctl check cut.vmdk | tail -n 2; echo status ${PIPESTATUS[0]}"]),
    Job("A raw disk becomes a disk of an appliance",
        ["qemu-img convert -O vmdk -o subformat=streamOptimized disk.raw app-disk1.vmdk"],
        ["vmdkctl convert --type=raw web-000002.vmdk disk.raw",
         "vmdkctl convert --from=raw --for=ova --verify disk.raw app-disk1.vmdk", "ls -sh disk.raw app-disk1.vmdk"]),
    Job("Unmount and know that it is safe",
        ["umount disk; while kill -0 $(cat pid); do sleep 1; done"],
        ["vmdkfuse web-000002.vmdk disk", "vmdkfuse -u disk; echo status $?"],
        "It returns after the last sync and the daemon's end, with the verdict of the last commit."),
]

SESSION = [
    "vmdkctl info --partitions web-000002.vmdk",
    "mkdir m mnt && vmdkfuse web-000002.vmdk m && ls m m/layers",
    "fdisk -l m/flat | tail -n 3",
    "fuse2fs m/flat2 mnt -o fakeroot,ro >/dev/null && ls mnt",
    "cat mnt/settings.txt",
    "fusermount3 -u mnt && vmdkfuse -u m",
    "vmdkctl check web-000002.vmdk",
]

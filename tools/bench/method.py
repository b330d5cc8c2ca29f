"""The words around the numbers in docs/benchmarks.md."""

INTRODUCTION = '''\
Written by `tools/bench/run --markdown docs/benchmarks.md`. One command makes the images, mounts
them with each peer, alternates the runs and writes this page; run it again on your machine.

* **raw**: a raw file on the same file system, without FUSE: what the disk below can do.
* **export**: QEMU's `qemu-storage-daemon` with a FUSE export of the same kind of VMDK, with its
  defaults.
* **inproc**: QEMU's VMDK driver inside `qemu-img bench` or `qemu-io`, without FUSE.
* **ours**: `vmdkfuse` with its default options, if none are named below.'''

METHOD = '''\
## Method

* Every image lies on the same file system. All VMDKs are made by `qemu-img`, so that the peers
  start from the same bytes. Empty images and children are new for every run; allocated ones have
  their grains in order, are made for each peer, and kept for its next round.
* The peers take turns within each round, and each round begins with another one. Before each timed
  start everything is synced; with `--drop-caches` the page cache is emptied as well.
* No zeros are written: source files come from urandom and lie in memory, `qemu-img bench` gets
  `--pattern=0xa5`, fio gets `--refill_buffers`.
* `seed-*` is `qemu-img bench -w -c 1024 -s 128K -d 1 -t none --pattern=0xa5`, on the flat file with
  `-f raw`, in-process with `-f vmdk`. "time" is its own clock, which stops before anything is
  synced. "with the closing sync" is wall time from the start of the command to the end of a
  `sync -d` of the flat file (of the image in-process).
* dd has `conv=fsync,notrunc`, so its time holds one sync already; the closing `sync -d` comes on
  top.
* The jobs of 4 KiB are fio's: `libaio`, `direct=1`, depth 32, offsets that are random and the same
  for all peers of a round, no block written twice; the fsync jobs use `sync` with `fsync=1` through
  the page cache. Rates are operations by fio's clock; "with the closing sync" adds the time of
  `sync -d`.
* "Bytes written by the daemon" is `wchar` of its `/proc/PID/io`, which counts its replies to the
  kernel too (24 bytes a write request) and the tables; the growth is that of the allocated blocks.
* `second-read` reads an allocated file three times: the second time at once, the third after two
  seconds (QEMU's export gives up the kernel's cache after one).
* `untar` makes ext4 on a loop device on the flat file, unpacks an archive that lies in memory, and
  ends with `sync -f`. The files are compared with the archive and the file system is checked
  afterwards, outside the time. QEMU's export has no run with direct I/O of the loop device: ext4
  does not survive it.
* `stream-*` read a streamOptimized image that `qemu-img convert` made of an archive of installed
  files (programs, libraries, texts). The image lies in the page cache, the mount is new each time, so
  what is measured is inflating. The bytes are compared with the archive outside the time.
* `convert-*` make an image of a raw disk of 4 GiB: ext4 with 2400 MiB of installed files, in the page
  cache, by `qemu-img convert` and by `vmdkctl convert`, both as they are by default. "time" ends with the
  command: ours has synced the image by then, qemu-img has not. "with the closing sync" adds a `sync -d`
  of the image, so that both have done the same. The first image of each is compared with the disk by
  `qemu-img compare`. The sizes may differ by 1 %: that is the target of 0.99.
* `count-*` attach strace to the daemon and count reads, writes and syncs of image files; they have
  one round, because counts do not vary with load.
* `mount-2t-full` has every grain entry pointing at a grain of its own in a sparse file: the most
  that the scan of the tables at a read-write mount can have to do. The memory is read one second
  after the mount.

## What it does not show

* One machine and one file system; a disk whose flush takes longer makes the distance to QEMU larger
  (it flushes for every grain it allocates), a disk that ignores flushes makes it smaller.
* The data fits in memory. Cold reads are bound by the disk and are alike for all peers.
* Equal times are not equal promises: QEMU's export syncs at every close of the flat file, vmdkfuse
  at fsync, at the last close of a writer, and every few seconds.
* Several clients at once, fragmented images, chains deeper than one parent, and other kinds of VMDK
  than the one named by `--kind`, but for what is converted.
'''

#include "vmdkfuse/help.h"

#include <fmt/format.h>

#include "fuse/server.h"

namespace vmdkfuse {
namespace {

constexpr const char* kHelp = R"(Shows a VMware disk as one flat file.

Usage: vmdkfuse [OPTION...] IMAGE MOUNTPOINT
       vmdkfuse -u MOUNTPOINT...    unmount; wait until everything is on disk
       vmdkfuse --list [--json]     our mounts: image, mode, mountpoint, pid

MOUNTPOINT is a file, which becomes the disk, or a directory: "flat", "flat1"...

  -r, --ro              read-only: image files are not opened for writing
  -w, --rw              read-write; default: read-only if write-protected
      --overlay=FILE    leave IMAGE as it is, write to its child FILE; or "tmp"
      --force=WHAT      override one refusal: children, journal, tables ...
      --parent=FILE     use FILE as the next missing parent
      --cache=MODE      page cache: auto, writeback, writethrough, none
      --commit=SEC      write tables at least every SEC seconds  [5]
  -f, --foreground      stay in the foreground
  -v, --verbose         say what was opened        -q, --quiet   errors only
  -o OPT[,OPT...]       a long option without dashes, or one of mount(8)
  -h, --help            this text                  --help-all    every option
  -V, --version

Example: touch f && vmdkfuse disk.vmdk f && fdisk -l f && vmdkfuse -u f
)";

constexpr const char* kFullHelp = R"(Shows a VMware disk as one flat file.

Usage: vmdkfuse [OPTION...] IMAGE MOUNTPOINT
       vmdkfuse -u|--unmount MOUNTPOINT...
       vmdkfuse --list [--json]

Access
  -r, --ro              read-only: image files are not opened for writing
  -w, --rw              read-write or not at all. Without -w, or with the
                        "-o rw" that mount(8) always passes, a
                        write-protected image is mounted read-only, with a
                        warning
      --overlay=FILE    leave IMAGE and its parents as they are: what is
                        written goes to FILE, a VMDK that is a child of IMAGE;
                        made if it is not there, else continued
      --overlay=tmp     the same with a child in $TMPDIR or /tmp that has no
                        name and is gone at the end
      --salvage         read-only or under --overlay: a disk that is damaged or
                        not whole. What was done is listed; what is not known
                        for sure reads as an error, never as zeros
      --share           with --ro: read beside a writer; the view may be torn
      --force=WHAT      override one refusal, may be repeated:
                          children   write although another image in the folder
                                     names this one as its parent
                          journal    with --ro: read an SESparse snapshot whose
                                     journal was not played back
                          stale-lck  write although a VMware lock folder exists
                          tables     write although grain tables are missing
      --drop-cbt        write to a disk with change tracking, which ends with
                        the first write: the next backup has to be a full one
      --allow-dir=DIR   files named inside an image may be beneath DIR
      --allow-devices   an image may name block devices of this host

Chain
      --layer=N|NAME    read-only: the disk as of an older layer: its number
                        in "vmdkctl info", where 0 (or "base") is the oldest,
                        or the name of its file
      --parent=FILE     use FILE as the next missing parent, may be repeated
      --search=DIR      look for parents in DIR as well, may be repeated
      --ignore-cid      with --ro: accept a parent whose content id differs

View
      --partitions=on|off  in a directory: each partition as a file, too, by the
                        name that fdisk has for it: "flat1"  [on]
      --layers=on|off   in a directory: "layers" with the disk as each image of
                        the chain has it, "0-base", "1-child"; read-only  [on]
      --uid=U --gid=G   owner and group, numbers  [those of who mounts]
      --mode=M          permissions, an octal number  [those of the image]

Tuning
      --cache=MODE      the kernel's page cache over the flat file  [auto]
                          auto          writeback where the mount can be written
                          writeback     written pages are kept and merged
                          writethrough  each write reaches vmdkfuse at once
                          none          direct I/O
      --commit=SEC      write tables at least every SEC seconds; 0: only at
                        fsync, last close and unmount  [5]
      --batch=N         grains reserved ahead for a stream of writes,
                        1 to 512  [512]
      --table-cache=SIZE  memory for grain tables, e.g. 64M  [256M]
      --threads=N       requests served at once  [4 per CPU, 8 to 64]
      --tune-bdi        as root: raise the kernel's read-ahead and dirty limits
                        of this mount; prints what it did

Rights
      --user=NAME[:GROUP]  as root: mount, then open the image and serve as this
                        user, with nothing left of root's rights
      --sandbox=MODE    once all is open, no file can be opened any more, no
                        program started, no network used  [auto]
                          auto  as far as the kernel can (Landlock)
                          on    not at all without
                          off

Running
  -f, --foreground      stay in the foreground
  -d, --debug           the same, and print every request
  -s, --single-thread   serve one request after the other
      --pid-file=FILE   write the daemon's process id, remove it at the end
      --ready-fd=N      write a line, "READY pid=N" or "FAIL text", to this
                        descriptor
      --log-file=FILE   messages after the start  [syslog]
      --log-level=LEVEL error, warn, info, debug, trace  [warn]
      --replace-stale   first remove a dead mount at MOUNTPOINT
  -v, --verbose         --log-level=info: say what was opened
  -q, --quiet           --log-level=error
  -o OPT[,OPT...]       a long option without dashes, or one of these:
                        dev nodev suid nosuid exec noexec noatime async sync
                        dirsync allow_other allow_root auto_unmount
                        default_permissions max_read=N context=C fscontext=C
                        defcontext=C rootcontext=C
  -h, --help            the short help
      --help-all        this text
  -V, --version         versions of this program and of libfuse

Verbs
  -u, --unmount         unmount and wait until everything is on disk
      --list            our mounts: image, mode, mountpoint, pid
      --json            with --list: as JSON

Exit status: 0 done, 1 usage, 2 system error (-u: the last commit failed),
4 internal error (-u: the daemon died), 8 interrupted, 32 mount failed (-u:
busy), 64 -u: unmounted here, still in use in another mount namespace.
)";

}  // namespace

std::string help_text() {
  return kHelp;
}

std::string full_help_text() {
  return kFullHelp;
}

std::string version_text() {
  const ServerVersion library = server_version();
  return fmt::format("vmdkfuse: {}\nlibfuse: {}\nlibfuse-built-with: {}\n", VMDKFUSE_VERSION,
                     library.loaded, library.built);
}

}  // namespace vmdkfuse

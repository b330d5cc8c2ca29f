#!/usr/bin/env python3
"""What a user reads when a mount is refused: object, cause, way out, and the status behind it.

Usage: messages_test.py VMDKFUSE VMDKCTL; 77 says that there is no FUSE here.
"""

import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

VMDKFUSE, VMDKCTL = (pathlib.Path(word).resolve() for word in sys.argv[1:3])
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]


class MessagesTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name).resolve()
        self.addCleanup(self.unmount_all)
        (self.folder / "flat").touch()
        self.create("disk.vmdk", "8M")

    def unmount_all(self):
        for line in pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
            where = line.split()[1]
            if where.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", where], check=False)

    def create(self, *words):
        subprocess.run([VMDKCTL, "create", *words], cwd=self.folder, check=True)

    def mount(self, *words, before=()):
        """Status and messages of vmdkfuse."""
        done = subprocess.run([*before, VMDKFUSE, *words], cwd=self.folder, check=False,
                              stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, encoding="utf-8")
        return done.returncode, done.stderr

    def refused(self, words, expected, status=32):
        """`expected` has a line for each of the message's; "*" stands for anything."""
        found, text = self.mount(*words)
        lines = [re.escape(line.strip()).replace(r"\*", ".*") for line in expected.strip().splitlines()]
        self.assertRegex(text, "^" + r"\n *".join(lines) + "\n$")
        self.assertEqual(found, status)
        return text

    def test_a_missing_parent(self):
        self.create("--parent=disk.vmdk", "web-000001.vmdk")
        os.rename(self.folder / "disk.vmdk", self.folder / "moved.vmdk")
        self.refused(["web-000001.vmdk", "flat"], f"""
            vmdkfuse: web-000001.vmdk: parent disk not found
            wanted: *disk.vmdk, content id ????????  (hint in the image: "disk.vmdk")
            looked at: {self.folder}/disk.vmdk: no such file
            hint: --parent=FILE names it, --search=DIR looks in another folder, --salvage reads *
        """.replace("????????", "*"))
        # And it is the way out.
        self.assertEqual(self.mount("-r", "--parent=moved.vmdk", "web-000001.vmdk", "flat"), (0, ""))

    def test_a_parent_of_others(self):
        self.create("--parent=disk.vmdk", "disk-000001.vmdk")
        self.refused(["disk.vmdk", "flat"], """
            vmdkfuse: *disk.vmdk: not opened for writing: disk-000001.vmdk is a snapshot of it, and writing to a parent makes its snapshots unreadable
            hint: mount disk-000001.vmdk, or -r, or --overlay=FILE, or --force=children
        """)
        for way_out in ("-r", "--overlay=tmp", "--force=children"):
            with self.subTest(way_out):
                self.assertEqual(self.mount(way_out, "disk.vmdk", "flat"), (0, ""))
                subprocess.run([VMDKFUSE, "-u", self.folder / "flat"], check=True)

    def test_an_image_in_use(self):
        self.assertEqual(self.mount("--pid-file=pid", "disk.vmdk", "flat"), (0, ""))
        pid = (self.folder / "pid").read_text(encoding="utf-8").strip()
        (self.folder / "second").touch()
        self.refused(["disk.vmdk", "second"], f"""
            vmdkfuse: disk.vmdk: in use: vmdkfuse (pid {pid}) holds a write lock
            hint: stop the program that uses it, or read beside it: -r --share
        """)
        status, text = self.mount("-r", "--share", "disk.vmdk", "second")
        self.assertEqual((status, text), (0, "vmdkfuse: disk.vmdk: read beside a writer: the view may be torn\n"))

    def test_an_image_in_use_by_vmware(self):
        (self.folder / "disk.vmdk.lck").mkdir()
        (self.folder / "disk.vmdk.lck/M12345.lck").touch()
        self.refused(["disk.vmdk", "flat"], """
            vmdkfuse: *disk.vmdk: in use by a VMware product: *disk.vmdk.lck/M12345.lck is there
            hint: stop the virtual machine; --force=stale-lck when no program uses the disk any more
        """)

    def test_a_stream_cannot_be_changed(self):
        subprocess.run([VMDKCTL, "convert", "--type=streamOptimized", "disk.vmdk", "app.vmdk"], cwd=self.folder,
                       check=True)
        self.refused(["app.vmdk", "flat"], """
            vmdkfuse: app.vmdk: not opened for writing: streamOptimized images are read-only by nature
            hint: vmdkfuse -r mounts it read-only, vmdkfuse --overlay=FILE keeps it as it is and writes to a child of it, vmdkctl convert makes a copy that can be written to
        """)
        # Also beside a snapshot: no --force would make it writable.
        subprocess.run([VMDKCTL, "snapshot", "app.vmdk", "child.vmdk"], cwd=self.folder, check=True)
        self.refused(["app.vmdk", "flat"], """
            vmdkfuse: app.vmdk: not opened for writing: streamOptimized images are read-only by nature
            hint: vmdkfuse -r mounts it read-only, *
        """)
        self.assertEqual(self.mount("--overlay=app-work.vmdk", "app.vmdk", "flat"), (0, ""))

    def test_a_missing_extent(self):
        self.create("--type=twoGbMaxExtentSparse", "split.vmdk", "5G")
        os.remove(self.folder / "split-s002.vmdk")
        self.refused(["split.vmdk", "flat"], """
            vmdkfuse: split.vmdk: extent in line *: *split-s002.vmdk: No such file or directory
            hint: --salvage reads what is sound; the rest reads as an error: extent 2 of 3, sectors 4192256 to 8384511 of the disk
        """)
        self.assertEqual(self.mount("--salvage", "split.vmdk", "flat")[0], 0)

    def test_a_dead_mount(self):
        self.mount("--pid-file=pid", "disk.vmdk", "flat")
        os.kill(int((self.folder / "pid").read_text(encoding="utf-8")), signal.SIGKILL)
        for _ in range(100):
            if not os.access(self.folder / "flat", os.R_OK):
                break
            time.sleep(0.05)
        self.refused(["disk.vmdk", "flat"], """
            vmdkfuse: flat: a dead FUSE mount is still there (Transport endpoint is not connected)
            hint: fusermount3 -u -- flat      or add --replace-stale
        """)
        self.assertEqual(self.mount("--replace-stale", "disk.vmdk", "flat")[0], 0)

    def test_an_unknown_option(self):
        self.refused(["--overlya=tmp", "disk.vmdk", "flat"], """
            vmdkfuse: unknown option "overlya" (did you mean "overlay"?)
        """, status=1)

    def test_a_mount_that_root_cannot_read(self):
        if os.geteuid() != 0 or shutil.which("setpriv") is None:
            self.skipTest("only root can mount as somebody else")
        for name in ("", "disk.vmdk", "flat"):
            os.chown(self.folder / name, 65534, 65534)
        status, text = self.mount("-v", "disk.vmdk", "flat", before=NOBODY)
        self.assertEqual(status, 0)
        self.assertIn('vmdkfuse: note: root cannot read this mount (no allow_root, no allow_other); '
                      '"sudo losetup" will say Permission denied\n', text)
        with self.assertRaises(PermissionError):
            os.stat(self.folder / "flat")


if __name__ == "__main__":
    if not os.access("/dev/fuse", os.W_OK):
        print("/dev/fuse is not there")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])

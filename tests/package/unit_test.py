#!/usr/bin/env python3
"""vmdkfuse@.service does what a service manager expects of it.

Usage: unit_test.py UNIT VMDKFUSE VMDKCTL; 77 says that there is no FUSE here.
"""

import configparser
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import unittest

UNIT, VMDKFUSE, VMDKCTL = (pathlib.Path(word).resolve() for word in sys.argv[1:4])


def unit():
    parser = configparser.ConfigParser(delimiters="=", comment_prefixes="#", strict=False)
    parser.optionxform = str
    parser.read(UNIT)
    return parser


def command(line, settings):
    """What the manager makes of a command: $X is split into words, ${X} is one word."""
    words = []
    for word in line.split():
        if re.fullmatch(r"\$[A-Z]+", word):
            words += settings.get(word[1:], "").split()
        else:
            words.append(re.sub(r"\$\{([A-Z]+)\}", lambda match: settings[match[1]], word))
    # The unit names the program where it will be installed.
    assert words[0].endswith("/bin/vmdkfuse"), words
    return [str(VMDKFUSE)] + words[1:]


class UnitTest(unittest.TestCase):
    def setUp(self):
        holder = tempfile.TemporaryDirectory()
        self.addCleanup(holder.cleanup)
        self.folder = pathlib.Path(holder.name)
        self.flat = self.folder / "a file"
        self.flat.touch()
        self.settings = {"IMAGE": str(self.folder / "disk.vmdk"), "MOUNTPOINT": str(self.flat),
                         "OPTIONS": "--commit=1 -o noatime"}
        subprocess.run([VMDKCTL, "create", self.settings["IMAGE"], "4M"], check=True)
        self.service = unit()["Service"]
        self.manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.manager.close)
        self.manager.bind(str(self.folder / "notify"))
        self.manager.settimeout(30)

    def start(self):
        environment = dict(os.environ, NOTIFY_SOCKET=str(self.folder / "notify"))
        daemon = subprocess.Popen(command(self.service["ExecStart"], self.settings), env=environment,
                                  stderr=subprocess.PIPE, encoding="utf-8")
        self.addCleanup(daemon.stderr.close)
        self.addCleanup(daemon.wait)
        self.addCleanup(subprocess.run, ["umount", "-l", self.flat], stderr=subprocess.DEVNULL)
        return daemon

    def wait_for(self, state):
        while state not in self.manager.recv(4096).decode().split("\n"):
            pass

    def write(self, text):
        with open(self.flat, "r+b", buffering=0) as disk:
            disk.write(text)

    def holds(self, text):
        found = subprocess.run([VMDKCTL, "cat", f"--length={len(text)}", self.settings["IMAGE"]], check=True,
                               stdout=subprocess.PIPE).stdout
        self.assertEqual(found, text)

    def test_it_is_ready_when_the_disk_is_there_and_stops_when_all_is_written(self):
        self.assertEqual(self.service["Type"], "notify")
        daemon = self.start()
        self.wait_for("READY=1")
        self.assertEqual(self.flat.stat().st_size, 4 << 20)
        self.write(b"by a service")
        subprocess.run(command(self.service["ExecStop"], self.settings), check=True)
        self.assertEqual(daemon.wait(timeout=30), 0)
        self.holds(b"by a service")

    def test_a_disk_in_use_serves_until_it_is_free(self):
        daemon = self.start()
        self.wait_for("READY=1")
        with open(self.flat, "r+b", buffering=0) as disk:
            stop = subprocess.run(command(self.service["ExecStop"], self.settings), check=False,
                                  stderr=subprocess.DEVNULL)
            self.assertEqual(stop.returncode, 32)
            daemon.send_signal(signal.SIGTERM)  # the manager's next step
            self.wait_for("STOPPING=1")
            disk.write(b"until the end")
        self.assertEqual(daemon.wait(timeout=30), 0)
        self.holds(b"until the end")

    def test_a_disk_that_is_not_there_fails_the_service(self):
        os.remove(self.settings["IMAGE"])
        daemon = self.start()
        self.assertEqual(daemon.wait(timeout=30), 32)
        self.assertIn("disk.vmdk", daemon.stderr.read())

    def test_the_manager_has_nothing_to_say_of_it(self):
        if shutil.which("systemd-analyze") is None:
            self.skipTest("systemd-analyze is not installed")
        # It looks for the programs too.
        text = re.sub(r"^(Exec\w+=)\S+", rf"\1{VMDKFUSE}", UNIT.read_text(encoding="utf-8"), flags=re.MULTILINE)
        file = self.folder / "vmdkfuse@data.service"
        file.write_text(text, encoding="utf-8")
        found = subprocess.run(["systemd-analyze", "verify", "--man=no", file], check=False,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")
        about_us = [line for line in found.stdout.splitlines() if "vmdkfuse" in line]
        self.assertEqual((found.returncode, about_us), (0, []))


if __name__ == "__main__":
    if not os.access("/dev/fuse", os.W_OK):
        print("/dev/fuse is not there")
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])

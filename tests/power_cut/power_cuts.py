#!/usr/bin/env python3
"""Cuts the power of a machine while it writes to VMDK images, again and again.

The machine runs tests/power_cut/life, with its images in an ext4 on a disk whose every request QEMU
logs (blklogwrites). It is stopped at a random moment and killed. Then the disk gets what was written
to it up to the last flush that the machine was answered, and of all later writes nothing, all, the
first ones, some, or some of their sectors: what a disk with a cache may be left with. The next life
judges it. Ends with status 1 at the first image that has not what it must.
"""

import argparse
import pathlib
import random
import shutil
import signal
import struct
import subprocess
import sys
import time

SECTOR = 512
MAGIC = 0x6A736677736872  # of the log, which has the format of the kernel's dm-log-writes
FLUSH, FUA, DISCARD = 1, 2, 4
DISK_SIZE = 512 << 20
LONGEST_BOOT = 300  # seconds
CHOICES = ["nothing", "all", "first", "some writes", "some sectors"]


def entries(log):
    """(flags, sector, data) of each request that the disk has answered, in that order."""
    data = log.read_bytes()
    if not data:
        return  # the machine had not come to the disk yet
    if struct.unpack_from("<QQ", data) != (MAGIC, 1):
        raise RuntimeError(f"{log} is no log of writes")
    at = SECTOR
    while at < len(data):
        sector, count, flags, _ = struct.unpack_from("<QQQQ", data, at)
        at += SECTOR
        if (sector, count, flags) == (0, 0, 0):
            continue  # room of a request that the end of the machine came before
        if flags & DISCARD:
            raise RuntimeError("the machine discards; nobody told it to")
        yield flags, sector, data[at:at + count * SECTOR]
        at += count * SECTOR


def kept(choice, unflushed, chance):
    """The writes that reach the disk of those that no flush came after."""
    if choice == "nothing":
        return []
    if choice == "all":
        return unflushed
    if choice == "first":
        return unflushed[:chance.randint(0, len(unflushed))]
    if choice == "some writes":
        return [write for write in unflushed if chance.random() < 0.5]
    sectors = [(sector + i, data[i * SECTOR:(i + 1) * SECTOR])
               for sector, data in unflushed for i in range(len(data) // SECTOR)]
    return [one for one in sectors if chance.random() < 0.5]


def cut(log, disk, choice, chance, lying):
    """Brings `disk` to what the power cut leaves. Returns the number of writes, and of those in doubt."""
    requests = list(entries(log))
    flushes = [i for i, (flags, _, _) in enumerate(requests) if flags & FLUSH]
    last = -1 if lying or not flushes else flushes[-1]
    certain, unflushed = [], []
    for i, (flags, sector, data) in enumerate(requests):
        if data:
            (certain if i < last or flags & FUA else unflushed).append((sector, data))
    with open(disk, "r+b") as file:
        for sector, data in certain + kept(choice, unflushed, chance):
            file.seek(sector * SECTOR)
            file.write(data)
    return len(certain) + len(unflushed), len(unflushed)


def stopped(process):
    """Whether none of its threads runs, or is in the kernel."""
    tasks = pathlib.Path(f"/proc/{process}/task")
    try:
        return all((task / "stat").read_text().rpartition(")")[2].split()[0] == "T"
                   for task in tasks.iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return False  # a thread that ended meanwhile


class Machine:
    """One life of it, with the disk and a log of what it writes there."""

    def __init__(self, command, folder):
        self.host = folder / "host"
        live, log = folder / "live", folder / "log"
        if log.exists():
            log.rename(folder / "log.before")
        subprocess.run(["cp", "--sparse=always", folder / "disk", live], check=True)
        log.write_bytes(b"")
        (self.host / "state").unlink(missing_ok=True)
        self.console = open(folder / "console", "wb")
        self.process = subprocess.Popen(
            command + [
                "-virtfs", f"local,path={self.host},mount_tag=host,security_model=none",
                "-blockdev", f"driver=file,node-name=live,filename={live},cache.no-flush=on",
                "-blockdev", f"driver=file,node-name=log,filename={log},cache.no-flush=on",
                "-blockdev", "driver=blklogwrites,node-name=logged,file=live,log=log,log-sector-size=512",
                "-device", "virtio-blk-pci,drive=logged,write-cache=on"],
            stdin=subprocess.DEVNULL, stdout=self.console, stderr=subprocess.STDOUT)

    def state(self):
        try:
            return (self.host / "state").read_text().strip()
        except FileNotFoundError:
            return ""

    def wait(self, seconds, until):
        """Waits until the state begins with a word of `until`, the machine ends, or time is up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.state().startswith(until) or self.process.poll() is not None:
                return
            time.sleep(0.02)

    def stop(self):
        """The end of the power. What the host was doing for the machine at that moment it ends first."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGSTOP)
            while not stopped(self.process.pid):
                time.sleep(0.005)
            self.process.kill()
            self.process.wait()
        self.console.close()


class Campaign:
    def __init__(self, arguments, command):
        self.folder = pathlib.Path(arguments.folder)
        self.host = self.folder / "host"
        self.command = command
        self.lying = arguments.lying_disk
        self.chance = random.Random(arguments.seed)
        self.last_seed = 0
        self.answers = {}
        self.writes = self.in_doubt = 0
        self.host.mkdir()
        with open(self.folder / "disk", "wb") as disk:
            disk.truncate(DISK_SIZE)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", self.folder / "disk"], check=True)

    def settings(self, seed):
        repair = "yes" if seed == "none" or self.chance.random() < 0.5 else "no"
        cache = self.chance.choice(["writeback", "writethrough"])
        commit = self.chance.choice([1, 30])
        (self.host / "settings").write_text(
            f"{seed} {self.last_seed} {repair} {cache} {commit} {self.chance.choice([5, 50, 500])}\n")
        return f"repair {repair}, {cache}, commit {commit}"

    def accept(self, seed):
        """What this life judged is known now, and what it wrote is judged by the next."""
        for shown in self.host.glob("*.shown"):
            name = shown.name.removesuffix(".shown")
            shown.rename(self.host / f"{name}.known")
            written = self.host / f"{name}.written"
            answers = written.read_bytes() if written.exists() else b""
            written.unlink(missing_ok=True)
            (self.host / f"{name}.answers").write_bytes(answers)
            for letter in answers.decode():
                self.answers[letter] = self.answers.get(letter, 0) + 1
        self.last_seed = seed

    def fresh_answers(self):
        return sum(len(file.read_bytes()) for file in self.host.glob("*.answers"))

    def life(self, number):
        seed = self.chance.randrange(1, 1 << 31)
        # Some are short: the power fails while the last cut is judged or mended.
        early = number > 1 and self.chance.random() < 0.15
        patience = self.chance.uniform(5, 40) if early else LONGEST_BOOT
        more = self.chance.choice([1, 5, 15]) * self.chance.random()
        choice = self.chance.choice(CHOICES)
        how = self.settings(seed)
        begin = time.monotonic()
        machine = Machine(self.command, self.folder)
        machine.wait(patience, ("writing", "failed"))
        if machine.state() == "writing":
            machine.wait(more, ("failed",))
        machine.stop()
        took = time.monotonic() - begin
        state = machine.state()
        if state != "writing" and not (early and state in ("", "judged")):
            raise RuntimeError(f"{state or 'nothing'} is all that the machine said; see the console")
        if state:
            self.accept(seed)
        writes, in_doubt = cut(self.folder / "log", self.folder / "disk", choice, self.chance, self.lying)
        self.writes += writes
        self.in_doubt += in_doubt
        print(f"cut {number}: {how}; while {state or 'judging'}, after {took:.1f} s, {self.fresh_answers()} answers; "
              f"of {in_doubt} of {writes} writes {choice}", flush=True)

    def last_life(self):
        self.settings("none")
        machine = Machine(self.command, self.folder)
        machine.wait(LONGEST_BOOT, ("failed", "ended"))
        machine.stop()
        if machine.state() != "ended":
            raise RuntimeError(machine.state() or "the machine said nothing; see the console")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, required=True)
    parser.add_argument("--folder", required=True, help="for the disk and all else; it has to be empty of it")
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 31))
    parser.add_argument("--lying-disk", action="store_true", help="lose flushed writes too")
    parser.add_argument("machine", nargs="+", help="QEMU and its options")
    arguments = parser.parse_args()
    print(f"seed {arguments.seed}", flush=True)
    campaign = Campaign(arguments, arguments.machine)
    try:
        for number in range(1, arguments.rounds + 1):
            campaign.life(number)
        campaign.last_life()
    except RuntimeError as error:
        print(f"FAILED (--seed={arguments.seed}): {error}")
        kept_in = f"build/vm/failed-{arguments.seed}"
        shutil.rmtree(kept_in, ignore_errors=True)
        shutil.copytree(campaign.folder, kept_in, ignore=shutil.ignore_patterns("tree*", "vl.*"))
        print(f"The disk, its log and what was known are kept in {kept_in}")
        return 1
    checks = (campaign.host / "checks").read_text().split()[1::2]
    count = campaign.answers.get
    torn = sum(int(number) for number in (campaign.host / "torn").read_text().split())
    print(f"{arguments.rounds} power cuts: {count('w', 0)} writes, {count('d', 0)} discards and {count('s', 0)} syncs "
          f"answered; of {campaign.writes} writes of the machine {campaign.in_doubt} were not flushed; "
          f"{torn} sectors were torn; "
          f"check {checks.count('0')} times 0 and {checks.count('3')} times 3")
    return 0


if __name__ == "__main__":
    sys.exit(main())

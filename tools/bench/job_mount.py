"""A disk of 2 TiB: how long a mount takes and what the idle daemon holds."""

import array
import contextlib
import functools
import os
import shutil
import signal
import struct
import sys
import time

from commands import Stopwatch, run, wait_until
from daemons import detach_mount, memory_mib, pid_of, process_ended
from jobs import DAEMON_PEERS, Job
from peers import mount_file

_CAPACITY = 2 << 40
_SECTOR = 512
_LAST_SECTOR = 1 << 32  # grain entries have 32 bits


def _fill_tables(path):
    """Points every grain entry at a grain of its own in a file that is one hole.

    The worst case for a scan of the tables, without 2 TiB of disk. The last few grains have no
    place below the sector limit and stay unallocated.
    """
    with open(path, 'r+b') as file:
        header = struct.unpack_from('<4xII QQQQ I QQQ', file.read(_SECTOR))
        _, _, capacity, grain, _, _, entries, redundant, primary, overhead = header
        first = -(-overhead // grain) * grain
        tables = -(-capacity // (grain * entries))
        for directory in (redundant, primary):
            places = struct.unpack(f'<{tables}I', os.pread(file.fileno(), tables * 4,
                                                           directory * _SECTOR))
            for table, place in enumerate(places):
                begin = first + table * entries * grain
                end = min(begin + entries * grain, _LAST_SECTOR - grain)
                values = array.array('I', range(begin, end, grain))
                if sys.byteorder == 'big':
                    values.byteswap()
                os.pwrite(file.fileno(), values.tobytes(), place * _SECTOR)
        file.truncate(_LAST_SECTOR * _SECTOR)


def _command(peer, image, flat, writable):
    """Mounts as a user does: the command returns when the mount is ready."""
    if peer.name == 'ours':
        return peer.command(image, flat, *([] if writable else ['-r']))
    return peer.command(image, flat, writable) + ['--daemonize']


@contextlib.contextmanager
def _background_mount(bench, peer, image, writable):
    """Yields (seconds until ready, process id of the daemon)."""
    with mount_file(bench.workspace) as flat:
        try:
            watch = Stopwatch()
            run(_command(peer, image, flat, writable))
            seconds = watch.seconds()
            yield seconds, pid_of(_binary(peer), flat)
        finally:
            _end(peer, flat)


def _binary(peer):
    return shutil.which(peer.binary)


def _end(peer, flat):
    """Unmounts and waits for the daemon; removes the mount whatever happens."""
    pid = pid_of(_binary(peer), flat)
    if pid is None:
        detach_mount(flat)
        return
    try:
        if peer.name == 'ours':
            run([peer.binary, '-u', flat])
        else:
            os.kill(pid, signal.SIGTERM)
        wait_until(lambda: process_ended(pid), f'end of {peer.name}')
    finally:
        if not process_ended(pid):
            os.kill(pid, signal.SIGKILL)
        detach_mount(flat)


def _run(full, bench, peer):
    image = bench.workspace.new_path('.vmdk')
    run(['qemu-img', 'create', '-q', '-f', 'vmdk', image, _CAPACITY])
    try:
        if full:
            _fill_tables(image)
        bench.settle()
        with _background_mount(bench, peer, image, True):
            pass  # warms the tables
        with _background_mount(bench, peer, image, False) as (seconds, _):
            result = {'mount_ro_ms': seconds * 1000}
        with _background_mount(bench, peer, image, True) as (seconds, pid):
            result['mount_rw_ms'] = seconds * 1000
            time.sleep(1)
            result['rss_mib'], result['peak_mib'] = memory_mib(pid)
        return result
    finally:
        image.unlink()


JOBS = (
    Job('mount-2t', 'mount of an empty 2 TiB disk, warm', functools.partial(_run, False),
        DAEMON_PEERS),
    Job('mount-2t-full', 'mount of a 2 TiB disk with every grain allocated, warm',
        functools.partial(_run, True), DAEMON_PEERS),
)

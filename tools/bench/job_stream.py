"""Reading a streamOptimized image of real files: front to back, and 4 KiB at random."""

import contextlib
import functools
import os

from commands import Stopwatch, run
from file_trees import archive
from job_fio import fio, rates
from jobs import DAEMON_PEERS, Job
from workspace import MIB

# What compresses as installed systems do: programs, libraries, texts.
_TREES = ('/usr/lib', '/usr/bin', '/usr/share', '/usr/include')
_GRAIN = 65536
_WINDOW_AT = 256  # MiB


def _create(workspace, mib):
    """The image, its compressed grains as qemu-img writes them."""
    source = archive(workspace, mib, _TREES)
    os.truncate(source, _disk_size(source))
    path = workspace.new_path('.vmdk')
    run(['qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', 'subformat=streamOptimized', source,
         path])
    return path


def _disk_size(source):
    return -(-source.stat().st_size // _GRAIN) * _GRAIN


@contextlib.contextmanager
def _opened(bench, peer):
    mib = bench.sizes.stream_mib
    image = bench.workspace.keep(('stream', mib), lambda: _create(bench.workspace, mib))
    workspace = bench.workspace.with_disk_size(_disk_size(archive(bench.workspace, mib, _TREES)))
    run(['dd', f'if={image}', 'of=/dev/null', 'bs=1M'])
    with peer.open(workspace, image, writable=False) as opened:
        bench.settle()
        yield opened


def _sequential(bench, peer):
    with _opened(bench, peer) as opened:
        watch = Stopwatch()
        run(['dd', f'if={opened.target}', 'of=/dev/null', 'bs=1M'])
        seconds = watch.seconds()
        # A fast answer that is wrong is none.
        run(['cmp', archive(bench.workspace, bench.sizes.stream_mib, _TREES), opened.target])
        return {'seconds': seconds}


def _random(window, bench, peer):
    """`window`: only within `window_mib`, else all over."""
    with _opened(bench, peer) as opened:
        size = bench.sizes.window_mib * MIB if window else opened.target.stat().st_size
        offset = min(_WINDOW_AT, bench.sizes.stream_mib // 2) * MIB if window else 0
        record = fio(bench, opened, '--rw=randread', '--ioengine=libaio', '--iodepth=32',
                     '--direct=1', '--time_based', f'--runtime={bench.sizes.read_seconds}',
                     f'--offset={offset}', f'--size={size}')
        return rates(record, 'read')


JOBS = (
    Job('stream-read', 'streamOptimized image of files, read front to back', _sequential,
        DAEMON_PEERS),
    Job('stream-randread-window', '4 KiB random reads within 48 MiB of it, O_DIRECT, depth 32',
        functools.partial(_random, True), DAEMON_PEERS),
    Job('stream-randread', '4 KiB random reads all over it, O_DIRECT, depth 32',
        functools.partial(_random, False), DAEMON_PEERS),
)

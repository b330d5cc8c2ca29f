"""dd through the page cache: large, small and one huge write; reading a file again."""

import functools
import time

from commands import Stopwatch, closing_sync, output, run
from jobs import FLAT_PEERS, Job
from workspace import ALLOCATED, EMPTY


def dd_write(source, opened, block, count):
    """dd with its own sync at the end; the source lies in memory."""
    run(['dd', f'if={source}', f'of={opened.target}', f'bs={block}', f'count={count}',
         'iflag=fullblock', 'conv=fsync,notrunc'])


def _write(mib_field, block_bytes, bench, peer):
    """`block_bytes`: 0 writes everything at once."""
    size = getattr(bench.sizes, mib_field) << 20
    block = block_bytes or size
    source = bench.workspace.random_source(size >> 20)
    with bench.opened(peer, EMPTY, region=0) as opened:
        watch = Stopwatch()
        dd_write(source, opened, block, size // block)
        seconds = watch.seconds()
        return {'seconds': seconds, 'seconds_sync': seconds + closing_sync(opened.target)}


def _write_once(bench, peer):
    if peer.name != 'inproc':
        return _write('dd_once_mib', 0, bench, peer)
    with bench.opened(peer, EMPTY, region=0) as opened:
        watch = Stopwatch()
        output(['qemu-io', '-f', 'vmdk', '-t', 'none', '-c',
                f'write -P 0xa5 0 {bench.sizes.dd_once_mib}M', '-c', 'flush', opened.target])
        seconds = watch.seconds()
        return {'seconds': seconds, 'seconds_sync': seconds + closing_sync(opened.target)}


def read_through(opened, mib):
    """Seconds to read the first `mib` MiB of a flat file."""
    watch = Stopwatch()
    run(['dd', f'if={opened.target}', 'of=/dev/null', 'bs=1M', f'count={mib}'])
    return watch.seconds()


def _second_read(bench, peer):
    mib = bench.sizes.dd_mib
    with bench.opened(peer, ALLOCATED, region=mib) as opened:
        read_through(opened, mib)
        again = read_through(opened, mib)
        time.sleep(2)
        return {'seconds': again, 'seconds_pause': read_through(opened, mib)}


JOBS = (
    Job('dd-1m', 'dd bs=1M conv=fsync,notrunc, empty image',
        functools.partial(_write, 'dd_mib', 1 << 20), FLAT_PEERS),
    Job('dd-4k', 'dd bs=4k conv=fsync,notrunc, empty image',
        functools.partial(_write, 'dd_small_mib', 4096), FLAT_PEERS),
    Job('dd-128m', 'one 128 MiB write and fsync, empty image', _write_once,
        FLAT_PEERS + ('inproc',)),
    Job('second-read', 'second read of a file', _second_read, FLAT_PEERS),
)

"""The seed: qemu-img bench, 128 KiB writes one after the other."""

import functools
import re

from commands import BenchError, Stopwatch, closing_sync, output
from jobs import FLAT_PEERS, Job
from workspace import ALLOCATED, CHILD, EMPTY

_CLOCK = re.compile(r'Run completed in ([0-9.]+) seconds')


def clock(text):
    """Seconds from what qemu-img bench printed."""
    match = _CLOCK.search(text)
    if not match:
        raise BenchError(f'qemu-img bench did not say how long it took: {text[-200:]}')
    return float(match.group(1))


def qemu_img_bench(opened, requests):
    """Runs the seed's command; returns the seconds of its own clock.

    The pattern matters: without it qemu-img writes zeros.
    """
    return clock(output(['qemu-img', 'bench', '-w', '-c', requests, '-s', '128K', '-d', '1',
                         '-t', 'none', '--pattern=0xa5', '-f', opened.target_format,
                         opened.target]))


def _run(state, bench, peer):
    requests = bench.sizes.seed_requests
    with bench.opened(peer, state, region=requests // 8) as opened:
        watch = Stopwatch()
        own_clock = qemu_img_bench(opened, requests)
        closing_sync(opened.target)
        return {'seconds': own_clock, 'seconds_sync': watch.seconds()}


JOBS = (
    Job('seed-empty', 'qemu-img bench, 128 KiB writes, empty image',
        functools.partial(_run, EMPTY), FLAT_PEERS + ('inproc',)),
    Job('seed-allocated', 'qemu-img bench, 128 KiB writes, allocated image',
        functools.partial(_run, ALLOCATED), FLAT_PEERS + ('inproc',)),
    Job('seed-child', 'qemu-img bench, 128 KiB writes, child of a full parent',
        functools.partial(_run, CHILD), ('export', 'inproc', 'ours')),
)

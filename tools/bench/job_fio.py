"""4 KiB requests with fio: random reads and writes at depth 32, write and fsync."""

import functools
import json

from commands import BenchError, closing_sync, output, run
from daemons import io_counters
from jobs import FLAT_PEERS, Job
from workspace import ALLOCATED, CHILD, EMPTY


def fio(bench, opened, *options):
    """Runs one fio job on the region; returns fio's record of its one job."""
    text = output(['fio', '--name=job', f'--filename={opened.target}', '--bs=4k', '--offset=0',
                   f'--size={bench.sizes.random_region_mib}M', '--fallocate=none',
                   '--allow_file_create=0', '--refill_buffers', f'--randseed={bench.round + 1}',
                   '--output-format=json', *options])
    # fio prints notes before the JSON.
    record = json.loads(text[text.index('{'):])['jobs'][0]
    if record['error']:
        raise BenchError(f"fio: error {record['error']}")
    return record


def rates(record, side_name, sync_seconds=None):
    """iops by fio's clock, with the closing sync if there was one, and the 99th percentile."""
    side = record[side_name]
    seconds = side['runtime'] / 1000
    # With fsync=1 the write itself only reaches the page cache; its fsync is what one waits for.
    latency = record['sync']['lat_ns'] if record['sync']['total_ios'] else side['clat_ns']
    result = {'iops': side['total_ios'] / seconds,
              'p99_us': latency['percentile']['99.000000'] / 1000}
    if sync_seconds is not None:
        result['iops_sync'] = side['total_ios'] / (seconds + sync_seconds)
    return result


def _random_read(bench, peer):
    with bench.opened(peer, ALLOCATED, bench.sizes.random_region_mib) as opened:
        if not bench.drop_caches:
            run(['dd', f'if={opened.image}', 'of=/dev/null', 'bs=1M'])
        record = fio(bench, opened, '--rw=randread', '--ioengine=libaio', '--iodepth=32',
                     '--direct=1', '--time_based', f'--runtime={bench.sizes.read_seconds}')
        return rates(record, 'read')


def _write_ratios(opened, before, grown_from, user_bytes):
    """What the daemon wrote for the user's bytes.

    wchar also counts the daemon's replies to the kernel. write_bytes would not do: it counts whole
    folios of the page cache, which are larger than what was written.
    """
    after = io_counters(opened.daemon.pid)
    grown = _allocated(opened.image) - grown_from
    return {'written_ratio': (after['wchar'] - before['wchar']) / user_bytes,
            'grown_ratio': grown / user_bytes}


def _allocated(image):
    """Bytes on disk of an image with all its extent files."""
    files = image.parent.glob(f'{image.stem}[.-]*')
    return sum(file.stat().st_blocks * 512 for file in files)


def _write(state, operations_field, options, bench, peer):
    operations = getattr(bench.sizes, operations_field)
    with bench.opened(peer, state, bench.sizes.random_region_mib) as opened:
        before = io_counters(opened.daemon.pid) if opened.daemon else None
        grown_from = _allocated(opened.image)
        record = fio(bench, opened, '--rw=randwrite', f'--io_size={operations * 4}k', *options)
        result = rates(record, 'write', closing_sync(opened.target))
        if opened.daemon:
            result |= _write_ratios(opened, before, grown_from, record['write']['io_bytes'])
        return result


_DEEP = ('--ioengine=libaio', '--iodepth=32', '--direct=1')
_FSYNC = ('--ioengine=sync', '--fsync=1')


def _deep(state):
    return functools.partial(_write, state, 'random_operations', _DEEP)


def _fsync(state):
    return functools.partial(_write, state, 'fsync_operations', _FSYNC)


JOBS = (
    Job('randread-4k', '4 KiB random reads, O_DIRECT, depth 32', _random_read, FLAT_PEERS),
    Job('randwrite-4k-allocated', '4 KiB random writes, O_DIRECT, depth 32, allocated image',
        _deep(ALLOCATED), FLAT_PEERS),
    Job('randwrite-4k-empty', '4 KiB random writes, O_DIRECT, depth 32, empty image',
        _deep(EMPTY), FLAT_PEERS),
    Job('randwrite-4k-child', '4 KiB random writes, O_DIRECT, depth 32, child of a full parent',
        _deep(CHILD), ('export', 'ours')),
    Job('fsync-4k-allocated', '4 KiB random write and fsync each, allocated image',
        _fsync(ALLOCATED), FLAT_PEERS),
    Job('fsync-4k-empty', '4 KiB random write and fsync each, empty image',
        _fsync(EMPTY), FLAT_PEERS),
)

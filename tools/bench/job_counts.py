"""Counted, not timed: system calls of the daemon and the layout of the image."""

import functools

import syscalls
from commands import closing_sync
from job_dd import dd_write, read_through
from job_seed import qemu_img_bench
from jobs import DAEMON_PEERS, Job
from workspace import ALLOCATED, CHILD, EMPTY, MIB


def _seed(state, bench, peer):
    """From the first WRITE to the end of the closing sync."""
    workspace = bench.workspace
    requests = bench.sizes.seed_requests
    region = requests // 8
    with bench.opened(peer, state, region) as opened:
        with syscalls.Trace(opened.daemon.pid, workspace.new_path('.strace')) as trace:
            qemu_img_bench(opened, requests)
            closing_sync(opened.target)
        image = opened.image.with_suffix('')
        result = {'writes': trace.count(syscalls.WRITES, image),
                  'syncs': trace.count(syscalls.SYNCS, image)}
        if state == CHILD:
            parent = workspace.allocated('vmdk', region, owner='parent').with_suffix('')
            result['parent_reads'] = trace.count(syscalls.READS, parent) / requests
        return result


def _second_read(bench, peer):
    mib = bench.sizes.dd_mib
    with bench.opened(peer, ALLOCATED, region=mib) as opened:
        read_through(opened, mib)
        log = bench.workspace.new_path('.strace')
        with syscalls.Trace(opened.daemon.pid, log) as trace:
            read_through(opened, mib)
        return {'reads': trace.count(syscalls.READS, opened.image.with_suffix(''))}


def _map(bench, peer):
    mib = bench.sizes.dd_mib
    with bench.workspace.image(peer, EMPTY, region=0) as image:
        with peer.open(bench.workspace, image) as opened:
            dd_write(bench.workspace.random_source(mib), opened, MIB, mib)
        lengths = peer.map_runs(image)
    return {'runs': len(lengths), 'shortest_run_mib': min(lengths) / MIB,
            'longest_run_mib': max(lengths) / MIB}


JOBS = (
    Job('count-seed-empty', 'system calls of seed-empty, first WRITE to the end of the sync',
        functools.partial(_seed, EMPTY), DAEMON_PEERS, rounds=1),
    Job('count-seed-child', 'system calls of seed-child', functools.partial(_seed, CHILD),
        DAEMON_PEERS, rounds=1),
    Job('count-second-read', 'system calls of the second read', _second_read, DAEMON_PEERS,
        rounds=1),
    Job('map-dd-1m', 'layout of the image after dd-1m', _map, ('ours',), rounds=1),
)

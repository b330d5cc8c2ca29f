"""A source tree untarred on ext4 on a loop device over the mount, with its sync."""

import functools

from commands import Stopwatch, run
from file_trees import archive, ext4, loop_device
from jobs import FLAT_PEERS, Job
from workspace import EMPTY


def _run(direct, bench, peer):
    source = archive(bench.workspace, bench.sizes.tree_mib)
    folder = bench.workspace.new_path('.ext4')
    with bench.opened(peer, EMPTY, region=0) as opened:
        with loop_device(opened.target, direct) as device:
            with ext4(device, folder):
                bench.settle()
                watch = Stopwatch()
                run(['tar', '-xf', source, '-C', folder])
                seconds = watch.seconds()
                run(['sync', '-f', folder])
                seconds_sync = watch.seconds()
                run(['tar', '--compare', '-f', source, '-C', folder])
            # A fast answer that damages the file system is none.
            run(['e2fsck', '-f', '-n', device])
    return {'seconds': seconds, 'seconds_sync': seconds_sync}


JOBS = (
    Job('untar', 'untar on ext4 on a loop device', functools.partial(_run, False), FLAT_PEERS),
    # Not for QEMU's export: it damages ext4 under a loop device with direct I/O.
    Job('untar-direct', 'untar on ext4 on a loop device with direct I/O',
        functools.partial(_run, True), ('raw', 'ours')),
)

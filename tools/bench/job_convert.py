"""A raw disk with a file system of real files becomes an image, by `convert` of both: no mount."""

import functools
import os

from commands import Stopwatch, closing_sync, run
from file_trees import collect, ext4, loop_device
from jobs import Job
from workspace import MIB

# Texts first, then programs and libraries: in this order until there is enough.
_TREES = ('/usr/include', '/usr/share', '/usr/bin', '/usr/lib')
PEERS = ('inproc', 'ours')


def _create_source(workspace, disk_mib, tree_mib):
    """A raw disk of `disk_mib` MiB: ext4 with `tree_mib` MiB of files in it."""
    path = workspace.new_path('.raw')
    with open(path, 'wb') as file:
        file.truncate(disk_mib * MIB)
    names = workspace.source_path('convert.list')
    names.write_bytes(b'\0'.join(map(os.fsencode, collect(_TREES, tree_mib * MIB))))
    folder = workspace.new_path('.ext4')
    with loop_device(path, direct=False) as device, ext4(device, folder):
        run(['xargs', '-0', '-a', names, 'cp', '--parents', '-t', folder])
    return path


def command(peer, kind, source, target):
    """What is typed to make an image of this createType."""
    if peer.name == 'ours':
        return [peer.control, 'convert', '--from=raw', f'--type={kind}', source, target]
    return ['qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', f'subformat={kind}', source,
            target]


def _run(kind, bench, peer):
    sizes = (bench.sizes.convert_mib, bench.sizes.convert_tree_mib)
    source = bench.workspace.keep(('convert', sizes),
                                  lambda: _create_source(bench.workspace, *sizes))
    run(['dd', f'if={source}', 'of=/dev/null', 'bs=1M'])
    target = bench.workspace.new_path('.vmdk')
    try:
        bench.settle()
        watch = Stopwatch()
        run(command(peer, kind, source, target))
        seconds = watch.seconds()
        seconds_sync = seconds + closing_sync(target)
        if bench.round == 0:
            # A fast answer that is wrong is none.
            run(['qemu-img', 'compare', '-q', '-f', 'raw', '-F', 'vmdk', source, target])
        return {'seconds': seconds, 'seconds_sync': seconds_sync,
                'image_mib': target.stat().st_size / MIB}
    finally:
        target.unlink(missing_ok=True)


JOBS = (
    Job('convert-stream', 'raw disk of 4 GiB with files to streamOptimized',
        functools.partial(_run, 'streamOptimized'), PEERS),
    Job('convert-sparse', 'the same to monolithicSparse',
        functools.partial(_run, 'monolithicSparse'), PEERS),
)

"""Real files of this machine, and file systems on loop devices that take them."""

import contextlib
import os
import pathlib

from commands import BenchError, output, run
from workspace import MIB

# Trees of many small files that a Debian system has; taken in this order until there is enough.
_TREES = ('/usr/include', '/usr/share/perl', '/usr/lib/python3', '/usr/share/doc', '/usr/share')


def collect(trees, limit):
    """Regular files of the trees, `limit` bytes in all."""
    total = 0
    seen = set()
    files = []
    for tree in trees:
        for folder, _, names in os.walk(tree):
            for name in sorted(names):
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.path.isfile(path) or path in seen:
                    continue
                seen.add(path)
                files.append(path)
                total += os.path.getsize(path)
                if total >= limit:
                    return files
    return files


def archive(workspace, mib, trees=_TREES):
    """A tar file in memory of `mib` MiB of files, made once."""
    path = workspace.source_path(f'tree-{mib}.tar')
    if not path.exists():
        names = workspace.source_path('tree.list')
        names.write_bytes(b'\0'.join(map(os.fsencode, collect(trees, mib * MIB))) + b'\0')
        run(['tar', '-cf', path, '-C', '/', '--absolute-names', '--transform=s,^/,,', '--null',
             '-T', names])
    return path


@contextlib.contextmanager
def loop_device(flat, direct):
    device = output(['losetup', '--find', '--show', f'--direct-io={"on" if direct else "off"}',
                     flat])
    try:
        if direct and pathlib.Path(f'/sys/block/{device[5:]}/loop/dio').read_text().strip() != '1':
            raise BenchError(f'{device}: the kernel refuses direct I/O on {flat}')
        yield device
    finally:
        run(['losetup', '--detach', device])


@contextlib.contextmanager
def ext4(device, folder):
    run(['mkfs.ext4', '-q', '-F', '-E', 'lazy_itable_init=0,lazy_journal_init=0', device])
    folder.mkdir()
    try:
        run(['mount', '-t', 'ext4', device, folder])
        try:
            yield
        finally:
            run(['umount', folder])
    finally:
        folder.rmdir()

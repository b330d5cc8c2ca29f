"""The temporary folder of a run: source data, images in a given state, clean-up."""

import contextlib
import copy
import itertools
import os
import pathlib
import shutil
import tempfile

from commands import BenchError, output, run

MIB = 1 << 20
GIB = 1 << 30

EMPTY = 'empty'          # nothing allocated
ALLOCATED = 'allocated'  # the first `region` MiB allocated, in order, with random data
CHILD = 'child'          # an empty child of a parent whose first `region` MiB are allocated


def file_system_of(path):
    return output(['findmnt', '-n', '-o', 'FSTYPE', '-T', path])


def _fast_folder():
    """A folder in memory for source data, else None (then the page cache has to do)."""
    shm = pathlib.Path('/dev/shm')
    if shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 2 * GIB:
        return shm
    return None


class Workspace:
    """Owns two folders: one on the disk under test, one in memory for source data."""

    def __init__(self, parent, kind, disk_size):
        """`kind`: createType of the VMDKs; `disk_size`: bytes of every disk."""
        self.kind = kind
        self.disk_size = disk_size
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix='vmdkfuse-bench.', dir=parent)).resolve()
        fast = _fast_folder()
        self._sources = pathlib.Path(tempfile.mkdtemp(prefix='vmdkfuse-bench.', dir=fast)) \
            if fast else self.folder
        self._numbers = itertools.count(1)
        self._kept = {}

    def close(self):
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.rmtree(self._sources, ignore_errors=True)

    def with_disk_size(self, disk_size):
        """The same workspace for disks of another size, in bytes."""
        other = copy.copy(self)
        other.disk_size = disk_size
        return other

    def keep(self, key, make):
        """The image that `make()` once answered for `key`; removed between jobs."""
        if key not in self._kept:
            self._kept[key] = make()
        return self._kept[key]

    def new_path(self, suffix):
        return self.folder / f'{next(self._numbers)}{suffix}'

    def source_path(self, name):
        """A place for source data; what is written there stays in memory."""
        return self._sources / name

    def random_source(self, mib):
        """A file of `mib` MiB from urandom, made once."""
        path = self.source_path(f'random-{mib}')
        if not path.exists():
            run(['dd', 'if=/dev/urandom', f'of={path}', 'bs=1M', f'count={mib}', 'iflag=fullblock'])
        return path

    @contextlib.contextmanager
    def image(self, peer, state, region):
        """An image for one run of `peer`; `region` in MiB.

        Empty images and children are new each time and removed after; an allocated one is kept for
        the peer's next round, as a run leaves it allocated.
        """
        if state == ALLOCATED:
            yield self.allocated(peer.image_format, region, owner=peer.name)
            return
        if state == EMPTY:
            path = self._create_empty(peer.image_format)
        else:
            path = self._create_child(region)
        try:
            yield path
        finally:
            self._remove(path)

    def allocated(self, image_format, region, owner):
        """The kept image with `region` MiB of random data; made once for each `owner`."""
        return self.keep((image_format, region, owner),
                         lambda: self._create_allocated(image_format, region))

    def forget(self):
        """Removes the kept images (between jobs, so that the disk holds only one job's)."""
        for path in self._kept.values():
            self._remove(path)
        self._kept.clear()

    def _remove(self, path):
        """Removes an image with its extent files (all share its stem)."""
        for file in self.folder.glob(f'{path.stem}[.-]*'):
            file.unlink(missing_ok=True)

    def _create_empty(self, image_format):
        path = self.new_path(f'.{image_format}')
        if image_format == 'raw':
            with open(path, 'wb') as file:
                file.truncate(self.disk_size)
        else:
            run(['qemu-img', 'create', '-q', '-f', 'vmdk', '-o', f'subformat={self.kind}', path,
                 self.disk_size])
        return path

    def _create_child(self, region):
        parent = self.allocated('vmdk', region, owner='parent')
        path = self.new_path('.vmdk')
        run(['qemu-img', 'create', '-q', '-f', 'vmdk', '-b', parent, '-F', 'vmdk', path])
        return path

    def _create_allocated(self, image_format, region):
        path = self.new_path(f'.{image_format}')
        source = self.random_source(region)
        if image_format == 'raw':
            shutil.copyfile(source, path)
            os.truncate(path, self.disk_size)
            return path
        # The disk is larger than its data; a sparse raw file of its size gives both to convert.
        full = self.allocated('raw', region, owner='template')
        run(['qemu-img', 'convert', '-f', 'raw', '-O', 'vmdk', '-o', f'subformat={self.kind}', full,
             path])
        return path


def require_disk(folder, needed):
    """`needed` bytes must be free where the images go."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise BenchError(f'{folder}: {free // MIB} MiB free, {needed // MIB} MiB needed; '
                         'name another folder with --dir or use --quick')

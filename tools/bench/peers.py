"""The ways to reach a disk: raw file, QEMU's FUSE export, QEMU in-process, vmdkfuse."""

import contextlib
import dataclasses
import json
import pathlib
import shutil
from typing import Optional

from commands import BenchError, output
from daemons import Daemon

NAMES = ('raw', 'export', 'inproc', 'ours')


@dataclasses.dataclass
class Opened:
    """A disk ready for a job."""
    target: pathlib.Path           # what the job opens
    target_format: str             # the format that qemu-img is told: raw or vmdk
    image: pathlib.Path            # the image behind it
    daemon: Optional[Daemon] = None

    @property
    def is_flat(self):
        return self.target_format == 'raw'


class RawPeer:
    """The raw file itself: what the file system below can do."""
    name = 'raw'
    title = 'raw file'
    image_format = 'raw'

    @contextlib.contextmanager
    def open(self, workspace, image, writable=True):
        yield Opened(image, 'raw', image)


class InprocPeer:
    """QEMU's vmdk driver inside qemu-img: no FUSE at all."""
    name = 'inproc'
    title = 'QEMU in-process'
    image_format = 'vmdk'

    @contextlib.contextmanager
    def open(self, workspace, image, writable=True):
        yield Opened(image, 'vmdk', image)


@contextlib.contextmanager
def _served(daemon, opened):
    """Stops the daemon in order after a good run and by force after a bad one."""
    try:
        yield opened
    except BaseException:
        daemon.kill()
        raise
    daemon.stop()


@contextlib.contextmanager
def mount_file(workspace):
    """An empty file to mount on."""
    path = workspace.new_path('.mnt')
    path.touch()
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


class ExportPeer:
    """qemu-storage-daemon's FUSE export of the VMDK."""
    name = 'export'
    title = "QEMU's FUSE export"
    image_format = 'vmdk'
    binary = 'qemu-storage-daemon'

    def command(self, image, mountpoint, writable=True):
        access = 'on' if writable else 'off'
        read_only = 'off' if writable else 'on'
        return [self.binary,
                '--blockdev', f'file,node-name=f,filename={image},read-only={read_only}',
                '--blockdev', f'vmdk,node-name=v,file=f,read-only={read_only}',
                '--export', f'fuse,id=e,node-name=v,mountpoint={mountpoint},writable={access}']

    @contextlib.contextmanager
    def open(self, workspace, image, writable=True):
        with mount_file(workspace) as flat:
            daemon = Daemon(self.command(image, flat, writable), flat, flat, workspace.disk_size)
            with _served(daemon, Opened(flat, 'raw', image, daemon)) as opened:
                yield opened


class OursPeer:
    """vmdkfuse from a build folder."""
    name = 'ours'
    title = 'vmdkfuse'
    image_format = 'vmdk'

    def __init__(self, build, options=()):
        """`options`: more words for vmdkfuse's command line."""
        self.build = pathlib.Path(build)
        self.options = list(options)
        self.binary = self._find('src/vmdkfuse/vmdkfuse')
        self.control = self._find('tools/vmdkctl/vmdkctl')

    def _find(self, place):
        path = (self.build / place).resolve()
        if not path.is_file():
            raise BenchError(f'{path}: not there; build it with\n'
                             f'    meson setup --buildtype=release {self.build} && '
                             f'ninja -C {self.build}\n'
                             '    or name your build with --build, or leave it out with '
                             '--peers raw,export,inproc')
        return path

    def build_warning(self):
        """Why numbers of this build are not vmdkfuse's best; '' for a release build."""
        file = self.build / 'meson-info' / 'intro-buildoptions.json'
        if not file.is_file():
            return 'build options unknown'
        options = {option['name']: option['value'] for option in json.loads(file.read_text())}
        found = []
        if options.get('buildtype') != 'release':
            found.append(f"buildtype={options.get('buildtype')}")
        if options.get('b_sanitize', 'none') not in ('none', []):
            found.append(f"b_sanitize={options['b_sanitize']}")
        return ', '.join(found)

    def command(self, image, mountpoint, *more):
        return [self.binary, *self.options, *more, image, mountpoint]

    @contextlib.contextmanager
    def open(self, workspace, image, writable=True):
        words = ['-f'] if writable else ['-f', '-r']
        with mount_file(workspace) as flat:
            daemon = Daemon(self.command(image, flat, *words), flat, flat, workspace.disk_size,
                            [self.binary, '-u', flat])
            with _served(daemon, Opened(flat, 'raw', image, daemon)) as opened:
                yield opened

    def map_runs(self, image):
        """Lengths in bytes of the disk's data runs, neighbours in the file merged."""
        return merged_runs(json.loads(output([self.control, 'map', '--json', image])))


def merged_runs(document):
    """Lengths of runs that are adjacent on the disk and in the same file."""
    lengths = []
    end = None
    for run in document['runs']:
        if run['state'] != 'data':
            continue
        place = (run['file'], run['offset'] - run['fileOffset'])
        if end == (place, run['offset']):
            lengths[-1] += run['length']
        else:
            lengths.append(run['length'])
        end = (place, run['offset'] + run['length'])
    return lengths


def make_peers(names, build, options):
    """Peer objects for `names`; BenchError if one cannot work here."""
    peers = []
    for name in names:
        if name == 'ours':
            peers.append(OursPeer(build, options))
            continue
        peer = {'raw': RawPeer, 'export': ExportPeer, 'inproc': InprocPeer}[name]()
        if name == 'export' and not shutil.which(peer.binary):
            raise BenchError('qemu-storage-daemon is missing: apt-get install qemu-system-common')
        peers.append(peer)
    return peers

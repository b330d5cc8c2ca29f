"""The list of jobs and what they share."""

import contextlib
import dataclasses
import pathlib
from typing import Callable, Optional, Tuple

from commands import run

# Everything that can be mounted or opened as a flat file.
FLAT_PEERS = ('raw', 'export', 'ours')
DAEMON_PEERS = ('export', 'ours')


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How much each job does."""
    seed_requests: int = 1024       # of 128 KiB
    dd_mib: int = 512
    dd_small_mib: int = 256         # bs=4k
    dd_once_mib: int = 128          # one write
    random_region_mib: int = 1024   # 4 KiB jobs spread over this much of the disk
    random_operations: int = 32768  # writes at depth 32
    read_seconds: int = 5           # random reads
    fsync_operations: int = 8192
    tree_mib: int = 400             # untar
    stream_mib: int = 1100          # files in a streamOptimized image
    window_mib: int = 48            # 4 KiB reads of such an image close together
    convert_mib: int = 4096         # a raw disk that is converted
    convert_tree_mib: int = 2400    # files in it


QUICK = Sizes(seed_requests=128, dd_mib=64, dd_small_mib=16, dd_once_mib=32, random_region_mib=128,
              random_operations=2048, read_seconds=1, fsync_operations=256, tree_mib=24, stream_mib=64,
              window_mib=16, convert_mib=256, convert_tree_mib=120)


@dataclasses.dataclass
class Bench:
    """What a job is given."""
    workspace: object
    sizes: Sizes
    drop_caches: bool
    round: int = 0  # seeds the random offsets: all peers of a round see the same ones

    def settle(self):
        """Before a timed start: nothing of earlier work is left to be written."""
        run(['sync'])
        if self.drop_caches:
            pathlib.Path('/proc/sys/vm/drop_caches').write_text('3\n')

    @contextlib.contextmanager
    def opened(self, peer, state, region):
        """A disk in `state` (workspace.EMPTY ...) opened by `peer`, settled."""
        with self.workspace.image(peer, state, region) as image:
            with peer.open(self.workspace, image) as opened:
                self.settle()
                yield opened


@dataclasses.dataclass(frozen=True)
class Job:
    """`run(bench, peer)` answers {metric name: number}."""
    name: str
    title: str
    run: Callable
    peers: Tuple[str, ...]
    rounds: Optional[int] = None  # fewer than asked for: counts that do not vary


def all_jobs():
    """Every job, in the order of the report."""
    import job_convert  # the job modules import this one
    import job_counts
    import job_dd
    import job_fio
    import job_mount
    import job_seed
    import job_stream
    import job_untar
    jobs = []
    for module in (job_seed, job_dd, job_fio, job_untar, job_stream, job_convert, job_mount,
                   job_counts):
        jobs.extend(module.JOBS)
    return jobs

"""What vmdkfuse promises, as a table, and whether the measured medians keep it."""

import dataclasses
from typing import Optional

from metrics import METRICS, advantage, show


@dataclasses.dataclass(frozen=True)
class Target:
    """`factor` times better than `peer`, or, without a peer, `limit` as an absolute bound."""
    job: str
    metric: str
    peer: Optional[str] = None
    factor: Optional[float] = None
    limit: Optional[float] = None


TARGETS = (
    Target('seed-empty', 'seconds', 'export', 6),
    Target('seed-empty', 'seconds', 'inproc', 8),
    Target('seed-empty', 'seconds_sync', 'export', 4),
    Target('count-seed-empty', 'writes', limit=1100),
    Target('count-seed-empty', 'syncs', limit=4),
    Target('seed-child', 'seconds', 'export', 5),
    Target('count-seed-child', 'parent_reads', limit=2),
    Target('dd-1m', 'seconds', 'export', 3),
    Target('dd-4k', 'seconds', 'export', 8),
    Target('dd-128m', 'seconds', 'export', 3),
    Target('map-dd-1m', 'shortest_run_mib', limit=16),
    Target('second-read', 'seconds', 'export', 5),
    Target('count-second-read', 'reads', limit=0),
    Target('randread-4k', 'iops', 'export', 6),
    Target('randwrite-4k-allocated', 'iops', 'export', 3),
    Target('randwrite-4k-empty', 'iops', 'export', 8),
    Target('randwrite-4k-empty', 'written_ratio', limit=1.1),
    Target('randwrite-4k-child', 'iops', 'export', 3),
    Target('fsync-4k-allocated', 'iops', 'export', 1),
    Target('fsync-4k-empty', 'iops', 'export', 1),
    Target('untar', 'seconds_sync', 'export', 2),
    Target('stream-read', 'seconds', 'export', 2.5),
    Target('stream-randread-window', 'iops', 'export', 8),
    Target('stream-randread', 'iops', 'export', 3),
    Target('convert-stream', 'seconds', 'inproc', 2.5),
    Target('convert-stream', 'image_mib', 'inproc', 0.99),
    Target('convert-sparse', 'seconds_sync', 'inproc', 1.5),
    Target('mount-2t', 'rss_mib', limit=40),
    Target('mount-2t', 'mount_ro_ms', limit=50),
    Target('mount-2t', 'mount_rw_ms', limit=2000),
    Target('mount-2t-full', 'rss_mib', limit=40),
    Target('mount-2t-full', 'mount_ro_ms', limit=50),
    Target('mount-2t-full', 'mount_rw_ms', limit=2000),
)


@dataclasses.dataclass(frozen=True)
class Verdict:
    target: Target
    wanted: str
    measured: str
    reached: Optional[bool]  # None: not measured in this run

    @property
    def word(self):
        return {True: 'yes', False: 'NO', None: 'not measured'}[self.reached]


def _judge_limit(target, ours):
    metric = METRICS[target.metric]
    sign = 'at least' if metric.higher_is_better else 'at most'
    wanted = f'{sign} {target.limit:g} {metric.unit}'.strip()
    if ours is None:
        return Verdict(target, wanted, '–', None)
    reached = ours >= target.limit if metric.higher_is_better else ours <= target.limit
    return Verdict(target, wanted, f'{show(metric, ours)} {metric.unit}'.strip(), reached)


def _judge_factor(target, ours, peer):
    wanted = f'{target.factor:g} x {target.peer}'
    ratio = advantage(METRICS[target.metric], ours, peer)
    if ratio is None:
        return Verdict(target, wanted, '–', None)
    return Verdict(target, wanted, f'{ratio:.2f} x', ratio >= target.factor)


def judge(medians, jobs, targets=TARGETS):
    """Verdicts for the targets of `jobs`; `medians(job, peer, metric)` answers a number or None."""
    verdicts = []
    for target in targets:
        if target.job not in jobs:
            continue
        ours = medians(target.job, 'ours', target.metric)
        if target.peer is None:
            verdicts.append(_judge_limit(target, ours))
        else:
            peer = medians(target.job, target.peer, target.metric)
            verdicts.append(_judge_factor(target, ours, peer))
    return verdicts

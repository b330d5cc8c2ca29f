"""What is measured: names, units, and which direction is better."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Metric:
    name: str
    unit: str
    title: str
    higher_is_better: bool = False


_ALL = (
    Metric('seconds', 's', 'time'),
    Metric('seconds_sync', 's', 'time with the closing sync'),
    Metric('seconds_pause', 's', 'time, 2 s later'),
    Metric('iops', '1/s', 'operations a second', True),
    Metric('iops_sync', '1/s', 'operations a second with the closing sync', True),
    Metric('p99_us', 'us', '99th percentile of latency (of the fsync where there is one)'),
    Metric('written_ratio', 'x', 'bytes written by the daemon / by the user'),
    Metric('grown_ratio', 'x', 'growth of the image on disk / bytes of the user'),
    Metric('reads', '', 'reads of image files by the daemon'),
    Metric('writes', '', 'writes to image files by the daemon'),
    Metric('syncs', '', 'syncs of image files by the daemon'),
    Metric('parent_reads', '', 'reads of the parent by the daemon, a request'),
    Metric('shortest_run_mib', 'MiB', 'shortest run in the map', True),
    Metric('longest_run_mib', 'MiB', 'longest run in the map', True),
    Metric('runs', '', 'runs in the map'),
    Metric('image_mib', 'MiB', 'size of the image'),
    Metric('mount_ro_ms', 'ms', 'time of a read-only mount'),
    Metric('mount_rw_ms', 'ms', 'time of a read-write mount'),
    Metric('rss_mib', 'MiB', 'memory of the idle daemon (VmRSS)'),
    Metric('peak_mib', 'MiB', 'most memory of the daemon (VmHWM)'),
)

METRICS = {metric.name: metric for metric in _ALL}


def advantage(metric, ours, peer):
    """How many times better ours is than the peer; None where a value is missing or zero."""
    if not ours or not peer:
        return None
    return ours / peer if metric.higher_is_better else peer / ours


def show(metric, value):
    """A value with about three digits and without its unit."""
    if value is None:
        return '–'
    if metric.unit == '' or value >= 1000:
        return f'{value:,.0f}' if value == int(value) or value >= 100 else f'{value:.2f}'
    if value >= 100:
        return f'{value:.0f}'
    if value >= 10:
        return f'{value:.1f}'
    return f'{value:.3f}' if metric.unit == 's' else f'{value:.2f}'

"""Options, the order of runs, and the exit status."""

import argparse
import os
import pathlib
import signal
import sys

import environment
import peers as peer_module
import targets
from commands import BenchError
from jobs import Bench, QUICK, Sizes, all_jobs
from report import Report
from results import Results
from workspace import GIB, Workspace, file_system_of, require_disk

EXIT_OK, EXIT_FAILED, EXIT_USAGE = 0, 1, 2

_DISK_SIZE = 4 * GIB
_ROOT = pathlib.Path(__file__).resolve().parents[2]


def _names(text):
    return [name for name in text.split(',') if name]


def _parser():
    parser = argparse.ArgumentParser(
        prog='tools/bench/run',
        description='Measures vmdkfuse against a raw file and QEMU. Needs root for mounts and '
                    'loop devices.',
        epilog='Exit status: 0 all jobs ran, 1 a job failed, 2 could not start. Missed targets are '
               'reported and do not change it.')
    parser.add_argument('--list', action='store_true', help='list the jobs and end')
    parser.add_argument('--jobs', type=_names, metavar='A,B', help='only these jobs')
    parser.add_argument('--peers', type=_names, metavar='A,B', default=list(peer_module.NAMES),
                        help='only these of raw, export, inproc, ours')
    parser.add_argument('--rounds', type=int, metavar='N', help='rounds [5; 1 with --quick]')
    parser.add_argument('--quick', action='store_true', help='small sizes, one round')
    parser.add_argument('--build', type=pathlib.Path, default=_ROOT / 'build' / 'release',
                        metavar='DIR', help='build folder of vmdkfuse [build/release]')
    parser.add_argument('--option', action='append', default=[], metavar='OPT', dest='options',
                        help='one more word for vmdkfuse, as --option=--cache=none; repeatable')
    parser.add_argument('--dir', type=pathlib.Path, metavar='DIR',
                        help='make the temporary folder here [current folder]')
    parser.add_argument('--kind', default='monolithicSparse', metavar='TYPE',
                        help="createType of the VMDKs, one of qemu-img's [monolithicSparse]")
    parser.add_argument('--drop-caches', action='store_true',
                        help='empty the page cache before each timed start')
    parser.add_argument('--markdown', type=pathlib.Path, metavar='FILE',
                        help='write the report as a page like docs/benchmarks.md')
    parser.add_argument('--json', type=pathlib.Path, metavar='FILE', help='write all samples')
    return parser


def _select_jobs(names):
    jobs = all_jobs()
    if names is None:
        return jobs
    unknown = set(names) - {job.name for job in jobs}
    if unknown:
        raise BenchError(f'unknown job {", ".join(sorted(unknown))}; --list names them')
    return [job for job in jobs if job.name in names]


def _check(arguments):
    """BenchError if the run cannot work; returns the folder for the images."""
    unknown = set(arguments.peers) - set(peer_module.NAMES)
    if unknown or not arguments.peers:
        raise BenchError(f'unknown peer {", ".join(sorted(unknown)) or "(none)"}; '
                         f'there are {", ".join(peer_module.NAMES)}')
    if arguments.rounds < 1:
        raise BenchError('--rounds must be at least 1')
    if os.geteuid() != 0:
        raise BenchError('needs root: FUSE mounts under a loop device, losetup, mkfs and mount')
    missing = environment.missing_packages()
    if missing:
        raise BenchError(f'missing programs: apt-get install {" ".join(missing)}')
    if not os.access('/dev/fuse', os.R_OK | os.W_OK):
        raise BenchError('/dev/fuse cannot be opened: modprobe fuse, or give the container '
                         '--device /dev/fuse --cap-add SYS_ADMIN')
    folder = arguments.dir or pathlib.Path.cwd()
    if not folder.is_dir():
        raise BenchError(f'{folder}: no such folder')
    if arguments.dir is None and file_system_of(folder) == 'tmpfs':
        raise BenchError(f'{folder} is a tmpfs, which flatters everybody: name a folder on a disk '
                         'with --dir (or this one, if you mean it)')
    require_disk(folder, (2 if arguments.quick else 12) * GIB)
    return folder


def _rotated(items, by):
    """Each round begins with another peer."""
    start = by % len(items)
    return items[start:] + items[:start]


def _run_job(job, bench, peers, rounds, results):
    taking_part = [peer for peer in peers if peer.name in job.peers]
    failed = set()
    for number in range(min(rounds, job.rounds or rounds)):
        bench.round = number
        for peer in _rotated(taking_part, number) if taking_part else []:
            if peer.name in failed:
                continue
            print(f'{job.name}, round {number + 1}, {peer.name} ...', file=sys.stderr, flush=True)
            try:
                results.add(job.name, peer.name, job.run(bench, peer))
            except (BenchError, OSError, KeyError, ValueError) as error:
                failed.add(peer.name)
                text = str(error) if isinstance(error, BenchError) else repr(error)
                results.fail(job.name, peer.name, text)
                print(f'FAILED {job.name}, {peer.name}: {text}', file=sys.stderr, flush=True)


def _measure(arguments, jobs, peers, folder):
    """Runs everything; an interruption is a failure, what was measured before it is kept."""
    results = Results()
    sizes = QUICK if arguments.quick else Sizes()
    workspace = Workspace(folder, arguments.kind, _DISK_SIZE)
    try:
        bench = Bench(workspace, sizes, arguments.drop_caches)
        for job in jobs:
            _run_job(job, bench, peers, arguments.rounds, results)
            workspace.forget()
    except KeyboardInterrupt:
        results.fail('run', 'all', 'interrupted')
    finally:
        workspace.close()
    return results


def _ours_of(peers):
    return next((peer for peer in peers if peer.name == 'ours'), None)


def _write_reports(arguments, jobs, peers, results, facts):
    verdicts = targets.judge(results.median, {job.name for job in jobs}) if _ours_of(peers) else []
    report = Report(results, jobs, [peer.name for peer in peers], verdicts, facts, arguments.rounds,
                    arguments.quick)
    print(report.text(), end='')
    if arguments.markdown:
        arguments.markdown.write_text(report.markdown(), encoding='utf-8')
    if arguments.json:
        arguments.json.write_text(report.json(), encoding='utf-8')


def main(words):
    arguments = _parser().parse_args(words)
    if arguments.list:
        for job in all_jobs():
            print(f'{job.name:<24}{job.title}  [{", ".join(job.peers)}]')
        return EXIT_OK
    # SIGTERM takes the same way out as Ctrl-C: through every clean-up.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    if arguments.rounds is None:
        arguments.rounds = 1 if arguments.quick else 5
    try:
        folder = _check(arguments)
        jobs = _select_jobs(arguments.jobs)
        names = [name for name in peer_module.NAMES if name in arguments.peers]
        peers = peer_module.make_peers(names, arguments.build, arguments.options)
        facts = environment.describe(folder, _ours_of(peers))
        results = _measure(arguments, jobs, peers, folder)
    except BenchError as error:
        print(f'tools/bench/run: {error}', file=sys.stderr)
        return EXIT_USAGE
    _write_reports(arguments, jobs, peers, results, facts)
    return EXIT_FAILED if results.failures else EXIT_OK

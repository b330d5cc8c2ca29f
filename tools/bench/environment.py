"""Where the numbers come from: machine, kernel, versions."""

import datetime
import os
import pathlib
import platform
import re
import shutil
import subprocess

from workspace import file_system_of

# Command -> Debian package, for those that some job runs.
_TOOLS = {'dd': 'coreutils', 'e2fsck': 'e2fsprogs', 'findmnt': 'util-linux', 'fio': 'fio',
          'fusermount3': 'fuse3', 'losetup': 'mount', 'mkfs.ext4': 'e2fsprogs',
          'qemu-img': 'qemu-utils', 'qemu-io': 'qemu-utils', 'strace': 'strace', 'tar': 'tar'}


def missing_packages():
    """Debian packages to install before a run, sorted."""
    return sorted({package for tool, package in _TOOLS.items() if not shutil.which(tool)})


def _first_line(*command):
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors='replace', timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return 'unknown'
    text = (done.stdout + done.stderr).strip()
    return text.splitlines()[0] if text else 'unknown'


def _cpu():
    text = pathlib.Path('/proc/cpuinfo').read_text()
    match = re.search(r'^model name\s*:\s*(.*)$', text, re.MULTILINE)
    name = match.group(1) if match else platform.machine()
    return f'{os.cpu_count()} x {name}'


def _memory():
    text = pathlib.Path('/proc/meminfo').read_text()
    kib = int(re.search(r'^MemTotal:\s*(\d+)', text, re.MULTILINE).group(1))
    return f'{kib / (1 << 20):.1f} GiB'


def _system():
    text = pathlib.Path('/etc/os-release').read_text()
    match = re.search(r'^PRETTY_NAME="?([^"\n]*)', text, re.MULTILINE)
    return match.group(1) if match else 'unknown'


def _commit():
    """The state of the source tree that this script lies in."""
    here = pathlib.Path(__file__).parent
    return _first_line('git', '-C', str(here), 'describe', '--always', '--dirty')


def describe(folder, ours):
    """(name, value) pairs; `ours` is the peer or None."""
    facts = [
        ('date', datetime.datetime.now().astimezone().strftime('%Y-%m-%d %H:%M %z')),
        ('system', _system()),
        ('kernel', platform.release()),
        ('CPU', _cpu()),
        ('memory', _memory()),
        ('load at the start', f'{os.getloadavg()[0]:.2f}'),
        ('file system', file_system_of(folder)),
        ('QEMU', _first_line('qemu-img', '--version')),
        ('libfuse', _first_line('fusermount3', '--version')),
        ('fio', _first_line('fio', '--version')),
    ]
    if ours:
        warning = ours.build_warning()
        facts.append(('vmdkfuse', f"{_first_line(str(ours.binary), '--version')}, "
                                  f'source {_commit()}' + (f' ({warning})' if warning else '')))
        if ours.options:
            facts.append(('options of vmdkfuse', ' '.join(ours.options)))
    return facts

"""Counts the system calls that a daemon makes on image files, by strace."""

import pathlib
import re
import signal
import subprocess

from commands import BenchError, wait_until

READS = ('pread64', 'preadv', 'preadv2')
WRITES = ('pwrite64', 'pwritev', 'pwritev2')
# Not sync_file_range: as vmdkfuse calls it, it makes nothing durable and waits for nothing.
SYNCS = ('fdatasync', 'fsync', 'syncfs')

# "PID name(FD</path>": the begin of a call; the later half of an interrupted line does not match.
_CALL = re.compile(r'^\s*(?:\[pid\s+)?\d+\]?\s+(\w+)\(\d+<([^>]*)>')


def parse(lines):
    """Yields (call name, path) for each call that the trace saw begin."""
    for line in lines:
        match = _CALL.match(line)
        if match:
            yield match.group(1), match.group(2)


class Trace:
    """Attached to all threads of a process between start and stop."""

    def __init__(self, pid, log):
        self._pid = pid
        self._log = pathlib.Path(log)
        self._process = None

    def __enter__(self):
        calls = ','.join(READS + WRITES + SYNCS)
        command = ['strace', '-f', '-y', '-e', f'trace={calls}', '-o', str(self._log),
                   '-p', str(self._pid)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                         stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
                                         text=True, start_new_session=True)
        try:
            wait_until(self._attached, f'strace of {self._pid}', timeout=20)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, *_):
        self._stop()

    def _stop(self):
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    def _attached(self):
        if self._process.poll() is not None:
            raise BenchError(f'strace cannot attach: {self._process.stderr.read().strip()}')
        for status in pathlib.Path(f'/proc/{self._pid}/task').glob('*/status'):
            try:
                text = status.read_text()
            except OSError:  # the thread ended meanwhile
                continue
            if f'TracerPid:\t{self._process.pid}\n' not in text:
                return False
        return True

    def count(self, names, stem):
        """Calls among `names` on files whose path is `stem` with a suffix. Call after the end."""
        with open(self._log, encoding='utf-8', errors='replace') as lines:
            return sum(1 for name, path in parse(lines)
                       if name in names and path.startswith((f'{stem}.', f'{stem}-')))

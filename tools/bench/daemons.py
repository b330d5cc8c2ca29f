"""A mount's daemon: started, watched through /proc, stopped by its process id."""

import os
import pathlib
import signal
import subprocess
import tempfile

from commands import BenchError, run, wait_until


def is_mounted(path):
    """True if something is mounted exactly at `path`. Asks the kernel's list, not the daemon."""
    wanted = str(path)
    for line in pathlib.Path('/proc/self/mountinfo').read_text().splitlines():
        if line.split()[4].encode().decode('unicode_escape') == wanted:
            return True
    return False


def detach_mount(path):
    """Takes a mount that nobody serves any more out of the way. Silent if there is none."""
    if is_mounted(path):
        subprocess.run(['umount', '-l', str(path)], stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)


def memory_mib(pid):
    """(VmRSS, VmHWM) of a process in MiB."""
    fields = {}
    for line in pathlib.Path(f'/proc/{pid}/status').read_text().splitlines():
        key, _, value = line.partition(':')
        fields[key] = value.split()
    return int(fields['VmRSS'][0]) / 1024, int(fields['VmHWM'][0]) / 1024


def io_counters(pid):
    """/proc/PID/io as a dict of bytes and call counts."""
    text = pathlib.Path(f'/proc/{pid}/io').read_text()
    return {key: int(value) for key, value in (line.split(': ') for line in text.splitlines())}


def pid_of(binary, mountpoint):
    """The process that runs `binary` with `mountpoint` within one of its arguments, or None.

    Finds a daemon that put itself into the background.
    """
    needle = os.fsencode(str(mountpoint))
    for folder in pathlib.Path('/proc').glob('[0-9]*'):
        try:
            if os.readlink(folder / 'exe') == os.path.realpath(binary) \
                    and needle in (folder / 'cmdline').read_bytes():
                return int(folder.name)
        except OSError:  # ended meanwhile, or a kernel thread
            continue
    return None


def process_ended(pid):
    """True if the process is gone or a zombie."""
    try:
        return pathlib.Path(f'/proc/{pid}/stat').read_text().rpartition(')')[2].split()[0] == 'Z'
    except OSError:
        return True


class Daemon:
    """A daemon that serves `flat` from the foreground, as our child."""

    def __init__(self, command, mountpoint, flat, size, unmount_command=None):
        """`size`: bytes of the disk; `unmount_command`: None sends SIGTERM instead.

        A session of its own: Ctrl-C reaches only the benchmark, which then ends it in order.
        """
        self._mountpoint = mountpoint
        self._unmount_command = unmount_command
        self._log = tempfile.TemporaryFile(mode='w+', errors='replace')
        command = [str(part) for part in command]
        try:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                             stdout=self._log, stderr=self._log,
                                             start_new_session=True)
        except OSError as error:
            raise BenchError(f'{command[0]}: {error.strerror}') from error
        try:
            wait_until(lambda: self._serves(flat, size), f'mount by {command[0]}')
        except BaseException:
            self.kill()
            raise

    @property
    def pid(self):
        return self._process.pid

    def _serves(self, flat, size):
        if self._process.poll() is not None:
            raise BenchError(f'{self._process.args[0]}: ended with status '
                             f'{self._process.returncode}: {self._said()}')
        return is_mounted(self._mountpoint) and flat.exists() and flat.stat().st_size == size

    def _said(self):
        self._log.seek(0)
        return self._log.read().strip()[-800:]

    def stop(self):
        """A clean end: everything on disk, unmounted, exit status 0; else BenchError."""
        try:
            if self._unmount_command:
                run(self._unmount_command, timeout=120)
            else:
                self._process.send_signal(signal.SIGTERM)
            status = self._process.wait(timeout=120)
        except subprocess.TimeoutExpired:
            raise BenchError(f'{self._process.args[0]}: no end within 120 s') from None
        finally:
            self.kill()
        if status != 0:
            raise BenchError(f'{self._process.args[0]}: exit status {status}: {self._said()}')

    def kill(self):
        """The end whatever the state; used after failures."""
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        detach_mount(self._mountpoint)

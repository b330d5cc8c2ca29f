"""Child processes: run to the end with a time limit, failures as BenchError with their stderr."""

import subprocess
import time

# Seconds. The slowest single command (a random write into the slowest peer) needs about one minute.
DEFAULT_TIMEOUT = 600


class BenchError(Exception):
    """A job, a peer or the environment failed; the text is for the user."""


def run(arguments, timeout=DEFAULT_TIMEOUT, accept=(0,)):
    """Runs a command and returns its CompletedProcess with text output.

    After the time limit the command is killed.
    """
    command = [str(argument) for argument in arguments]
    try:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                   stderr=subprocess.PIPE, text=True, errors='replace')
    except OSError as error:
        raise BenchError(f'{command[0]}: {error.strerror}') from error
    try:
        out, err = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise BenchError(f'no end after {timeout} s: {" ".join(command)}') from None
    except BaseException:
        _kill(process)
        raise
    if process.returncode not in accept:
        text = (err.strip() or out.strip())[-800:]
        raise BenchError(f'exit status {process.returncode}: {" ".join(command)}\n    {text}')
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def _kill(process):
    """Kills and reaps, but waits only shortly.

    A process in a request to a mount ends when the mount's daemon does, and that is the caller's
    clean-up, which comes after this.
    """
    process.kill()
    try:
        process.communicate(timeout=5)
    except subprocess.TimeoutExpired:
        process.stdout.close()
        process.stderr.close()


def output(arguments, timeout=DEFAULT_TIMEOUT):
    """Runs a command and returns its stdout without the last line end."""
    return run(arguments, timeout).stdout.strip()


class Stopwatch:
    """Wall time in seconds since it was made."""

    def __init__(self):
        self._begin = time.perf_counter()

    def seconds(self):
        return time.perf_counter() - self._begin


def closing_sync(path):
    """The `sync -d FILE` that ends a job: fdatasync of the flat file. Returns its seconds."""
    watch = Stopwatch()
    run(['sync', '-d', path])
    return watch.seconds()


def wait_until(condition, what, timeout=60, step=0.005):
    """Polls `condition` (returns true when reached) each `step` seconds."""
    watch = Stopwatch()
    while not condition():
        if watch.seconds() > timeout:
            raise BenchError(f'{what}: not reached in {timeout} s')
        time.sleep(step)

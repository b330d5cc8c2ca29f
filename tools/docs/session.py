"""Runs shell lines and keeps what they show, so that our documents show nothing else."""

import dataclasses
import os
import pathlib
import shutil
import subprocess
import tempfile


@dataclasses.dataclass
class Step:
    line: str
    output: str


def new_folder():
    """With a short name, because it is shown."""
    short = pathlib.Path(tempfile.gettempdir()) / "vm"
    try:
        short.mkdir()
        return short
    except FileExistsError:
        return pathlib.Path(tempfile.mkdtemp(prefix="vm-"))


class Session:
    """A folder of its own, with our programs first on the path; unmounts what is left in it."""

    def __init__(self, build):
        self.folder = new_folder()
        programs = [build / "src/vmdkfuse", build / "tools/vmdkctl"]
        self.environment = dict(os.environ, LC_ALL="C.UTF-8", TERM="dumb", TMPDIR=str(self.folder),
                                PATH=":".join([*map(str, programs), os.environ["PATH"], "/usr/sbin:/sbin"]))

    def __enter__(self):
        return self

    def __exit__(self, *what):
        mounts = pathlib.Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()
        for mountpoint in reversed([line.split()[1] for line in mounts]):
            if mountpoint.startswith(f"{self.folder}/"):
                subprocess.run(["umount", "-l", mountpoint], check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def run(self, line, status=0):
        """Fails when the line ends with another status than it should."""
        # Columns, as on a terminal.
        done = subprocess.run(["bash", "-c", 'ls() { command ls -C "$@"; }\n' + line], cwd=self.folder, env=self.environment, check=False,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                              encoding="utf-8", timeout=120)
        if done.returncode != status:
            raise RuntimeError(f"{line}: status {done.returncode}, not {status}\n{done.stdout}")
        return Step(line, done.stdout)

    def write(self, name, text):
        (self.folder / name).write_text(text, encoding="utf-8")


def as_text(steps, most_lines=0):
    """As a terminal shows it; of long outputs the first lines."""
    lines = []
    for step in steps:
        lines.append(f"$ {step.line}")
        shown = step.output.rstrip("\n").split("\n") if step.output.strip() else []
        if most_lines and len(shown) > most_lines:
            shown = shown[:most_lines] + ["…"]
        lines += shown
    return "\n".join(line.rstrip() for line in lines)

"""Processes to be measured: started, awaited, and read from /proc.  It knows nothing of Corral."""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE_S = 60.0
BIN = Path(sys.executable).parent
_TICKS_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Broken(Exception):
    """What was to be measured did not do its part."""


class Watched:
    """Processes whose costs are read as if they were one."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids

    def cpu_s(self) -> float:
        """Return the seconds of CPU used so far, user and system, in ticks of 10 ms."""
        return sum(map(cpu_s, self._pids))

    def resident_mib(self) -> float:
        """Return the memory that they have in RAM; what several share counts for each."""
        return sum(int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) for pid in self._pids) \
            * _PAGE_BYTES / 2**20

    def busy_share(self, seconds: float) -> float:
        """Watch for so long; return the share of one core that was used."""
        began, used = time.monotonic(), self.cpu_s()
        pause(seconds)
        return (self.cpu_s() - used) / (time.monotonic() - began)


class Process(Watched):
    """A running process that has said ``ready``."""

    def __init__(self, pid: int, said: list[list[str]], ready_s: float) -> None:
        super().__init__(pid)
        #: the words of each line up to the one with ``ready``
        self.said = said
        self.ready_s = ready_s

    @property
    def url(self) -> str:
        """Return what stands behind ``ready:``."""
        return self.said[-1][1]


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used, user and system."""
    # The command's name, in brackets, may hold spaces.
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS_S


def pause(seconds: float) -> None:
    """Let time pass that is to be measured."""
    threading.Event().wait(seconds)


@contextmanager
def running(words: list[str], log: Path) -> Iterator[Process]:
    """Run a command until the block ends; the block begins when it has said ``ready``.

    Raises Broken with its last words when it ends by itself.
    """
    began = time.monotonic()
    with log.open("w") as errors, subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True) as process:
        try:
            said: list[list[str]] = []
            for line in process.stdout or ():
                said.append(line.split())
                if line.startswith("ready"):
                    break
            else:
                raise Broken(f"{words[0]} ended before it was ready:\n{log.read_text()[-2000:]}")
            try:
                yield Process(process.pid, said, time.monotonic() - began)
            except OSError as exc:
                if process.poll() is None:
                    raise
                raise Broken(f"{words[0]} ended with status {process.returncode}:\n{log.read_text()[-2000:]}") from exc
        finally:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise

"""The process between a test server and its owner: when the owner has gone, so has the server.

Run as a script, with the words of ``main``; it imports nothing of ours, so that it starts at
once.  The owner holds the other end of its standard input and can't close it too late: the
kernel does so at the owner's end, however that comes.  Whatever the server forks, under
whichever user, becomes a child of this process at the latest when its own parent ends.
"""

import ctypes
import os
import pwd
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

#: from the owner: end in good order, end at once; both keep the folder
END, KILL = b"e", b"k"
#: seconds that a server gets to take itself away when its owner has gone, before it is killed
_FAREWELL_S = 3.0
_PR_SET_CHILD_SUBREAPER = 36


def main(folder: str, user: str, end: str, farewell: str, *command: str) -> int:
    """Run ``command`` under ``user`` ("" for our own) until its end or the owner's; return its status.

    ``end`` and ``farewell`` are the numbers of the signals for END and for an owner that
    has gone; after the latter ``folder`` is removed.
    """
    # The owner's Ctrl-C, hang-up or stop reaches this process as the end of its input, not by itself.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
    server = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, preexec_fn=_as(user))
    ended = os.pidfd_open(server.pid)
    while True:
        ready, _, _ = select.select([0, ended], [], [])
        if ended in ready:
            break
        order = os.read(0, 1)
        if order == END:
            server.send_signal(int(end))
            continue
        if order != KILL:
            server.send_signal(int(farewell))
            select.select([ended], [], [], _FAREWELL_S)
        _kill_all()
        if order != KILL:
            shutil.rmtree(folder, ignore_errors=True)
        return 0
    status = server.wait()
    _kill_all()
    return status


def _as(user: str) -> Callable[[], None]:
    """Return what the server's process does first: it takes its user, and the usual signals again."""
    def prepare() -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_DFL)
        if user:
            entry = pwd.getpwnam(user)
            os.initgroups(user, entry.pw_gid)
            os.setgid(entry.pw_gid)
            os.setuid(entry.pw_uid)
    return prepare


def _kill_all() -> None:
    """Kill every descendant; return when none is left."""
    while True:
        for pid in descendants(os.getpid()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            # One that was born meanwhile is found in the next round: its dead parent's children are ours.
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def descendants(pid: int) -> list[int]:
    """Return the processes that a process has begun, and theirs, as long as their parents are there."""
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The command's name, in brackets, may hold spaces.
            parent = int(stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue
        children.setdefault(parent, []).append(int(stat.parent.name))
    found: list[int] = []
    waiting = [pid]
    while waiting:
        below = children.get(waiting.pop(), [])
        found += below
        waiting += below
    return found


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

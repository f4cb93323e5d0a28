"""A server process with a folder and a guard; the base of the classes that own a server.

It knows no protocol: its subclasses say how a server is prepared, run, and asked whether it answers.
"""

import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from tools.servers import guard

#: seconds that a server gets to answer; a machine that is busy with other tests is slow
START_S = 120.0
#: seconds to end in good order
STOP_S = 60.0
#: seconds between two looks whether it answers; the look that matters most, its end, is not waited for
_LOOK_S = 0.05
#: a port that somebody else took between our look and the server's start
_TRIES = 3
#: below the ports that the kernel hands out to clients, so that none sits on ours while a server is away
_PORTS = range(15000, 32000)


class Broken(Exception):
    """A server did not start, or not end; the message has its last words."""


def free_port() -> int:
    """Return a port on which nobody listens."""
    while True:
        port = random.choice(_PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Guarded:
    """A server in a folder of its own; gone, with its folder, at ``close`` and at our own end."""

    title = ""
    #: the user it runs as when we are root; "": our own
    runs_as = ""
    end_signal = signal.SIGTERM
    farewell_signal = signal.SIGKILL

    def __init__(self) -> None:
        # Whose it is stands in its name, for whoever finds one that was left by a failure of the machine.
        self.folder = Path(tempfile.mkdtemp(prefix=f"corral-{self.title.lower()}-{os.getpid()}-"))
        self._guard: subprocess.Popen[bytes] | None = None
        self._prepared = False

    # what a subclass says
    def choose_ports(self) -> None:
        """Choose new ports."""
        raise NotImplementedError

    def prepare(self) -> None:
        """Fill the folder, once."""
        raise NotImplementedError

    def command(self) -> list[str]:
        """Return the command that runs the server in the foreground."""
        raise NotImplementedError

    def environment(self) -> dict[str, str]:
        """Return the server's environment."""
        return dict(os.environ)

    def answers(self) -> bool:
        """Return whether the server does its work."""
        raise NotImplementedError

    # its life
    def start(self) -> Self:
        """Run the server and wait until it answers; after a stop or kill on the same data and ports.

        Raises Broken, and install.Missing.
        """
        if self.running:
            return self
        if self._prepared:
            self._run()
            return self
        for left in reversed(range(_TRIES)):
            self.choose_ports()
            try:
                if not self._prepared:
                    self.prepare()
                    self._own(self.folder)
                    self._prepared = True
                self._run()
                return self
            except Broken:
                if not left or "ddress already in use" not in self.log():
                    self.close()
                    raise
        raise AssertionError("the last try has returned or raised")

    @property
    def running(self) -> bool:
        """Return whether its process is there."""
        return self._guard is not None and self._guard.poll() is None

    @property
    def pid(self) -> int:
        """Return the number of the guard's process, whose descendants are the server's."""
        assert self._guard is not None
        return self._guard.pid

    def stop(self) -> None:
        """End the server in good order; its data stay.  Raises Broken."""
        if not self.running:
            return
        try:
            self._order(guard.END, STOP_S)
        except subprocess.TimeoutExpired as exc:
            raise Broken(f"{self.title} did not end:\n{self.log()}") from exc

    def kill(self) -> None:
        """End all of the server's processes at once, as a power failure would; its data stay."""
        if self.running:
            self._order(guard.KILL, STOP_S)

    def close(self) -> None:
        """End the server and remove its folder; may be called twice."""
        if self._guard is not None:
            assert self._guard.stdin is not None
            # To the guard it is as if we were gone.
            self._guard.stdin.close()
            self._guard.wait(STOP_S)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        self.close()

    def log(self) -> str:
        """Return the last words of the server."""
        path = self.folder / "output.log"
        return path.read_text(encoding="utf-8", errors="replace")[-4000:] if path.exists() else ""

    # within
    def run_once(self, words: list[str]) -> None:
        """Run a program that prepares something, as the server's user.  Raises Broken."""
        self._own(self.folder)
        done = subprocess.run(words, cwd=self.folder, env=self.environment(), user=self._user() or None, text=True,
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        if done.returncode != 0:
            raise Broken(f"{words[0]} failed:\n{done.stdout[-4000:]}")

    def _user(self) -> str:
        return self.runs_as if os.geteuid() == 0 else ""

    def _own(self, folder: Path) -> None:
        if self._user():
            for path in (folder, *folder.rglob("*")):
                shutil.chown(path, self._user())

    def _run(self) -> None:
        words = [sys.executable, "-I", "-S", guard.__file__, str(self.folder), self._user(),
                 str(int(self.end_signal)), str(int(self.farewell_signal)), *self.command()]
        with (self.folder / "output.log").open("wb") as output:
            # A session of its own: the terminal's Ctrl-C is for us, and we end it in good order.
            self._guard = subprocess.Popen(words, cwd="/", env=self.environment(), stdin=subprocess.PIPE,
                                           stdout=output, stderr=output, start_new_session=True)
        end = time.monotonic() + START_S
        while not self.answers():
            try:
                self._guard.wait(_LOOK_S)
            except subprocess.TimeoutExpired:
                if time.monotonic() < end:
                    continue
            self.kill()
            raise Broken(f"{self.title} did not start:\n{self.log()}")

    def _order(self, order: bytes, timeout_s: float) -> None:
        assert self._guard is not None and self._guard.stdin is not None
        try:
            self._guard.stdin.write(order)
            self._guard.stdin.flush()
        except BrokenPipeError:
            pass  # It has ended by itself meanwhile.
        self._guard.wait(timeout_s)
        self._guard.stdin.close()

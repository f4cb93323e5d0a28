"""One daemon as a process of its own: what it says to systemd, what it logs, and how it ends."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

BIN = Path(sys.executable).parent
#: seconds that anything here may take; the machine may be busy
PATIENCE_S = 90.0
#: a port on which nobody listens, and a password that must not be seen anywhere
AWAY = "127.0.0.1:1"
CANARY = "geheim-4711"


class Daemon:
    """A command that runs until the end of the context."""

    def __init__(self, *words: str, environment: dict[str, str] | None = None) -> None:
        self._news = threading.Condition()
        self.lines: list[str] = []
        self.told: list[list[str]] = []
        address = f"corral-{uuid.uuid4()}"
        self._systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._systemd.bind(f"\0{address}")
        self.process = subprocess.Popen(
            [BIN / words[0], *words[1:]], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, **(environment or {}), "NOTIFY_SOCKET": f"@{address}", "WATCHDOG_USEC": "1000000"})
        for target in (self._read, self._listen):
            threading.Thread(target=target, daemon=True).start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self._news:
                self.lines.append(line.rstrip())
                self._news.notify_all()

    def _listen(self) -> None:
        while said := self._systemd.recv(4096):
            with self._news:
                self.told.append(said.decode().split("\n"))
                self._news.notify_all()

    def until(self, condition: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
        """Wait until what was logged or told fulfils the condition."""
        with self._news:
            assert self._news.wait_for(condition, patience_s), (self.lines, self.told)

    def until_logged(self, pattern: str, times: int = 1) -> None:
        """Wait until so many lines match the pattern."""
        self.until(lambda: len(self.matching(pattern)) >= times)

    def until_status(self, pattern: str) -> None:
        """Wait until systemd was told a status that matches."""
        self.until(lambda: any(re.search(f"^STATUS=.*{pattern}", line) for said in self.told for line in said))

    def matching(self, pattern: str) -> list[str]:
        """Return the logged lines that match."""
        return [line for line in self.lines if re.search(pattern, line)]

    def records(self) -> list[dict[str, Any]]:
        """Return what was logged in JSON."""
        return [json.loads(line) for line in self.lines if line.startswith("{")]

    def was_told(self, line: str) -> bool:
        """Return whether systemd was told this line."""
        return any(line in said for said in self.told)

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self.process.send_signal(number)

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """End it by a signal; return its exit status and the seconds that it took."""
        began = time.monotonic()
        self.send(number)
        status = self.process.wait(PATIENCE_S)
        return status, time.monotonic() - began

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class Site:
    """The files of one machine, for processes whose broker is away."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.environment = {"RUNTIME_DIRECTORY": str(folder)}
        self.database = f"sqlite:///{folder}/corral.sqlite"
        self.secret("password")

    def secret(self, name: str, text: str = CANARY) -> Path:
        """Write a file that only its owner may read."""
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text + "\n")
        return path

    def conf(self, kind: str, **groups: str) -> Path:
        """Write the file of a kind; each group's further lines may be given."""
        known = {
            "conductor": {"database": f"connection = {self.database}",
                          "agents": "require_mac = false\nsync_interval_s = 1"},
            "api": {"api": "bind_port = 0"},
            "agent": {"agent": "host = h1", "xenapi": f"url = https://{AWAY}\npassword_file = {self.folder}/password"}}
        texts = {"DEFAULT": f"transport_url = rabbit://corral:{CANARY}@{AWAY}/", **known[kind]}
        for group, text in groups.items():
            texts[group] = f"{texts.get(group, '')}\n{text}"
        path = self.folder / f"corral-{kind}.conf"
        path.write_text("\n".join(f"[{group}]\n{text}\n" for group, text in texts.items()))
        return path

    def start(self, kind: str, *words: str, **groups: str) -> Daemon:
        """Start the daemon of a kind on its file."""
        return Daemon(f"corral-{kind}", "--config-file", str(self.conf(kind, **groups)), *words,
                      environment=self.environment)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Run a command that ends by itself."""
        return subprocess.run([BIN / words[0], *words[1:]], capture_output=True, text=True, timeout=PATIENCE_S,
                              env={**os.environ, **self.environment}, check=False)

    def sync(self) -> None:
        """Bring the database's schema up."""
        self.run("corral-manage", "--config-file", str(self.conf("conductor")), "db", "sync").check_returncode()

"""A whole Corral of own processes on one machine: what an operator would install, with simulated hosts.

It is given a broker and a database, writes the configuration files, issues the agents'
keys and starts everything by the installed commands.  Each process says by systemd's
notification that it is ready.  It checks nothing of what they do.
"""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from common import mac

BIN = Path(sys.executable).parent
#: whoever starts processes may be killed: they end with the thread that started them
_WITH_US = ["setpriv", "--pdeathsig", "KILL"]
#: seconds that a start or an end may take
PATIENCE_S = 90.0


class Failed(Exception):
    """A process did not do its part; its last words follow."""


class Process:
    """One command under a name; it may be started again after its end."""

    def __init__(self, name: str, words: list[str], folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.log = folder / f"{name}.log"
        self._words = words
        self._environment = environment
        self._ready = threading.Event()
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        # A name without a file: a folder's path may be too long for a socket's.
        self._address = f"corral-{uuid.uuid4()}"
        self._listener.bind(f"\0{self._address}")
        self.popen: subprocess.Popen[bytes] | None = None
        self.started_at = 0.0
        self.ready_s: float | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            said = self._listener.recv(4096)
            if b"READY=1" in said.split(b"\n"):
                self.ready_s = time.monotonic() - self.started_at
                self._ready.set()

    def start(self) -> None:
        """Start the command; returns at once."""
        self._ready.clear()
        self.started_at = time.monotonic()
        environment = {**os.environ, **self._environment, "NOTIFY_SOCKET": f"@{self._address}"}
        with self.log.open("ab") as log:
            self.popen = subprocess.Popen([*_WITH_US, *self._words], stdout=log, stderr=log, env=environment)

    @property
    def pid(self) -> int:
        """The number of the running process.  Raises Failed when there is none."""
        if self.popen is None or self.popen.poll() is not None:
            raise Failed(f"{self.name} does not run:\n{self.words()}")
        return self.popen.pid

    def wait_ready(self, patience_s: float = PATIENCE_S) -> None:
        """Wait until it says that it is ready.  Raises Failed."""
        deadline = time.monotonic() + patience_s
        while not self._ready.wait(0.2):
            if self.popen is None or self.popen.poll() is not None or time.monotonic() > deadline:
                raise Failed(f"{self.name} did not become ready:\n{self.words()}")

    def words(self) -> str:
        """Return the last lines of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.splitlines()[-25:])

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> None:
        """End it without a warning, as a crash does."""
        if self.popen is not None:
            self.popen.kill()
            self.popen.wait()

    def stop(self, patience_s: float = PATIENCE_S) -> int | None:
        """End it as systemd does; return its exit status, None when it was never started.  Raises Failed."""
        if self.popen is None:
            return None
        if self.popen.poll() is None:
            self.popen.terminate()
        try:
            return self.popen.wait(patience_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise Failed(f"{self.name} did not end within {patience_s:.0f} s:\n{self.words()}") from None


class Deployment:
    """Simulator, conductors, one agent per host, and the API; started and ended as a context."""

    def __init__(self, folder: Path, broker_url: str, database_url: str, *, conductors: int = 1, hosts: int = 4,
                 vms: int = 24, speed: float = 60, sync_s: float = 1, concurrency: str = "threads",
                 simulated: tuple[dict[str, str], str] | None = None, together: bool = False,
                 patience_s: float = PATIENCE_S) -> None:
        """Choose what will run.

        ``simulated``: address by name and password of hosts that run already; else own ones are started.
        ``together``: all agents share a process.  ``patience_s``: for the start of all.
        """
        self.folder = folder
        self.broker_url, self.database_url = broker_url, database_url
        self.hosts, self.password = simulated or ({}, "")
        self._simulates = simulated is None
        self._sync_s, self._together, self._patience_s = sync_s, together, patience_s
        self._environment = {"CORRAL_CONCURRENCY": concurrency, "RUNTIME_DIRECTORY": str(folder)}
        self._simulator_words = [str(BIN / "corral-simulator"), "--hosts", str(hosts), "--vms", str(vms),
                                 "--speed", str(speed), "--state", str(folder / "world.json")]
        self.simulator: subprocess.Popen[str] | None = None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.url = f"http://127.0.0.1:{free.getsockname()[1]}"
        self.api = self._process("api", "corral-api")
        self.conductors = {name: self._process(name, "corral-conductor", "--config-file", str(folder / f"{name}.conf"))
                           for name in (f"c{number + 1}" for number in range(conductors))}
        self.agents: dict[str, Process] = {}

    def _process(self, name: str, command: str, *words: str) -> Process:
        config = str(self.folder / f"{command}.conf")
        return Process(name, [str(BIN / command), "--config-file", config, *words], self.folder, self._environment)

    # Before anything runs.

    def prepare(self) -> None:
        """Start the hosts, write every file, bring the schema up, and issue the keys."""
        if self._simulates:
            self._start_simulator()
        broker = f"[DEFAULT]\ntransport_url = {self.broker_url}\n"
        self._write("corral-conductor.conf", f"{broker}[database]\nconnection = {self.database_url}\n"
                    f"[agents]\nkeys_file = {self.folder}/keys\nsync_interval_s = {self._sync_s}\n"
                    f"down_after_s = {max(3.5 * self._sync_s, 20)}\n")
        for name in self.conductors:
            self._write(f"{name}.conf", f"[conductor]\nname = {name}\n")
        # A request that a killed conductor had taken is asked again after the time-out.
        self._write("corral-api.conf", f"{broker}[api]\nanswer_timeout_s = 10\n"
                    f"bind_port = {urlsplit(self.url).port}\n")
        self._write("corral-agent.conf", broker)
        self._write("password", self.password)
        self.manage("agent-key", "--init", f"{self.folder}/keys")
        self.manage("db", "sync")
        # As "corral-manage agent-key HOST" prints them, which for many hosts takes long.
        keys = mac.read_keys((self.folder / "keys").read_text())
        for host, url in self.hosts.items():
            self._write(f"{host}.key", keys.key_of(host))
            self._write(f"{host}.conf", f"[agent]\nhost = {host}\nkey_file = {self.folder}/{host}.key\n"
                        f"[xenapi]\nurl = {url}\nusername = root\npassword_file = {self.folder}/password\n")
            if not self._together:
                self.agents[host] = self._process(host, "corral-agent", "--config-file", f"{self.folder}/{host}.conf")
        if self._together:
            files = [f"{self.folder}/{host}.conf" for host in self.hosts]
            words = [sys.executable, "-m", "tools.many_agents", f"{self.folder}/corral-agent.conf", *files]
            self.agents["agents"] = Process("agents", words, self.folder, self._environment)

    def _start_simulator(self) -> None:
        with (self.folder / "simulator.log").open("w") as log:
            self.simulator = subprocess.Popen([*_WITH_US, *self._simulator_words], stdout=subprocess.PIPE, stderr=log,
                                              text=True)
        for line in self.simulator.stdout or ():
            match line.split():
                case ["host", name, url, *_]:
                    self.hosts[name] = url
                case ["login", _, password]:
                    self.password = password
                case ["ready", *_]:
                    return
        raise Failed(f"corral-simulator did not start:\n{(self.folder / 'simulator.log').read_text()[-2000:]}")

    def _write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.touch(mode=0o600)
        path.write_text(text)

    def manage(self, *words: str) -> str:
        """Run corral-manage; return what it printed.  Raises Failed."""
        done = subprocess.run([BIN / "corral-manage", "--config-file", self.folder / "corral-conductor.conf", *words],
                              text=True, capture_output=True, timeout=PATIENCE_S, check=False,
                              env={**os.environ, **self._environment})
        if done.returncode:
            raise Failed(f"corral-manage {' '.join(words)} ended with {done.returncode}: {done.stdout}{done.stderr}")
        return done.stdout

    # The run.

    @property
    def processes(self) -> list[Process]:
        """Corral's processes, in the order of their start."""
        return [*self.conductors.values(), self.api, *self.agents.values()]

    def start(self) -> None:
        """Start everything and wait until all are ready.  Raises Failed."""
        self.prepare()
        for process in self.processes:
            process.start()
        for process in self.processes:
            process.wait_ready(self._patience_s)

    def stop(self) -> None:
        """End everything; what does not end in time is killed.  Raises Failed then."""
        errors: list[Failed] = []
        running = [one for one in reversed(self.processes) if one.popen is not None and one.popen.poll() is None]
        for process in running:
            process.send(signal.SIGTERM)
        for process in running:
            try:
                process.stop()
            except Failed as exc:
                errors.append(exc)
        if self.simulator is not None:
            self.simulator.terminate()
            self.simulator.wait(PATIENCE_S)
        if errors:
            raise errors[0]

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.stop()

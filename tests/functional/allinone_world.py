"""Whole Corrals for tests: simulated hosts, all parts around them, the commands, and looks past Corral.

A House is an AllInOne in this process.  Parts are the same parts one by one, so that a single
one can be stopped or built otherwise.  A Process is a subprocess that tests may kill.  Run as
a program, this file is everything but the hypervisors, which then outlive a kill -9.
"""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

import agent.build
import conductor.build
from agent.simulator import Simulator
from agent.simulator.spec import parse_spec
from common import rpc, service
from common.clock import SystemClock
from common.conductor_api import ConductorAPI
from conductor.allinone import AllInOne, parser
from conductor.api.app import make_app
from conductor.api.serve import Service as ApiService
from conductor.cli.client import Client
from conductor.cli.main import main as corral_command
from conductor.db.session import Database
from conductor.operations.settings import Settings
from tools.independent import Pool

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent
#: real seconds that anything here may take at most
PATIENCE_S = 60.0
SPEED, SYNC_S = 60.0, 0.5
GIB = 1024 ** 3

Json = dict[str, Any]


def until(claim: str, holds: Callable[[], Any], patience_s: float = PATIENCE_S) -> Any:
    """Wait until ``holds()`` is true and return it; it is looked at often."""
    pause, deadline = threading.Event(), time.monotonic() + patience_s
    while not (found := holds()):
        assert time.monotonic() < deadline, f"not true within {patience_s:.0f} s: {claim}"
        pause.wait(0.05)
    return found


def guest(name: str, host: str, memory_gib: float = 1, **more: Any) -> Json:
    """Return a running VM of a world file, on the shared repository ``nfs``."""
    return {"name": name, "host": host, "state": "running", "memory": int(memory_gib * GIB), "disks": ["nfs"], **more}


def pool_world(hosts: int, vms: list[Json], **more: Any) -> Json:
    """Return a world: one pool ``old-name`` of h1..hN with shared storage; ``more`` is for every host."""
    names = [f"h{number}" for number in range(1, hosts + 1)]
    return {"hosts": [{"name": name, "memory": 16 * GIB, **more} for name in names],
            "pools": [{"name": "old-name", "hosts": names}],
            "storage": [{"name": "nfs", "pool": "h1", "default": True}], "vms": vms}


class Commands:
    """The commands and the long poll, at one address."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = Client(url)
        self.out = self.err = ""

    def run(self, line: str) -> int:
        """Run one command; keep what it printed; return its exit status."""
        out, err = io.StringIO(), io.StringIO()
        status = corral_command(line.split(), out, err, {"CORRAL_ENDPOINT": self.url})
        self.out, self.err = out.getvalue(), err.getvalue()
        assert "Traceback" not in self.out + self.err
        return status

    def ask(self, line: str) -> Any:
        """Run one command that must succeed; return what it prints for programs."""
        status = self.run(line + " -f json")
        assert status == 0, f"{line} ended with {status}: {self.err}"
        return json.loads(self.out)

    def begin(self, line: str) -> str:
        """Run a command that begins an operation; return the operation's id."""
        assert self.run(line) == 0, f"{line}: {self.err}"
        return next(words[1] for words in map(str.split, self.err.splitlines()) if words[:1] == ["operation"])

    def host(self, name: str) -> Json:
        """Return a host as the API shows it."""
        return dict(self.client.get("v1", "hosts", name)["host"])

    def hosts(self) -> dict[str, Json]:
        """Return all hosts as the API shows them, by name."""
        return {one["name"]: one for one in self.client.get("v1", "hosts")["hosts"]}

    def operation(self, name: str) -> Json:
        """Return an operation."""
        return dict(self.client.get("v1", "operations", name)["operation"])

    def reached(self, name: str, what: Callable[[Json], Any], patience_s: float = PATIENCE_S) -> Json:
        """Return the operation once ``what`` is true of it, looked at after each of its events."""
        after, deadline = 0, time.monotonic() + patience_s
        while True:
            answer = self.client.get("v1", "operations", name, "events", after=after, wait=1)
            after = max([after, *[event["n"] for event in answer["events"]]])
            operation: Json = answer["operation"]
            if what(operation):
                return operation
            assert not operation["ended_at"], f"ended before that: {self.story(name)}"
            assert time.monotonic() < deadline, f"not reached within {patience_s:.0f} s: {self.story(name)}"

    def ended(self, name: str, state: str = "succeeded", patience_s: float = PATIENCE_S) -> Json:
        """Return the operation once it has ended, in ``state``."""
        operation = self.reached(name, lambda one: one["ended_at"], patience_s)
        assert operation["state"] == state, self.story(name)
        return operation

    def needs_a_person(self, name: str, code: str, patience_s: float = PATIENCE_S) -> Json:
        """Return the operation once it asks for attention because of ``code``."""
        return self.reached(name, lambda one: one["attention"] and one["attention"]["code"] == code, patience_s)

    def moves_done(self, name: str, count: int) -> Json:
        """Return the operation once at least so many of its moves are done."""
        return self.reached(name, lambda one: one["progress"]["moves_done"] >= count)

    def story(self, name: str) -> str:
        """Return the operation's timeline as people see it."""
        self.run(f"operation-show {name} --timeline")
        return self.out + self.err

    def events(self, name: str) -> list[Json]:
        """Return an operation's events."""
        return list(self.client.get("v1", "operations", name, "events")["events"])

    def is_read(self, host: str) -> bool:
        """Return whether the host is enrolled and stands in its pool's report."""
        one = self.hosts().get(host)
        return one is not None and one["memory_total_bytes"] is not None

    def adopt(self, *hosts: str) -> None:
        """Create aggregate 1 and add the hosts to it."""
        until("the hosts were read", lambda: all(self.is_read(host) for host in hosts))
        self.ask("aggregate-create rack1 zone1")
        for host in hosts:
            self.ask(f"aggregate-add-host 1 {host} --wait")
        until("the hosts serve", lambda: all(self.hosts()[host]["state"] == "serving" for host in hosts))


class Hypervisors:
    """A simulator in this process, ways to look at it, and every VM's way, seen at each change."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator = simulator
        self.ways: dict[str, list[str]] = {}
        self.stopped: set[str] = set()
        self._end = False
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def watch(self) -> None:
        """Begin to write down where each VM runs."""
        self._thread.start()

    def end(self) -> None:
        """Stop watching."""
        with self.simulator.lock:
            self._end = True
            self.simulator.lock.notify_all()
        self._thread.join()

    def _follow(self) -> None:
        with self.simulator.lock:
            while not self._end:
                self._look()
                self.simulator.lock.wait()

    def _look(self) -> None:
        for db in self.simulator.world.pools.values():
            for vm in db.refs("VM"):
                if db.get("VM", vm, "is_control_domain") or db.get("VM", vm, "is_a_template"):
                    continue
                name, at = db.get("VM", vm, "name_label"), db.get("VM", vm, "resident_on")
                if db.get("VM", vm, "power_state") == "Running" and db.has("host", at):
                    way = self.ways.setdefault(name, [])
                    host = db.get("host", at, "hostname")
                    if way[-1:] != [host]:
                        way.append(host)
                elif name in self.ways:
                    self.stopped.add(name)

    def url(self, host: str) -> str:
        """Return the address of a host."""
        return dict(self.simulator.hosts)[host]

    def pool(self, host: str = "h1") -> Pool:
        """Log in to a host, past Corral."""
        return Pool(self.url(host), *self.simulator.login)

    def calls(self, method: str) -> list[str]:
        """Return how each call of ``method`` (also as Async) ended, in order."""
        with self.simulator.lock:
            return [call.result for call in self.simulator.world.calls
                    if call.method.removeprefix("Async.") == method]

    def on(self, host: str, pool: str = "h1") -> list[str]:
        """Return the VMs that run on a host, read past Corral."""
        return self.pool(pool).running().get(host, [])

    def start_on(self, vm: str, host: str) -> None:
        """Start a VM, as an operator would."""
        pool = self.pool()
        (there,) = pool.api.host.get_by_name_label(host)
        pool.api.VM.start_on(pool.vms()[vm]["ref"], there, False, False)


class House(Hypervisors):
    """An AllInOne in this process."""

    def __init__(self, folder: Path, world: Json | None = None, *options: str, speed: float = SPEED) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        words = ["--speed", str(speed), "--sync-interval", str(SYNC_S), "--port", "0", "--state-dir",
                 str(folder / "state"), *options]
        if world is not None:
            (folder / "world.yaml").write_text(json.dumps(world))
            words += ["--world", str(folder / "world.yaml")]
        self._running = AllInOne(parser().parse_args(words))
        super().__init__(self._running.simulator)
        self._running.start()
        self.watch()
        self.corral = Commands(self._running.api.url)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self._running.stop()


class Corral:
    """Everything but the hypervisors, each part to be had alone; hosts are (name, url), ``options`` the conductor's."""

    def __init__(self, folder: Path, hosts: list[tuple[str, str]], password: str, sync_s: float = SYNC_S,
                 tell: Callable[[str, Json], None] | None = None, **options: Any) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._hosts, self._password, self._sync_s = dict(hosts), password, sync_s
        self._transport = rpc.transport(f"corral-inproc://{abs(hash(folder)):x}/")
        self._clock = SystemClock()
        # A busy machine may hold an agent back for seconds; no test here waits for one to count as down.
        settings = Settings(sync_interval_s=sync_s, agent_down_s=15.0, **options)
        self._database = Database(f"sqlite:///{folder}/corral.sqlite")
        self._conductor = conductor.build.Service(self._database, self._transport, self._clock, settings, "parts",
                                                  tell=tell)
        self.agents: dict[str, agent.build.Agent] = {}
        self._api = ApiService(make_app(ConductorAPI(self._transport)), "127.0.0.1", 0)

    def start(self, *hosts: str) -> Commands:
        """Start conductor and API, and the agents of ``hosts``."""
        self._database.upgrade()
        self._conductor.start()
        for host in hosts:
            self.start_agent(host)
        self._api.start()
        return Commands(self._api.url)

    def start_agent(self, host: str, password: str | None = None) -> None:
        """Start a new agent process of a host, in place of the one that was stopped."""
        settings = agent.build.AgentSettings(host=host, url=self._hosts[host], username="root",
                                             password=password or self._password, sync_interval_s=self._sync_s)
        self.agents[host] = agent.build.build(settings, transport=self._transport, clock=self._clock)
        self.agents[host].start()

    def stop_agent(self, host: str) -> None:
        """Stop a host's agent."""
        self.agents.pop(host).stop()

    def stop(self) -> None:
        """Stop everything."""
        self._api.stop()
        for host in list(self.agents):
            self.stop_agent(host)
        self._conductor.stop()


class Alone(Hypervisors):
    """Hypervisors in this process, without a Corral."""

    def __init__(self, world: Json, speed: float = SPEED) -> None:
        super().__init__(Simulator(parse_spec(world), speed=speed))
        self.simulator.start()
        self.watch()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()
        self.simulator.stop()


class Parts(Alone):
    """Hypervisors in this process, and Corral beside them in single parts; agents are started by name."""

    def __init__(self, folder: Path, world: Json, *agents: str, speed: float = SPEED, **options: Any) -> None:
        super().__init__(world, speed)
        self.parts = Corral(folder, self.simulator.hosts, self.simulator.login[1], **options)
        self.corral = self.parts.start(*agents)

    def __exit__(self, *_: object) -> None:
        self.parts.stop()
        super().__exit__()


class Process:
    """A program that says ``ready: <url>``; its standard error is kept in a file."""

    def __init__(self, words: list[str], log: Path) -> None:
        self.log = log
        self.hosts: dict[str, str] = {}
        self.password = ""
        with log.open("a") as stderr:
            self.process = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=stderr, text=True,
                                            env={**os.environ, "PYTHONUNBUFFERED": "1"})
        for line in self.process.stdout or ():
            match line.split():
                case ["host", name, url]:
                    self.hosts[name] = url
                case ["login", _, password]:
                    self.password = password
                case ["ready:", url]:
                    self.corral = Commands(url)
                    return
        raise AssertionError(f"it ended before it was ready, with {self.process.wait()}: {log.read_text()[-2000:]}")

    def kill(self) -> None:
        """End it as a power failure would."""
        self.process.kill()
        self.process.wait(PATIENCE_S)

    def signal(self, number: signal.Signals) -> int:
        """Send a signal; return the status with which it ended."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)
        if self.process.stdout:
            self.process.stdout.close()


def allinone_words(state: Path, *options: str) -> list[str]:
    """Return the words that run corral-allinone on a free port."""
    return [str(BIN / "corral-allinone"), "--speed", str(SPEED), "--sync-interval", str(SYNC_S), "--port", "0",
            "--state-dir", str(state), *options]


def corral_words(folder: Path, hypervisors: Hypervisors) -> list[str]:
    """Return the words that run everything but the hypervisors."""
    hosts = [f"{name}={url}" for name, url in hypervisors.simulator.hosts]
    return [sys.executable, "-m", "tests.functional.allinone_world", str(folder), hypervisors.simulator.login[1],
            *hosts]


def main() -> int:
    """Run conductor, API and agents beside hypervisors that run elsewhere, until a signal."""
    options = argparse.ArgumentParser()
    options.add_argument("folder", type=Path)
    options.add_argument("password")
    options.add_argument("hosts", nargs="+")
    args = options.parse_args()
    service.log_to()
    stop = service.Stop()
    stop.catch()
    hosts = [(name, url) for name, _, url in (text.partition("=") for text in args.hosts)]
    corral = Corral(args.folder, hosts, args.password)
    commands = corral.start(*dict(hosts))
    print(f"ready: {commands.url}", flush=True)
    status = stop.wait()
    corral.stop()
    return status


if __name__ == "__main__":
    sys.exit(main())

"""The all-in-one as a user runs it: how soon it serves, what it holds, what it costs idle, and its REST rates."""

import contextlib
import itertools
import sqlite3
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from common.clock import SystemClock
from conductor.db.session import Database
from conductor.manager import Conductor
from conductor.operations.engine import Engine
from conductor.operations.settings import Settings
from tools.bench.client import Client, Corral, rest_load, until
from tools.bench.figures import Figure
from tools.bench.processes import BIN, Process, pause, running
from tools.independent import Pool

HOSTS, VMS, SPEED = 4, 24, 60
STARTS, SETTLE_S, IDLE_S, LOAD_S, BARE_S = 3, 3.0, 10.0, 2.0, 1.0
AGGREGATES = "/v2.1/os-aggregates"
Send = Callable[[Client], object]


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures; takes about 75 s."""
    imports = Figure("start of Python with the all-in-one's imports, median",
                     statistics.median(_import_s() for _ in range(STARTS)), "s", {"n": STARTS})
    starts, sizes = [], []
    with contextlib.ExitStack() as last:
        for number in range(STARTS):
            last.close()
            state = folder / f"state{number}"
            state.mkdir()
            process = last.enter_context(_allinone(state))
            starts.append(process.ready_s)
            sizes.append(process.resident_mib())
        start = Figure("start of corral-allinone until ready, median", statistics.median(starts), "s",
                       {"n": STARTS, "hosts": HOSTS, "vms": VMS})
        yield imports
        yield start
        yield start.beside(imports)
        yield Figure("memory of corral-allinone when ready, median", statistics.median(sizes), "MiB", {"n": STARTS})
        aggregate = _story(process)
        pause(SETTLE_S)
        yield Figure("idle CPU of corral-allinone after a drain", 100 * process.busy_share(IDLE_S), "% of a core",
                     {"seconds": IDLE_S, "hosts": HOSTS, "vms": VMS})
        yield Figure("memory of corral-allinone after a drain", process.resident_mib(), "MiB")
        yield from _rates(process, aggregate, folder, state)


@contextlib.contextmanager
def _allinone(state: Path) -> Iterator[Process]:
    words = [str(BIN / "corral-allinone"), "--hosts", str(HOSTS), "--vms", str(VMS), "--speed", str(SPEED),
             "--port", "0", "--state-dir", str(state)]
    with running(words, state / "log") as process:
        yield process


def _import_s() -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", "import conductor.allinone"], check=True)
    return time.monotonic() - began


def _story(process: Process) -> int:
    """Build the pool, start the VMs, drain a host and bring it back; return the aggregate's id."""
    urls = {words[1]: words[2] for words in process.said if words[0] == "host"}
    login = next(words[1:] for words in process.said if words[0] == "login")
    corral = Corral(process.url)
    aggregate = corral.add_hosts(list(urls))
    Pool(urls["h1"], *login).start_all(tuple(urls))

    def running_vms() -> int:
        return sum(host["vms"] for host in corral.ask("GET", "/v1/hosts")["hosts"])

    until("Corral has seen the VMs", lambda: running_vms() == VMS, 0.25)
    for wanted in ("enable", "disable"):
        corral.maintain("h2", wanted)
        corral.settle()
    corral.close()
    return aggregate


def _rates(process: Process, aggregate: int, folder: Path, state: Path) -> Iterator[Figure]:
    def show(client: Client) -> None:
        client.ask("GET", f"{AGGREGATES}/{aggregate}")

    names = itertools.count()

    def create(client: Client) -> None:
        # Every round needs names of its own.
        wanted = {"name": f"made{next(names)}", "availability_zone": None}
        client.ask("POST", AGGREGATES, {"aggregate": wanted})

    with running([sys.executable, "-m", "tools.bench.constant"], folder / "constant.log") as constant:
        bound = {threads: _rate("constant answer by the same server", constant, show, threads)[0]
                 for threads in (1, 4)}
    conductor = _bare(state, folder / "copy.sqlite")
    bare = {"show": _bare_rate("show", lambda number: conductor.aggregate_show({}, aggregate)),
            "create": _bare_rate("create", lambda number: conductor.aggregate_create({}, f"made{number}"))}
    yield from bound.values()
    yield from bare.values()
    yield Figure("SQLite commits of one row", _commits(folder / "commits.sqlite"), "per second",
                 {"means": "synchronous=FULL with a write-ahead log, as the conductor's"})
    for name, send in (("show", show), ("create", create)):
        for threads in (1, 4):
            figure, each = _rate(f"REST aggregate {name}", process, send, threads)
            yield figure
            yield bound[threads].beside(figure)
            if threads == 1:
                yield each


def _rate(name: str, process: Process, send: Send, threads: int) -> tuple[Figure, Figure]:
    """Return requests per second and the server's CPU milliseconds for each of them."""
    used = process.cpu_s()
    rate = rest_load(process.url, send, threads, LOAD_S).per_second
    used = process.cpu_s() - used
    clients = "1 client" if threads == 1 else f"{threads} clients"
    return (Figure(f"{name}, {clients}", rate, "requests per second", {"threads": threads, "seconds": LOAD_S}),
            Figure(f"{name}, CPU of the server per request", 1e3 * used / (rate * LOAD_S), "ms"))


def _bare_rate(name: str, act: Callable[[int], object]) -> Figure:
    return Figure(f"bare conductor call of aggregate {name}", _per_second(act), "calls per second",
                  {"means": "no HTTP, no transport, same rows"})


def _per_second(act: Callable[[int], object]) -> float:
    began, count = time.monotonic(), 0
    while time.monotonic() - began < BARE_S:
        act(count)
        count += 1
    return count / (time.monotonic() - began)


def _bare(state: Path, copy: Path) -> Conductor:
    """Return a conductor's endpoint on a copy of the all-in-one's rows, in this process."""
    with contextlib.closing(sqlite3.connect(state / "corral.sqlite")) as source, \
            contextlib.closing(sqlite3.connect(copy)) as target:
        source.backup(target)
    database = Database(f"sqlite:///{copy}")
    database.upgrade()
    return Conductor(Engine(database, lambda executor, task, attempt: None, SystemClock(), Settings()))


def _commits(path: Path) -> float:
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for line in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE made (name TEXT)"):
            connection.execute(line)
        return _per_second(lambda number: connection.execute("INSERT INTO made VALUES (?)", (f"made{number}",)))

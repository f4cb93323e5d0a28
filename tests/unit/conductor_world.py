"""A conductor and its agents without threads: every message is handed over by the test's own loop.

The conductor is the production code on a SQLite file, the clock is set, the agents are
small: they claim, observe, act on ``conductor_pool.Hypervisors``, observe and report, and
what they say makes a JSON round trip.  A test decides which messages are lost, doubled or
late, when an agent or a conductor is replaced, and how time passes.
"""

import itertools
import json
import shutil
from collections.abc import Callable
from copy import deepcopy
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypeVar

import sqlalchemy
from conductor_agent import Agent
from conductor_pool import Hypervisors

from common import errors
from common.clock import SetClock
from conductor.db import aggregates, hosts, operations
from conductor.db.models import Host, Membership, Operation, Task
from conductor.db.session import Database
from conductor.manager import Agents, Conductor
from conductor.operations.engine import Engine, Transaction
from conductor.operations.settings import Settings
from conductor.operations.sweeper import Sweeper

T = TypeVar("T")

_KEYS = itertools.count(1)
#: gone when the tests have ended
_FOLDER = TemporaryDirectory(prefix="corral-test-")


class Crashed(BaseException):
    """The conductor's process ended; nothing inside it can catch that."""


class CrashingDatabase(Database):
    """A database whose user dies right after (or right before) a given commit."""

    commits = 0
    crash_at: int | None = None
    before = False

    def __init__(self, url: str) -> None:
        super().__init__(url)
        if url.startswith("sqlite:"):
            # No machine loses its power here, and to wait for the disk at every commit takes a third of the time.
            sqlalchemy.event.listen(self.engine, "connect",
                                    lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))

    def run(self, work: Callable[[Any], T]) -> T:
        """Commit, and perhaps die before anybody is told."""
        self.commits += 1
        if self.before and self.commits == self.crash_at:
            raise Crashed
        result = super().run(work)
        if self.commits == self.crash_at:
            raise Crashed
        return result


@lru_cache(maxsize=1)
def empty_database() -> Path:
    """Return a file with the schema and nothing in it."""
    path = Path(_FOLDER.name) / "empty.sqlite"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    # The last connection's end writes everything into the one file.
    database.close()
    return path


class World:
    """Hosts h1..hN with their agents, one conductor, and the messages between them."""

    def __init__(self, folder: Path, hosts: int = 3, settings: Settings | None = None, url: str | None = None,
                 **options: Any) -> None:
        """Begin with a new SQLite file in ``folder``, or with the empty database at ``url``."""
        self.settings = settings or Settings(**options)
        self.clock = SetClock()
        self.pool = Hypervisors(self.clock, [f"h{number}" for number in range(1, hosts + 1)])
        self.path = folder / "corral.sqlite"
        if url is None:
            shutil.copyfile(empty_database(), self.path)
        self.database = CrashingDatabase(url or f"sqlite:///{self.path}")
        if url is not None:
            self.database.upgrade()
        self.rings: list[tuple[str, str, int]] = []
        self.lost_rings: list[tuple[str, str, int]] = []
        self.loses_rings = False
        self.told: list[tuple[str, dict[str, Any]]] = []
        self.doubles = False        #: every message of an agent is delivered twice
        self.restarts = 0
        self.agents = {name: Agent(self, name) for name in self.pool.hosts}
        self.start_conductor()

    def copy(self, folder: Path) -> "World":
        """Return a world that is in the same state and goes its own way from here; on SQLite only."""
        twin = World(folder, len(self.pool.hosts), self.settings)
        twin.database.close()
        twin.clock.advance(self.clock.now() - twin.clock.now())
        twin.pool = deepcopy(self.pool, {id(self.clock): twin.clock})
        for suffix in ("", "-wal"):
            if (source := Path(f"{self.path}{suffix}")).exists():
                shutil.copyfile(source, f"{twin.path}{suffix}")
        twin.database = CrashingDatabase(f"sqlite:///{twin.path}")
        for name, agent in self.agents.items():
            other = twin.agents[name]
            other.incarnation, other.observes = agent.incarnation, agent.observes
            other.next_sync_at = agent.next_sync_at
        twin.start_conductor()
        twin.restarts = 0
        return twin

    def start_conductor(self) -> None:
        """Throw the conductor away, with all that it had in memory, and begin with a new one."""
        self.restarts += 1
        self.rings.clear()
        self.engine = Engine(self.database, lambda *ring: self.rings.append(ring), self.clock, self.settings)
        self.conductor, self.door, self.sweeper = Conductor(self.engine), Agents(self.engine), Sweeper(self.engine)

    # messages
    def begin(self, method: str, **arguments: Any) -> str:
        """Make a request of a person; return the id of the operation that it began."""
        return str(self.ask(method, **arguments)["operation"]["id"])

    def refused(self, method: str, **arguments: Any) -> errors.Error:
        """Make a request that must be refused; return the refusal."""
        try:
            answer = self.ask(method, **arguments)
        except errors.Error as exc:
            return exc
        raise AssertionError(f"{method} was accepted: {answer}")

    def tell(self, method: str, **arguments: Any) -> Any:
        """Bring an agent's message; OutcomeUnknown when the conductor dies over it."""
        wired = json.loads(json.dumps(arguments))
        self.told.append((method, wired))
        try:
            answer = json.loads(json.dumps(getattr(self.door, method)({}, **wired)))
            if self.doubles:
                self.repeat(method, wired)
            return answer
        except Crashed:
            self.start_conductor()
            raise errors.OutcomeUnknown() from None

    def repeat(self, method: str, said: dict[str, Any]) -> None:
        """Bring a message once more, which must change nothing: it is refused, or its process is superseded."""
        try:
            answer = getattr(self.door, method)({}, **said)
        except errors.WrongState as exc:
            assert exc.code in ("replayed", "older_incarnation"), exc
        else:
            assert (answer.get("wanted") is False or answer.get("verdict") in ("superseded", "stale")
                    or answer.get("superseded") or not self.enrolled(said)), answer

    def enrolled(self, said: dict[str, Any]) -> bool:
        """Return whether the host that a sync speaks of is known."""
        name = said.get("sync", said)["host"]
        return self.engine.read(lambda session: hosts.find(session, name)) is not None

    def ask(self, method: str, *, key: str | None = None, **arguments: Any) -> Any:
        """Make a request of a person, repeated under its key when the conductor dies over it."""
        key = key or f"key-{next(_KEYS)}"
        # People are not faster than the clock: what was accepted later has a later time.
        self.clock.advance(0.001)
        while True:
            try:
                return json.loads(json.dumps(getattr(self.conductor, method)(
                    {"user": "ann", "idempotency_key": key}, **arguments)))
            except Crashed:
                self.start_conductor()

    def ring(self) -> None:
        """Deliver the doorbells that were rung."""
        rung = list(self.rings)
        self.rings.clear()
        if self.loses_rings:
            self.lost_rings += rung
            return
        for executor, task, attempt in rung:
            self.agents[executor].hear(task, attempt)

    def sweep(self) -> None:
        """Let the sweeper look at what is due."""
        try:
            self.sweeper.due()
        except Crashed:
            self.start_conductor()

    # time
    def tick(self, seconds: float = 1.0) -> None:
        """Let a moment pass, in which everybody does what is due."""
        self.clock.advance(seconds)
        self.pool.go_on()
        for agent in self.agents.values():
            agent.live()
        self.sweep()
        self.ring()

    def run(self, done: Callable[[], bool], limit_s: float = 600.0, step_s: float = 1.0) -> None:
        """Let time pass until ``done``; fail when that does not come in time."""
        end = self.clock.now() + limit_s
        while not done():
            assert self.clock.now() < end, self.story()
            self.tick(step_s)

    def pass_time(self, seconds: float, step_s: float = 1.0) -> None:
        """Let so much time pass."""
        end = self.clock.now() + seconds
        while self.clock.now() < end:
            self.tick(step_s)

    def finish(self, operation: str, limit_s: float = 600.0) -> dict[str, Any]:
        """Let time pass until the operation has ended; return it."""
        self.run(lambda: self.state(operation) in ("succeeded", "cancelled", "failed"), limit_s)
        return self.show(operation)

    def settle(self) -> None:
        """Let every agent be heard until every pool is observed."""
        for _ in range(3):
            for agent in self.agents.values():
                agent.sync()

    def start_pool(self, *names: str, aggregate: str = "a1") -> int:
        """Make an aggregate whose pool has these hosts (all), as Corral's own joins leave it; return its id."""
        names = names or tuple(self.pool.hosts)
        self.pool.merge(*names)
        self.settle()
        made = self.ask("aggregate_create", name=aggregate)

        def fill(tx: Transaction) -> None:
            aggregates.get(tx.session, made["id"]).pool = self.pool.hosts[names[0]].pool
            tx.session.add_all(Membership(aggregate_id=made["id"], host=name, pool_backed_host=name, state="member",
                                          adopted=False) for name in names)
        self.engine.run(fill)
        return int(made["id"])

    # reading
    def state(self, operation: str) -> str:
        """Return an operation's state."""
        return self.row(operation).state

    def row(self, operation: str) -> Operation:
        """Return an operation's row."""
        return self.engine.read(lambda session: operations.get(session, operation))

    def tasks(self, operation: str, kind: str | None = None) -> list[Task]:
        """Return an operation's tasks, of one kind if given."""
        found = self.engine.read(lambda session: list(operations.tasks(session, operation)))
        return [task for task in found if kind in (None, task.kind)]

    def host(self, name: str) -> Host:
        """Return a host's row."""
        return self.engine.read(lambda session: hosts.get(session, name))

    def show(self, operation: str) -> dict[str, Any]:
        """Return an operation as it is shown."""
        shown: dict[str, Any] = self.ask("operation_show", id=operation)
        return shown

    def events(self, operation: str) -> list[dict[str, Any]]:
        """Return an operation's events."""
        found: list[dict[str, Any]] = self.ask("operation_events", id=operation)["events"]
        return found

    def counts(self, operation: str) -> list[str]:
        """Return the names of the events of an operation, in order."""
        return [event["event"] for event in self.events(operation)]

    def active(self) -> list[dict[str, Any]]:
        """Return the operations that have not ended."""
        found: list[dict[str, Any]] = self.ask("operation_list", filters={"active": True})["operations"]
        return found

    def story(self) -> str:
        """Return what has happened, for a failed test."""
        lines = [f"now {self.clock.now():.0f}, harm {self.pool.harm}"]
        for operation in self.ask("operation_list")["operations"]:
            lines.append(f"{operation['kind']} {operation['host']} {operation['state']} {operation['attention']} "
                         f"{operation['error']}")
            lines += [f"  {e['at'][11:19]} {e['task_kind'] or '':14} {e['state']} -{e['event']}-> {e['next']} "
                      f"{e['detail']}" for e in self.events(operation["id"])[-40:]]
        return "\n".join(lines)

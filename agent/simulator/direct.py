"""A client inside the process, for worlds on a clock that is set: no HTTP, no threads, no waiting.

Where a call waits for something, the clock is set to the next thing that is due until it is answered.
"""

from typing import Any

from agent.simulator import build
from agent.simulator.call import Waiting
from agent.simulator.calls import CallRecord
from agent.simulator.clocks import SetClock
from agent.simulator.database import Database
from agent.simulator.events import EventWait
from agent.simulator.failure import Failure
from agent.simulator.spec import WorldSpec
from agent.simulator.world import World


def direct_world(spec: WorldSpec, *, seed: int = 0, password: str = "secret") -> tuple[World, SetClock]:  # noqa: S107
    """Return a world of its own, hosts at 127.1.0.1 and on, and the clock that moves it."""
    clock = SetClock()
    world = World(clock, seed)
    addresses = [host.address or f"127.1.0.{number}" for number, host in enumerate(spec.hosts, 1)]
    build.build(world, spec, addresses, password)
    return world, clock


class DirectClient:
    """One client of one simulated host."""

    def __init__(self, world: World, clock: SetClock, address: str, *, originator: str = "direct") -> None:
        self.world, self.clock, self.address, self.originator = world, clock, address, originator
        self.session = ""

    def login(self, password: str = "secret") -> "DirectClient":  # noqa: S107
        """Log in as root and keep the session."""
        self.session = self.raw("session.login_with_password", "root", password, "1.0", self.originator)
        return self

    def __call__(self, method: str, *params: Any, headers: dict[str, str] | None = None) -> Any:
        """Call a message with the session; raises Failure or Dropped as the world does."""
        return self.raw(method, self.session, *params, headers=headers)

    def raw(self, method: str, *params: Any, headers: dict[str, str] | None = None) -> Any:
        """Call a message without adding the session."""
        result = self.world.call(self.address, method, list(params), headers)
        if not hasattr(result, "poll"):
            return result
        record = self.world.calls[-1]
        value = self._events(result) if isinstance(result, EventWait) else self._awaited(result, record)
        self.world.calls.end(record, "Success", self.world.now)
        return value

    def _awaited(self, waiting: Waiting, record: CallRecord) -> Any:
        while True:
            try:
                ended, value = waiting.poll(self.world)
            except Failure as failure:
                self.world.calls.end(record, failure.code, self.world.now)
                raise
            if ended:
                return value
            self.step()

    def db(self) -> Database:
        """Return the database of the host's pool, to look at."""
        return self.world.pools[self.world.nodes[self.address].pool]

    def step(self) -> None:
        """Set the clock to the next thing that is due and do it."""
        due = self.world.next_due()
        if due is None:
            raise AssertionError("the call waits, but nothing will ever happen")
        self.clock.at = max(self.clock.at, due)
        self.world.advance()

    def pass_time(self, seconds: float) -> None:
        """Set the clock forward; everything due on the way is done at its own moment."""
        self.clock.at += seconds
        self.world.advance()

    def task(self, task: str) -> dict[str, Any]:
        """Let time pass until a task has ended; return its record."""
        while self("task.get_status", task) == "pending":
            self.step()
        record: dict[str, Any] = self("task.get_record", task)
        return record

    def _events(self, waiting: EventWait) -> Any:
        end = self.clock.at + waiting.timeout_s
        while not waiting.poll(self.world)[0]:
            due = self.world.next_due()
            if due is None or due > end:
                self.clock.at = max(end, self.clock.at)
                self.world.advance()
                break
            self.step()
        return waiting.batch(self.world)

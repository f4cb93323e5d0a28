"""An office for tests: a conductor that only keeps books, behind the in-process transport, and agents."""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from agent_desk import Desk, hypervisor

from agent.build import Agent, AgentSettings, build
from agent.driver import VmState
from agent.simulator import Simulator
from common import messages, rpc
from common.agent_api import AgentAPI
from common.clock import SystemClock
from common.messages import Claim, Order, Report, Sync

_NAMES = itertools.count(1)


class Office:
    """A Desk behind the in-process transport, and the agents that it has."""

    def __init__(self, simulator: Simulator) -> None:
        self.simulator, self.desk = simulator, Desk()
        self.transport = rpc.transport(f"corral-inproc://agent-tests-{next(_NAMES)}/")
        self.bell = AgentAPI(self.transport)
        self.agents: list[Agent] = []
        self._server = rpc.Server(
            self.transport,
            rpc.TOPIC_AGENTS,
            "desk",
            messages.AGENTS_VERSION,
            {"sync": self._sync, "claim": self._claim, "report": self._report},
        )

    def _sync(self, context: Any, sync: dict[str, Any]) -> dict[str, Any]:
        return self.desk.sync(Sync.from_wire(sync)).to_wire()

    def _claim(self, context: Any, **arguments: Any) -> dict[str, Any]:
        answer: Claim = self.desk.claim(**arguments)
        return answer.to_wire()

    def _report(self, context: Any, report: dict[str, Any], **arguments: Any) -> dict[str, Any]:
        return {"wanted": self.desk.report(report=Report.from_wire(report), **arguments)}

    def start(self) -> None:
        self._server.start()

    def stop(self) -> None:
        for agent in self.agents:
            agent.stop()
        self._server.stop()

    def agent(self, host: str, **more: Any) -> Agent:
        """Start the agent of ``host``."""
        user, password = self.simulator.login
        settings = AgentSettings(
            **{
                "host": host,
                "url": dict(self.simulator.hosts)[host],
                "username": user,
                "password": password,
                "read_timeout_s": 10.0,
                "retry_longest_s": 0.5,
                **more,
            }
        )
        agent = build(settings, transport=self.transport, clock=SystemClock())
        agent.start()
        self.agents.append(agent)
        return agent

    def ring(self, order: Order) -> Order:
        """Ring at the executor."""
        self.bell.ring(order.executor, order.task, order.attempt)
        return order

    def seen(self, host: str, what: Callable[[Sync], bool]) -> Sync:
        """Return a heartbeat of ``host`` for which ``what`` holds."""

        def found() -> Sync | None:
            return next(
                (sync for sync in reversed(self.desk.syncs) if sync.host == host and what(sync)), None
            )

        assert self.desk.wait_for(lambda: found() is not None), f"no such sync of {host}"
        sync = found()
        assert sync is not None
        return sync


@contextmanager
def office(simulator: Simulator) -> Iterator[Office]:
    running = Office(simulator)
    running.start()
    try:
        yield running
    finally:
        running.stop()


def running_vm(simulator: Simulator, name: str) -> tuple[str, str]:
    """Return the uuid of a VM and of its host."""
    driver = hypervisor(simulator, "h1")
    session = driver.open()
    with simulator.lock:
        uuid = next(
            row["uuid"]
            for pool in simulator.world.pools.values()
            for row in pool.rows["VM"].values()
            if row["name_label"] == name
        )
    state: VmState | None = session.vm(uuid)
    session.close()
    assert state is not None and state.resident_on is not None
    return uuid, state.resident_on


def session_members(simulator: Simulator) -> list[str]:
    """Return the uuids of the pool's hosts."""
    session = hypervisor(simulator, "h1").open()
    members = sorted(session.pool().members)
    session.close()
    return members


def wait_for_call(simulator: Simulator, method: str) -> None:
    """Return when ``method`` was called."""
    with simulator.lock:
        found = simulator.lock.wait_for(
            lambda: any(record.method == method for record in simulator.world.calls), 10.0
        )
    assert found, f"{method} was not called"


def members(at: Office) -> Sync:
    """Start the agents of h1 and h3, its slave, as members of their pool; return what h3's says of itself."""
    master = hypervisor(at.simulator, "h1")
    session = master.open()
    at.desk.members = dict(session.pool().members)
    session.close()
    master.close()
    at.agent("h1")
    at.agent("h3")
    return at.seen("h3", lambda sync: sync.role == "slave" and sync.host_uuid is not None)

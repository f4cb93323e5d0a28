"""What agents talk to in these tests: simulated hosts, and a conductor that only keeps books."""

import itertools
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from agent.driver import Hypervisor
from agent.simulator import Simulator, WorldSpec
from agent.simulator.spec import GIB, HostSpec, PoolSpec, StorageSpec, VmSpec
from agent.xenapi.session import Access, XenHypervisor
from common.clock import SystemClock
from common.messages import Claim, Order, Report, Sync, SyncAnswer

DEADLINE_S = 20.0


def pooled_spec(vms: int = 3, memory: int = 1 * GIB, host: str = "h1") -> WorldSpec:
    """Return hosts h1 (the master), h2 and h3 in one pool, h4 alone; VMs run on ``host``, one is halted."""
    guests = tuple(
        VmSpec(f"v{n}", host, memory=memory, disks=("shared",), state="running") for n in range(vms)
    )
    return WorldSpec(
        tuple(HostSpec(f"h{n}") for n in range(1, 5)),
        pools=(PoolSpec(("h1", "h2", "h3"), "pool"),),
        storage=(StorageSpec("shared", "h1", default=True),),
        vms=(*guests, VmSpec("halted", "h1", memory=memory, disks=("shared",))),
    )


@contextmanager
def simulated(spec: WorldSpec, speed: float = 60.0) -> Iterator[Simulator]:
    """Serve ``spec`` while the block runs."""
    simulator = Simulator(spec, speed=speed)
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


def access(simulator: Simulator, host: str, **more: Any) -> Access:
    """Return how the agent of ``host`` gets at it."""
    user, password = simulator.login
    return Access(
        **{"url": dict(simulator.hosts)[host], "username": user, "password": password, "read_s": 10.0, **more}
    )


def hypervisor(simulator: Simulator, host: str, **more: Any) -> XenHypervisor:
    """Return the driver of the agent of ``host``."""
    return XenHypervisor(access(simulator, host, **more), f"corral:{host}", SystemClock())


def addresses(simulator: Simulator) -> dict[str, str]:
    """Return the address of each host, by name."""
    return {name: url.split("//")[1].rsplit(":", 1)[0] for name, url in simulator.hosts}


def calls(simulator: Simulator, method: str) -> int:
    """Return how often ``method`` was called."""
    with simulator.lock:
        return sum(1 for record in simulator.world.calls if record.method == method)


def uuid_of(driver: Hypervisor) -> str:
    """Return the uuid of the driver's own host."""
    uuid = driver.locate().host_uuid
    assert uuid is not None
    return uuid


class Desk:
    """A conductor that keeps orders, claims, reports and syncs, and decides nothing."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, int], Order] = {}
        self.claims: list[tuple[str, str, str, int, str | None]] = []
        self.reports: list[Report] = []
        self.syncs: list[Sync] = []
        self.members: dict[str, str] = {}
        self.observers: set[str] = set()
        self.superseded: set[str] = set()
        self.dropped: list[str] = []
        self.called_off: list[dict[str, Any]] = []
        self.interval_s = 10.0
        self._changed = threading.Condition()
        self._numbers = itertools.count(1)

    def order(
        self,
        kind: str,
        executor: str,
        host_uuid: str = "",
        args: Mapping[str, Any] | None = None,
        **more: Any,
    ) -> Order:
        """Keep an order for ``executor`` and return it."""
        order = Order(
            **{
                "task": f"task-{next(self._numbers)}",
                "attempt": 1,
                "kind": kind,
                "operation": "op",
                "host": executor,
                "host_uuid": host_uuid,
                "executor": executor,
                "epoch": 1,
                "pool": None,
                "args": dict(args or {}),
                "limit_s": 600.0,
                **more,
            }
        )
        with self._changed:
            self.orders[order.task, order.attempt] = order
        return order

    # what agents call
    def sync(self, sync: Sync) -> SyncAnswer:
        with self._changed:
            self.syncs.append(sync)
            self._changed.notify_all()
            waiting = [
                {"task": o.task, "attempt": o.attempt}
                for o in self.orders.values()
                if o.executor == sync.host and not any(c[2:4] == (o.task, o.attempt) for c in self.claims)
            ]
            return SyncAnswer(
                superseded=sync.incarnation in self.superseded,
                observe=sync.host in self.observers,
                interval_s=self.interval_s,
                orders=waiting,
                members=dict(self.members),
                dropped=list(self.dropped),
                called_off=list(self.called_off),
            )

    def claim(
        self, host: str, incarnation: str, sequence: int, task: str, attempt: int, session: str | None
    ) -> Claim:
        with self._changed:
            if incarnation in self.superseded:
                return Claim("superseded")
            order = self.orders.get((task, attempt))
            if order is None or order.executor != host:
                return Claim("stale")
            self.claims.append((host, incarnation, task, attempt, session))
            self._changed.notify_all()
            return Claim("yours", order.to_wire())

    def report(self, host: str, incarnation: str, sequence: int, report: Report) -> bool:
        with self._changed:
            self.reports.append(report)
            self._changed.notify_all()
            return True

    # what tests ask
    def wait_for(self, what: Callable[[], bool], deadline_s: float = DEADLINE_S) -> bool:
        """Return whether ``what`` became true in time."""
        with self._changed:
            return self._changed.wait_for(what, deadline_s)

    def settled(self, order: Order, deadline_s: float = DEADLINE_S) -> Report:
        """Return the last report of ``order``."""

        def found() -> list[Report]:
            return [
                r for r in self.reports if (r.task, r.attempt) == (order.task, order.attempt) and r.settled
            ]

        assert self.wait_for(lambda: bool(found()), deadline_s), f"{order.kind} has not settled"
        return found()[-1]

    def last_sync(self, host: str) -> Sync | None:
        """Return the newest heartbeat of ``host``."""
        with self._changed:
            return next((sync for sync in reversed(self.syncs) if sync.host == host), None)

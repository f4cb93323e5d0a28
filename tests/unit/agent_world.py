"""A pool in memory behind the driver's port, for tests of the step machines and the worker.

Time is a SetClock that waiting moves on; what is to happen later is a script of (time,
act).  It promises what the port promises and nothing more.
"""

import itertools
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from agent.driver import (
    HostState,
    Joinable,
    Observer,
    Occupancy,
    PoolSession,
    PoolState,
    VmState,
    Watch,
    Whereabouts,
    Work,
    WorkState,
)
from agent.tasks import machine_for
from agent.tasks.machine import Machine, Settled, Surroundings, Wait
from common import errors
from common.clock import SetClock
from common.messages import Order

START = "1000.0"


class World:
    """One pool: hosts, VMs, work, sessions, and what a test wants to go wrong."""

    def __init__(self, hosts: int = 3, name: str = "pool-1") -> None:
        self.clock = SetClock()
        self.uuid, self.name_label, self.master = f"uuid-{name}", "", "h1"
        self.hosts = {
            f"h{n}": HostState(f"h{n}", f"10.0.0.{n}", True, True, agent_start_time=START)
            for n in range(1, hosts + 1)
        }
        self.vms: dict[str, VmState] = {}
        self.marks: dict[str, tuple[str, Work]] = {}
        self.work: dict[str, WorkState] = {}
        self.sessions: set[str] = set()
        self.calls: list[str] = []
        self.refusals: dict[str, errors.Error] = {}
        self.lost_replies: set[str] = set()
        self.move_s = 30.0
        self.synced = False
        self.tls = False
        self.migration_network: str | None = None
        self.joinable = Joinable()
        self.on_join: Callable[[World], None] = lambda world: None
        self.lock = threading.RLock()
        self._script: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count(1)

    def number(self) -> int:
        """Return a number that was not used before."""
        return next(self._numbers)

    def add_vm(self, uuid: str, host: str | None, power_state: str = "Running") -> None:
        """Add a VM."""
        self.vms[uuid] = VmState(uuid, power_state, host)

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Let ``act`` happen so much later."""
        self._script.append((self.clock.now() + seconds, self.number(), act))
        self._script.sort(key=lambda entry: entry[:2])

    def pass_time(self, seconds: float, until_event: bool = True) -> None:
        """Let time pass, to the next thing that happens or for ``seconds``."""
        with self.lock:
            end = self.clock.now() + seconds
            while self._script and self._script[0][0] <= end:
                at, _, act = self._script.pop(0)
                self.clock.advance(max(0.0, at - self.clock.now()))
                act()
                if until_event:
                    return
            self.clock.advance(max(0.0, end - self.clock.now()))

    def set_vm(self, uuid: str, **changes: object) -> None:
        """Change fields of a VM."""
        self.vms[uuid] = replace(self.vms[uuid], **changes)  # type: ignore[arg-type]

    def set_host(self, uuid: str, **changes: object) -> None:
        """Change fields of a host."""
        self.hosts[uuid] = replace(self.hosts[uuid], **changes)  # type: ignore[arg-type]

    def refuse(self, method: str, code: str, *params: str) -> None:
        """Answer the next call of ``method`` with a failure."""
        self.refusals[method] = errors.HypervisorError(code, xapi_code=code, params=list(params))

    def begin(self, work: Work, ends_after_s: float, end: Callable[[], tuple[str, tuple[str, ...]]]) -> None:
        """Begin work that ends later as ``end`` says: status and error."""
        self.work[work.id] = WorkState("pending", 0.1, True)

        def ended() -> None:
            if self.work.get(work.id, WorkState("gone")).status == "pending":
                status, error = end()
                self.work[work.id] = WorkState(status, 1.0, False, error)

        self.after(ends_after_s, ended)


class Session:
    """A PoolSession with a World."""

    def __init__(self, world: World, home: bool = True) -> None:
        self.world = world
        self._home = home
        self._uuid = f"session-{world.number()}"
        self._interrupted = threading.Event()
        world.sessions.add(self._uuid)

    @property
    def session_uuid(self) -> str:
        return self._uuid

    @property
    def at_home(self) -> bool:
        return self._home

    def _called(self, method: str) -> None:
        if self._uuid not in self.world.sessions:
            raise errors.SessionLost()
        self.world.calls.append(method)
        if method in self.world.refusals:
            raise self.world.refusals.pop(method)

    def _answered(self, method: str) -> None:
        if method in self.world.lost_replies:
            self.world.lost_replies.discard(method)
            raise errors.OutcomeUnknown(f"no answer to {method}")

    def close(self, logout: bool = True) -> None:
        self.world.calls.append("close" if logout else "leave")
        if logout:
            self.world.sessions.discard(self._uuid)

    def reconnect(self) -> None:
        self.world.calls.append("reconnect")

    def interrupt(self) -> None:
        self._interrupted.set()

    def nudge(self) -> None:
        self.world.calls.append("nudge")

    def pool_uuid(self) -> str:
        self._called("pool_uuid")
        return self.world.uuid

    def pool(self) -> PoolState:
        self._called("pool")
        world = self.world
        return PoolState(
            world.uuid,
            world.name_label,
            world.master,
            {host.uuid: host.address for host in world.hosts.values()},
            tls_verification=world.tls,
        )

    def host(self, uuid: str) -> HostState | None:
        self._called("host")
        return self.world.hosts.get(uuid)

    def vm(self, uuid: str) -> VmState | None:
        self._called("vm")
        return self.world.vms.get(uuid)

    def occupancy(self, host: str) -> Occupancy | None:
        self._called("occupancy")
        if host not in self.world.hosts:
            return None
        there = self.world.hosts[host]
        return Occupancy(
            there.enabled,
            there.live,
            tuple(vm.uuid for vm in self.world.vms.values() if vm.resident_on == host),
            tuple(vm.uuid for vm in self.world.vms.values() if vm.scheduled_on == host),
            (),
        )

    def started_at(self, hosts: Sequence[str]) -> dict[str, str]:
        self._called("started_at")
        return {
            uuid: self.world.hosts[uuid].agent_start_time
            for uuid in (*hosts, self.world.master)
            if uuid in self.world.hosts
        }

    def work_of(self, task: str) -> list[Work]:
        self._called("work_of")
        return sorted(
            (work for owner, work in self.world.marks.values() if owner == task),
            key=lambda work: -work.attempt,
        )

    def work_state(self, work: Work) -> WorkState:
        self._called("work_state")
        if work.id not in self.world.marks:
            return WorkState("gone")
        return self.world.work.get(work.id, WorkState(None))

    def joinable(self, other: PoolSession) -> Joinable:
        self._called("joinable")
        return self.world.joinable

    def wait(self, watches: Sequence[Watch], timeout_s: float) -> None:
        self._called("wait")
        if not self._interrupted.is_set():
            self.world.pass_time(timeout_s)

    def fence(self, session_uuid: str) -> None:
        self._called("fence")
        self.world.sessions.discard(session_uuid)

    def mark_work(self, task: str, attempt: int, note: str = "") -> Work:
        self._called("mark_work")
        work = Work(f"work-{self.world.number()}", attempt, note)
        self.world.marks[work.id] = task, work
        self._answered("mark_work")
        return work

    def forget(self, work: Work) -> None:
        self._called("forget")
        self.world.marks.pop(work.id, None)
        self.world.work.pop(work.id, None)

    def cancel(self, work: Work) -> None:
        self._called("cancel")
        if self.world.work[work.id].status == "pending":
            self.world.after(1.0, lambda: self._cancelled(work))

    def _cancelled(self, work: Work) -> None:
        self.world.work[work.id] = WorkState("cancelled", 1.0)
        for vm in self.world.vms.values():
            self.world.set_vm(vm.uuid, operations=(), scheduled_on=None)

    def migration_network(self) -> str | None:
        self._called("migration_network")
        return self.world.migration_network

    def check_destination(self, vm: str, host: str) -> None:
        self._called("check_destination")

    def migrate(self, work: Work, vm: str, destination: str, network: str | None = None) -> None:
        self._called("migrate" if network is None else f"migrate over {network}")
        world = self.world
        world.set_vm(vm, operations=("pool_migrate",), scheduled_on=destination)

        def moved() -> tuple[str, tuple[str, ...]]:
            world.set_vm(vm, resident_on=destination, scheduled_on=None)
            # The operation outlives the switch of resident_on, as seen on a real xapi.
            world.after(2.0, lambda: world.set_vm(vm, operations=()))
            return "success", ()

        world.begin(work, world.move_s, moved)
        self._answered("migrate")

    def start_on(self, work: Work, vm: str, host: str) -> None:
        self._called("start_on")

        def started() -> tuple[str, tuple[str, ...]]:
            self.world.set_vm(vm, power_state="Running", resident_on=host)
            return "success", ()

        self.world.begin(work, 5.0, started)
        self._answered("start_on")

    def join(self, work: Work, master_address: str) -> None:
        self._called("join")
        self.world.on_join(self.world)
        self._answered("join")

    def eject(self, work: Work, host: str) -> None:
        self._called("eject")

        def ejected() -> tuple[str, tuple[str, ...]]:
            del self.world.hosts[host]
            return "success", ()

        self.world.begin(work, 0.1, ejected)
        self._answered("eject")

    def set_mark(self, host: str, mark: str | None) -> None:
        self._called("set_mark")
        self.world.set_host(host, mark=mark)

    def disable(self, host: str) -> None:
        self._called("disable")
        self.world.set_host(host, enabled=False)
        self._answered("disable")

    def enable(self, host: str) -> None:
        self._called("enable")
        self.world.set_host(host, enabled=True)

    def set_pool_name(self, name_label: str) -> None:
        self._called("set_pool_name")
        self.world.name_label = name_label

    def sync_database(self) -> None:
        self._called("sync_database")
        self.world.synced = True

    def enable_tls(self) -> None:
        self._called("enable_tls")
        self.world.tls = True

    def destroy_host(self, host: str) -> None:
        self._called("destroy_host")
        del self.world.hosts[host]


class Hypervisor:
    """The own host in ``world``; ``target`` is the pool that a join leads to."""

    def __init__(self, world: World, target: World | None = None) -> None:
        self.world = world
        self.target = target
        self.here = Whereabouts("master", "h1", "10.0.0.1", world.uuid, "10.0.0.1")
        self.known: dict[str, dict[str, str]] = {}
        self.refusals: list[errors.Error] = []
        self.opened: list[str] = []

    def know(self, source: str, members: Mapping[str, str]) -> None:
        self.known[source] = dict(members)

    def locate(self) -> Whereabouts:
        return self.here

    def open(self, pool: str | None = None) -> PoolSession:
        if self.refusals:
            raise self.refusals.pop(0)
        session = Session(self.world)
        self.opened.append(session.session_uuid)
        return session

    def open_pool(self, address: str) -> PoolSession:
        if self.target is None:
            raise errors.Unavailable(f"{address} gives no answer")
        return Session(self.target, home=False)

    def observe(self) -> Observer:
        raise errors.Unavailable("nothing to observe here")

    def close(self) -> None:
        self.known.clear()


def steps_of(machine: Machine, world: World, most: int = 200) -> tuple[list[Wait], Settled]:
    """Let ``machine`` run to its end as a worker would, without a thread; return its waits and its end."""
    waits: list[Wait] = []
    for _ in range(most):
        try:
            step = machine.step()
        except (errors.OutcomeUnknown, errors.Unavailable):
            machine.resume(machine.driver)
            world.pass_time(1.0)
            continue
        if isinstance(step, Settled):
            return waits, step
        waits.append(step)
        if step.watches:
            machine.driver.wait(step.watches, step.timeout_s)
        else:
            world.pass_time(step.timeout_s, until_event=False)
    raise AssertionError(f"the machine has not settled after {most} steps")


def machine(
    world: World,
    kind: str,
    args: dict[str, Any] | None = None,
    *,
    host: str = "h1",
    attempt: int = 1,
    limit_s: float = 600.0,
    hypervisor: Hypervisor | None = None,
) -> Machine:
    """Return the machine for an order about ``host``."""
    order = Order(task="t1", attempt=attempt, kind=kind, operation="op1", host=host, host_uuid=host, executor=host,
                  epoch=1, pool=world.uuid, args=args or {}, limit_s=limit_s)
    hypervisor = hypervisor or Hypervisor(world)
    return machine_for(order, Surroundings(hypervisor.open(), hypervisor, world.clock, lambda: None))


def settled(world: World, kind: str, args: dict[str, Any] | None = None, **more: Any) -> Settled:
    """Return how the machine for such an order ends."""
    return steps_of(machine(world, kind, args, **more), world)[1]

"""The worker with a pool in memory and a conductor in memory."""

import threading
from collections.abc import Callable
from typing import Any

from agent_world import Hypervisor, Session, World

from agent.driver import PoolSession
from agent.manager import AgentManager
from agent.worker import Pace, Worker
from common import errors
from common.messages import Claim, Order, Report

DEADLINE_S = 10.0
FAST = Pace(first_s=0.001, longest_s=0.01)


class Books:
    """A conductor in memory: answers claims from a list and keeps reports."""

    def __init__(self, *orders: Order) -> None:
        self.orders = {(order.task, order.attempt): order for order in orders}
        self.claims: list[tuple[str, int, str | None]] = []
        self.reports: list[Report] = []
        self.verdict = "yours"
        self.deaf_for = 0
        self.wanted = True
        self.on_claim: Callable[[], None] = lambda: None
        self._changed = threading.Condition()

    def claim(self, task: str, attempt: int, session: str | None) -> Claim:
        with self._changed:
            self.claims.append((task, attempt, session))
            self._changed.notify_all()
            self._hear()
            self.on_claim()
            if self.verdict != "yours" or (task, attempt) not in self.orders:
                return Claim(self.verdict if self.verdict != "yours" else "stale")
            return Claim("yours", self.orders[task, attempt].to_wire())

    def report(self, report: Report) -> bool:
        with self._changed:
            self._hear()
            self.reports.append(report)
            self._changed.notify_all()
            return self.wanted

    def _hear(self) -> None:
        if self.deaf_for:
            self.deaf_for -= 1
            if self.deaf_for % 2:
                raise errors.OutcomeUnknown("no answer")
            raise errors.Unavailable("nobody listens")

    def wait_for(self, what: Callable[[], bool]) -> bool:
        with self._changed:
            return self._changed.wait_for(what, DEADLINE_S)

    def settled(self) -> Report:
        assert self.wait_for(lambda: any(report.settled for report in self.reports))
        return next(report for report in self.reports if report.settled)


def order_of(world: World, kind: str, **more: Any) -> Order:
    fields = {
        "task": "t1", "attempt": 1, "kind": kind, "operation": "op1", "host": "h1", "host_uuid": "h1",
        "executor": "h1", "epoch": 7, "pool": world.uuid, "args": {}, "limit_s": 600.0, **more,
    }  # fmt: skip
    return Order(**fields)


def moving() -> tuple[World, Order]:
    world = World()
    world.add_vm("v1", "h1")
    return world, order_of(world, "vm_migrate", args={"vm": "v1", "source": "h1", "destination": "h2"})


class Crew:
    """A worker that is stopped at the end of the test."""

    def __init__(self, world: World, books: Books, hypervisor: Hypervisor | None = None) -> None:
        self.superseded = threading.Event()
        self.idle = threading.Event()
        self.hypervisor = hypervisor or Hypervisor(world)
        self.worker = Worker(self.hypervisor, books, world.clock, threads=2, pace=FAST,
                             on_superseded=self.superseded.set, on_news=self._news)  # fmt: skip

    def _news(self) -> None:
        if not self.worker.running():
            self.idle.set()

    def __enter__(self) -> "Crew":
        return self

    def __exit__(self, *exc: object) -> None:
        self.worker.stop()


def test_an_order_is_claimed_carried_out_reported_and_cleared_away() -> None:
    world, order = moving()
    books = Books(order)
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        report = books.settled()
        assert crew.idle.wait(DEADLINE_S)
    assert report.readings["vm"]["resident_on"] == "h2" and report.error is None
    assert books.claims == [("t1", 1, crew.hypervisor.opened[0])]
    assert not world.marks and not world.sessions and crew.worker.running() == []
    assert crew.worker.highest_epoch == 7


def test_nothing_is_done_without_a_claim() -> None:
    for verdict in ("stale", "not_yet"):
        world, order = moving()
        books = Books(order)
        books.verdict = verdict
        with Crew(world, books) as crew:
            crew.worker.ring("t1", 1)
            assert crew.idle.wait(DEADLINE_S)
        assert "migrate" not in world.calls and books.reports == [] and not world.sessions


def test_a_superseded_agent_is_told_by_its_claim() -> None:
    world, order = moving()
    books = Books(order)
    books.verdict = "superseded"
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        assert crew.superseded.wait(DEADLINE_S)
    assert "migrate" not in world.calls


def test_claims_and_reports_are_repeated_until_they_are_heard() -> None:
    world, order = moving()
    books = Books(order)
    books.deaf_for = 5
    with Crew(world, books) as crew:
        books.on_claim = lambda: setattr(books, "deaf_for", 3)
        crew.worker.ring("t1", 1)
        books.settled()
        assert crew.idle.wait(DEADLINE_S)
    assert len(books.reports) == 1 and world.calls.count("migrate") == 1


def test_the_same_attempt_is_never_run_twice_at_once() -> None:
    world = World()
    order = order_of(world, "observe", args={"times": 1})
    books = Books(order)
    gate = threading.Event()
    books.on_claim = lambda: None if gate.is_set() else gate.set()
    with Crew(world, books) as crew:
        for _ in range(50):
            crew.worker.ring("t1", 1)
        books.settled()
        assert crew.idle.wait(DEADLINE_S)
    assert len(books.claims) <= 2, "a ring after the end may be claimed again; one before is not"


def test_predecessors_are_fenced_before_anything_is_looked_for() -> None:
    world, order = moving()
    dead = Session(world)
    order = order_of(world, "vm_migrate", args=order.args, fence=[dead.session_uuid, "gone-already"])
    books = Books(order)
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        report = books.settled()
    assert report.fenced == [dead.session_uuid, "gone-already"]
    assert world.calls.index("fence") < world.calls.index("work_of") < world.calls.index("migrate")
    assert dead.session_uuid not in world.sessions


def test_no_order_runs_without_its_fence() -> None:
    world, order = moving()
    order = order_of(world, "vm_migrate", args=order.args, fence=["s1"])
    world.refuse("fence", "RBAC_PERMISSION_DENIED")
    books = Books(order)
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        report = books.settled()
    assert report.fenced == ["s1"] and world.calls.count("fence") == 2
    assert world.calls.count("migrate") == 1


def test_a_lost_session_is_replaced_and_claimed_anew() -> None:
    world, order = moving()
    books = Books(order)
    world.after(5.0, world.sessions.clear)
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        report = books.settled()
    assert report.readings["vm"]["resident_on"] == "h2" and world.calls.count("migrate") == 1
    assert [claim[2] for claim in books.claims] == crew.hypervisor.opened and len(books.claims) == 2


def test_nothing_acts_on_a_claim_older_than_half_a_minute() -> None:
    world, order = moving()
    world.set_vm("v1", operations=("snapshot",))
    world.after(45.0, lambda: world.set_vm("v1", operations=()))
    books = Books(order)
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        books.settled()
    assert len(books.claims) == 2 and books.claims[0] == books.claims[1]
    assert world.calls.count("migrate") == 1


def test_an_order_withdrawn_in_the_meantime_is_not_acted_on() -> None:
    world, order = moving()
    world.set_vm("v1", operations=("snapshot",))
    world.after(45.0, lambda: world.set_vm("v1", operations=()))
    books = Books(order)
    books.on_claim = lambda: setattr(books, "verdict", "stale") if len(books.claims) > 1 else None
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        assert crew.idle.wait(DEADLINE_S)
    assert "migrate" not in world.calls and books.reports == []


def test_an_order_of_another_pool_is_neither_read_nor_acted_on() -> None:
    world, order = moving()
    order = order_of(world, "vm_migrate", args=order.args, pool="uuid-other")
    books = Books(order)
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        assert books.wait_for(lambda: len(books.claims) > 2)
        crew.worker.drop("t1")
        assert crew.idle.wait(DEADLINE_S)
    assert "vm" not in world.calls and books.reports == []


def test_an_unreachable_hypervisor_leaves_the_order_unclaimed() -> None:
    world, order = moving()
    books = Books(order)
    hypervisor = Hypervisor(world)
    hypervisor.refusals = [errors.Unavailable("away")] * 3
    with Crew(world, books, hypervisor) as crew:
        crew.worker.ring("t1", 1)
        books.settled()
    assert len(books.claims) == 1 and not hypervisor.refusals


def test_an_unknown_master_is_learned_from_the_order() -> None:
    world, order = moving()
    order = order_of(world, "vm_migrate", args=order.args, members={"h1": "10.0.0.1"})
    books = Books(order)
    hypervisor = Hypervisor(world)
    hypervisor.refusals = [errors.HostIsSlave("unknown master")]
    with Crew(world, books, hypervisor) as crew:
        crew.worker.ring("t1", 1)
        books.settled()
        assert crew.idle.wait(DEADLINE_S)
    assert [claim[2] for claim in books.claims] == [None, hypervisor.opened[0]]
    assert hypervisor.known["t1"] == {}, "forgotten with the order"


def test_a_stop_leaves_running_work_and_its_session_to_a_successor() -> None:
    world, order = moving()
    world.move_s = 1e12
    books = Books(order_of(world, "vm_migrate", args=order.args, limit_s=1e11))
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        assert books.wait_for(lambda: bool(books.claims))
        while "wait" not in world.calls:
            crew.idle.wait(0.01)
        assert [entry["task"] for entry in crew.worker.running()] == ["t1"]
    assert books.reports == [] and world.sessions == {crew.hypervisor.opened[0]}
    assert "cancel" not in world.calls and "leave" in world.calls


def test_a_task_of_an_unknown_kind_is_answered() -> None:
    world = World()
    books = Books(order_of(world, "designate_master"))
    with Crew(world, books) as crew:
        crew.worker.ring("t1", 1)
        report = books.settled()
    assert report.error is not None and report.error["code"] == "not_implemented"


def test_a_standing_refusal_to_read_ends_with_the_limit() -> None:
    world = World()
    order = order_of(world, "host_disable", args={"mark": "op"}, limit_s=5.0)
    books = Books(order)

    class Broken(Hypervisor):
        def open(self, pool: str | None = None) -> PoolSession:
            return BrokenSession(self.world)

    class BrokenSession(Session):
        def host(self, uuid: str) -> Any:
            self.world.pass_time(1.0)
            raise errors.HypervisorError("broken", xapi_code="INTERNAL_ERROR", params=["x"])

    with Crew(world, books, Broken(world)) as crew:
        crew.worker.ring("t1", 1)
        report = books.settled()
    assert report.error is not None and report.error["code"] == "INTERNAL_ERROR" and report.readings == {}


def test_a_ring_for_what_is_at_hand_asks_for_a_sync() -> None:
    world, order = moving()
    books = Books(order)
    asked: list[str] = []
    with Crew(world, books) as crew:
        manager = AgentManager(crew.worker, lambda: asked.append("sync"))
        books.on_claim = lambda: manager.ring({}, "t1", 1)
        manager.ring({}, "t1", 1)
        books.settled()
    assert asked == ["sync"] and len(books.claims) == 1


def test_a_move_that_is_called_off_ends_by_its_own_thread() -> None:
    world, order = moving()
    books = Books(order)
    with Crew(world, books) as crew:
        world.after(5.0, lambda: crew.worker.call_off("t1", 1))
        crew.worker.ring("t1", 1)
        assert books.settled().readings["task"] == "cancelled" and world.vms["v1"].resident_on == "h1"
    assert world.calls.count("cancel") == 1 and world.calls.count("nudge") == 1

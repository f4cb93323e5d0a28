"""What can become of a migration, at simulated hosts: what the agent reports of it, and what that is judged to be."""

from collections.abc import Callable
from typing import Any

import pytest
from agent_desk import calls, hypervisor, pooled_spec, simulated
from agent_office import Office, office, running_vm, session_members, wait_for_call

from agent.simulator import Simulator
from agent.simulator.fault_spec import Incident, MigrationFault
from agent.simulator.spec import GIB
from agent.simulator.strays import listed as strays
from agent.xenapi.link import Link
from agent.xenapi.transport import Limits
from common.messages import Order, Report
from conductor.operations.judge import judge

#: slow enough that a test can act in the middle of a migration of 8 GiB
SLOW = 10.0


class Move:
    """One order to move v0 to another host of its pool, and the agent that carries it out."""

    def __init__(self, at: Office, **more: Any) -> None:
        self.at, self.simulator = at, at.simulator
        self.vm, self.source = running_vm(at.simulator, "v0")
        self.destination = next(uuid for uuid in session_members(at.simulator) if uuid != self.source)
        self.args = {"vm": self.vm, "source": self.source, "destination": self.destination}
        self.order: Order = at.desk.order("vm_migrate", "h1", self.source, self.args, **more)

    def begun(self) -> None:
        """Give the order to the agent, and return when its migration streams."""
        self.at.agent("h1")
        wait_for_call(self.simulator, "Async.VM.pool_migrate")
        with self.simulator.lock:
            assert self.simulator.lock.wait_for(
                lambda: any(job["phase"] == "stream" for job in self.simulator.world.jobs.values()), 20.0)

    def ended(self) -> Report:
        """Return the last report."""
        return self.at.desk.settled(self.order, 40.0)

    def verdict(self, report: Report) -> str | None:
        """Return the event that the report amounts to."""
        return judge("vm_migrate", self.args, report).event


def host_name(simulator: Simulator, uuid: str) -> str:
    with simulator.lock:
        return next(node.name for node in simulator.world.nodes.values() if node.uuid == uuid)


def operator(simulator: Simulator, method: str, *params: Callable[[Link], Any]) -> None:
    """Make a call as somebody else would."""
    link = Link(dict(simulator.hosts)["h1"], Limits())
    link.login(*simulator.login, "an operator")
    link.act(method, *(param(link) for param in params))
    link.logout()
    link.close()


PHASES = {
    "before-it-streams": ("setup", "no_effect", "Running"),
    "while-it-streams": ("stream", "no_effect", "Running"),
    "while-the-vm-is-suspended": ("pause", "refused", "Halted"),
    "while-its-devices-are-made": ("device", "refused", "Halted"),
    "after-it-has-moved": ("teardown", "effect", "Running"),
}


@pytest.mark.parametrize("phase, event, power", PHASES.values(), ids=PHASES)
def test_a_migration_that_fails_is_judged_by_where_the_vm_is_then(phase: str, event: str, power: str) -> None:
    with simulated(pooled_spec(memory=4 * GIB), speed=30) as simulator, office(simulator) as at:
        with simulator.lock:
            simulator.world.put_in(MigrationFault(phase, vm="v0"))
        move = Move(at)
        at.agent("h1")
        report = move.ended()
        assert report.error is not None and report.error["code"] == "INTERNAL_ERROR"
        assert report.readings["task"] == "failure" and report.readings["acted"]
        assert report.readings["vm"]["power_state"] == power and report.readings["vm"]["operations"] == []
        assert report.readings["suspended"] or power == "Running"
        assert move.verdict(report) == event
        assert report.readings["vm"]["resident_on"] == {
            "no_effect": move.source, "refused": None, "effect": move.destination}[event]
        assert calls(simulator, "Async.VM.pool_migrate") == 1


def test_a_vm_that_somebody_else_is_moving_is_waited_for_and_then_left_alone() -> None:
    with simulated(pooled_spec(memory=8 * GIB), speed=20) as simulator, office(simulator) as at:
        move = Move(at)
        third = next(one for one in session_members(simulator) if one not in (move.source, move.destination))
        other = hypervisor(simulator, "h1").open()
        other.migrate(other.mark_work("somebody's", 1), move.vm, third)
        at.agent("h1")
        report = move.ended()
        assert report.error is None and report.readings["acted"] is False
        assert report.readings["vm"]["resident_on"] == third and move.verdict(report) == "effect"
        assert calls(simulator, "Async.VM.pool_migrate") == 1
        other.close()


def test_a_move_that_xapi_holds_back_behind_another_operation_is_awaited() -> None:
    with simulated(pooled_spec(memory=8 * GIB), speed=20) as simulator, office(simulator) as at:
        move = Move(at)
        third = next(one for one in session_members(simulator) if one not in (move.source, move.destination))
        with simulator.lock:
            simulator.world.delay_next("Async.VM.pool_migrate", 10.0)
        at.agent("h1")
        wait_for_call(simulator, "Async.VM.pool_migrate")
        other = hypervisor(simulator, "h1").open()
        other.migrate(other.mark_work("somebody's", 1), move.vm, third)
        report = move.ended()
        assert report.error is None and report.readings["acted"] and report.readings["task"] == "success"
        assert report.readings["vm"]["resident_on"] == move.destination and move.verdict(report) == "effect"
        other.close()


def test_a_destination_that_was_disabled_meanwhile_is_refused_before_anything_is_begun() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        move = Move(at)
        operator(simulator, "host.disable", lambda link: link.read("host.get_by_uuid", move.destination))
        at.agent("h1")
        report = move.ended()
        assert report.error is not None and report.error["code"] == "HOST_DISABLED"
        assert report.readings["vm"]["resident_on"] == move.source and move.verdict(report) == "refused"
        assert calls(simulator, "Async.VM.pool_migrate") == calls(simulator, "task.create") == 0


def test_a_move_over_its_limit_is_cancelled_at_the_hypervisor_and_reported_when_it_has_ended() -> None:
    with simulated(pooled_spec(vms=1, memory=32 * GIB), speed=SLOW) as simulator, office(simulator) as at:
        move = Move(at, limit_s=3.0)
        move.begun()
        report = move.ended()
        assert report.readings["task"] == "cancelled" and report.readings["vm"]["operations"] == []
        assert report.readings["vm"]["resident_on"] == move.source and move.verdict(report) == "no_effect"
        assert calls(simulator, "task.cancel") == 1


def test_a_task_that_is_collected_while_it_is_polled_leaves_the_vm_to_tell() -> None:
    with simulated(pooled_spec(memory=8 * GIB), speed=SLOW) as simulator, office(simulator) as at:
        move = Move(at)
        move.begun()
        with simulator.lock:
            db = simulator.world.pools[simulator.world.node_named("h1").pool]
            for task in db.refs("task"):
                if db.get("task", task, "name_label") == "Async.VM.pool_migrate":
                    db.delete("task", task)
            simulator.lock.notify_all()
        report = move.ended()
        assert report.readings["task"] == "gone" and report.readings["vm"]["resident_on"] == move.destination
        assert move.verdict(report) == "effect" and calls(simulator, "Async.VM.pool_migrate") == 1


def test_a_killed_master_leaves_a_move_floating_and_nothing_is_sent_again() -> None:
    with simulated(pooled_spec(memory=8 * GIB), speed=SLOW) as simulator, office(simulator) as at:
        move = Move(at)
        move.begun()
        with simulator.lock:
            simulator.world.put_in(Incident(0, "kill", "h1"))
        report = move.ended()
        assert report.readings["task"] == "gone"
        before, after = report.readings["started_at_before"], report.readings["started_at"]
        assert before[move.source] != after[move.source] and before[move.destination] == after[move.destination]
        assert move.verdict(report) in ("floating", "effect")
        assert calls(simulator, "Async.VM.pool_migrate") == 1 and not strays(simulator.world)


def test_a_vm_that_its_crashed_master_shows_as_halted_is_healed_on_the_destination_and_never_runs_twice() -> None:
    with simulated(pooled_spec(memory=8 * GIB), speed=SLOW) as simulator, office(simulator) as at:
        move = Move(at)
        move.begun()
        with simulator.lock:
            simulator.world.put_in(Incident(0, "crash", "h1"))
        report = move.ended()
        assert report.readings["vm"]["power_state"] == "Halted" and report.readings["task"] == "gone"
        verdict = judge("vm_migrate", move.args, report)
        assert verdict.event == "refused" and verdict.error is not None and verdict.error["code"] == "vm_lost_power"
        with simulator.lock:
            assert [(one["vm"], one["twice"]) for one in strays(simulator.world)] == [("v0", False)]
        args = {"vm": move.vm, "destination": move.destination}
        healed = at.desk.settled(at.ring(at.desk.order("vm_start", "h1", move.destination, args)))
        assert healed.readings["vm"]["power_state"] == "Running"
        assert healed.readings["vm"]["resident_on"] == move.destination
        assert judge("vm_start", args, healed).event == "effect" and not strays(simulator.world)


def test_a_destination_whose_toolstack_crashes_fails_the_task_and_not_the_move() -> None:
    with simulated(pooled_spec(memory=8 * GIB), speed=SLOW) as simulator, office(simulator) as at:
        move = Move(at)
        move.begun()
        with simulator.lock:
            simulator.world.put_in(Incident(0, "crash", host_name(simulator, move.destination)))
        report = move.ended()
        assert report.readings["task"] == "failure" and report.error is not None
        assert report.readings["vm"]["resident_on"] == move.destination and move.verdict(report) == "effect"

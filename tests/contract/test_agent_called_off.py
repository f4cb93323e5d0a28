"""Moves that are called off, by whole agents against simulated hosts: what could be ended ends, the rest arrives."""

import dataclasses

from agent_desk import GIB, calls, pooled_spec, simulated
from agent_office import Office, office, running_vm, session_members

from agent.simulator import Simulator
from common.messages import Order

DEADLINE_S = 20.0
#: nobody hears a call by the next heartbeat, only by the doorbell
RARELY_S = 3600.0


def begun(at: Office, vm: str = "v0") -> Order:
    """Let the agent of h1 begin to move a VM to another host; return the order."""
    uuid, source = running_vm(at.simulator, vm)
    destination = next(one for one in session_members(at.simulator) if one != source)
    order = at.desk.order("vm_migrate", "h1", source, {"vm": uuid, "source": source, "destination": destination})
    return at.ring(order)


def reached(simulator: Simulator, phase: str) -> None:
    """Return when the migration is in ``phase``."""
    with simulator.lock:
        assert simulator.lock.wait_for(
            lambda: any(job["phase"] == phase for job in simulator.world.jobs.values()), DEADLINE_S), phase


def call_off(at: Office, order: Order) -> None:
    """Say with the next answer that the order is called off, and ring so that it is asked for."""
    at.desk.called_off.append({"task": order.task, "attempt": order.attempt})
    at.ring(order)


def test_a_migration_that_streams_is_cancelled_at_once_and_the_vm_stays() -> None:
    with simulated(pooled_spec(1, memory=8 * GIB), speed=10) as simulator, office(simulator) as at:
        at.desk.interval_s = RARELY_S
        at.agent("h1", sync_interval_s=RARELY_S)
        at.seen("h1", lambda sync: True)
        order = begun(at)
        reached(simulator, "stream")
        call_off(at, order)
        report = at.desk.settled(order)
        assert report.readings["task"] == "cancelled" and report.readings["acted"]
        assert report.readings["vm"]["resident_on"] == order.args["source"] and not report.readings["vm"]["operations"]
        assert calls(simulator, "task.cancel") == 1


def test_a_migration_that_has_suspended_its_vm_is_not_cancelled_and_arrives() -> None:
    spec = pooled_spec(1, memory=4 * GIB)
    busy = dataclasses.replace(spec.vms[0], dirty_rate=GIB, working_set=2 * GIB)
    spec = dataclasses.replace(spec, vms=(busy, *spec.vms[1:]))
    with simulated(spec, speed=20) as simulator, office(simulator) as at:
        at.desk.interval_s = RARELY_S
        at.agent("h1", sync_interval_s=RARELY_S)
        at.seen("h1", lambda sync: True)
        order = begun(at)
        reached(simulator, "pause")
        call_off(at, order)
        report = at.desk.settled(order)
        assert report.readings["vm"]["resident_on"] == order.args["destination"]
        assert report.readings["task"] == "success" and calls(simulator, "task.cancel") == 0


def test_a_move_that_was_called_off_before_its_claim_is_not_begun() -> None:
    with simulated(pooled_spec(1)) as simulator, office(simulator) as at:
        at.agent("h1")
        uuid, source = running_vm(simulator, "v0")
        destination = next(one for one in session_members(simulator) if one != source)
        order = at.desk.order("vm_migrate", "h1", source, {"vm": uuid, "source": source, "destination": destination},
                              called_off=True)
        report = at.desk.settled(at.ring(order))
        assert not report.readings["acted"] and report.readings["vm"]["resident_on"] == source
        assert calls(simulator, "Async.VM.pool_migrate") == 0

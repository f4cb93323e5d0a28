"""The eight rules for whoever speaks XenAPI on behalf of others, each by its number."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from agent_desk import addresses, calls, hypervisor, pooled_spec, simulated
from agent_office import office, running_vm, session_members, wait_for_call

from agent.driver import PoolSession
from agent.simulator import Simulator, default_spec
from agent.simulator.spec import GIB
from agent.xenapi.link import Link
from agent.xenapi.transport import Limits
from common import errors
from conductor.operations.judge import judge
from conductor.plan.model import Limits as MoveLimits

RULES = {
    1: "a transport of one's own: each call is sent once and ends in time, and waiting for events has its own line",
    2: "after a lost reply one looks before anything is sent again",
    3: "hosts and VMs are addressed by uuid; references end with the session",
    4: "a host is empty when that was read, not when tasks succeeded",
    5: "each VM is moved by itself after a plan of one's own, few at a time; nobody else's evacuation is used",
    6: "before each move the hypervisor is asked again, and its answer may be another one than the plan's",
    7: "sessions say whose they are, end, and leave no tasks",
    8: "what a host can do shows in its errors, not in its version",
}


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with simulated(pooled_spec()) as running:
        yield running


def a_member(session: PoolSession) -> str:
    pool = session.pool()
    return next(uuid for uuid in sorted(pool.members) if uuid != pool.master_uuid)


def test_every_rule_has_its_test() -> None:
    numbers = {int(name.split("_")[2]) for name in globals() if name.startswith("test_rule_")}
    assert numbers == set(RULES)


@pytest.mark.parametrize("method", ["host.add_to_other_config", "host.remove_from_other_config"])
def test_rule_1_a_call_is_sent_once_whatever_becomes_of_its_connection(simulator: Simulator, method: str) -> None:
    session = hypervisor(simulator, "h1").open()
    host = a_member(session)
    simulator.world.drop_next(method)
    with pytest.raises(errors.OutcomeUnknown):
        session.set_mark(host, "ours")
    assert calls(simulator, method) == 1
    session.set_mark(host, "ours")
    state = session.host(host)
    assert state is not None and state.mark == "ours", "the next call has a new connection"
    session.close()


def test_rule_1_a_call_that_is_not_answered_ends_in_time_and_spoils_nothing(simulator: Simulator) -> None:
    session = hypervisor(simulator, "h1", read_s=0.5).open()
    host = a_member(session)
    with simulator.lock:
        simulator.world.delay_next("host.add_to_other_config", 600)
    began = time.monotonic()
    with pytest.raises(errors.OutcomeUnknown):
        session.set_mark(host, "ours")
    assert time.monotonic() - began < 5.0 and calls(simulator, "host.add_to_other_config") == 1
    assert session.pool().members
    session.close()


def test_rule_1_waiting_for_events_does_not_keep_anybody_from_acting(simulator: Simulator) -> None:
    session = hypervisor(simulator, "h1").open()
    host = a_member(session)
    session.host(host)
    session.wait([("host", host)], 10.0)
    waiter = threading.Thread(target=session.wait, args=([("host", host)], 30.0))
    waiter.start()
    session.set_mark(host, "ours")
    waiter.join(10.0)
    assert not waiter.is_alive(), "the change was an event for the other line"
    session.close()


def test_rule_2_a_join_whose_reply_is_lost_is_looked_for_and_not_sent_again() -> None:
    with simulated(default_spec(hosts=2, vms=0), speed=60) as simulator, office(simulator) as at:
        with simulator.lock:
            simulator.world.drop_next("Async.pool.join", after=True)
        at.agent("h2")
        here = at.seen("h2", lambda sync: sync.role == "standalone")
        args = {"master_uuid": "?", "master_address": addresses(simulator)["h1"]}
        report = at.desk.settled(at.ring(at.desk.order("pool_join", "h2", str(here.host_uuid), args)))
        assert report.error is None and report.readings["enabled"] and calls(simulator, "Async.pool.join") == 1


@pytest.mark.parametrize("arrived", [True, False], ids=["it-had-arrived", "it-had-not"])
def test_rule_2_a_migration_whose_reply_is_lost_is_looked_for_and_not_sent_again(arrived: bool) -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        with simulator.lock:
            simulator.world.drop_next("Async.VM.pool_migrate", after=arrived)
        at.agent("h1")
        vm, source = running_vm(simulator, "v0")
        destination = next(uuid for uuid in session_members(simulator) if uuid != source)
        args = {"vm": vm, "source": source, "destination": destination}
        report = at.desk.settled(at.ring(at.desk.order("vm_migrate", "h1", source, args)))
        assert calls(simulator, "Async.VM.pool_migrate") == 1
        assert report.readings["vm"]["resident_on"] == (destination if arrived else source)
        assert arrived or (report.error is not None and report.error["code"] == "outcome_unknown")


def test_rule_3_a_host_that_left_and_came_back_is_found_by_its_uuid() -> None:
    with simulated(pooled_spec(vms=1), speed=120) as simulator, office(simulator) as at:
        at.agent("h1")
        with simulator.lock:
            uuid = simulator.world.node_named("h3").uuid
        link = Link(dict(simulator.hosts)["h1"], Limits())
        link.login(*simulator.login, "an operator")
        before = link.read("host.get_by_uuid", uuid)
        mark = {"mark": "ours"}
        assert at.desk.settled(at.ring(at.desk.order("host_disable", "h1", uuid, mark))).readings["mark"] == "ours"
        link.act("pool.eject", before)
        with simulator.lock:
            node = simulator.world.node_named("h3")
            assert simulator.lock.wait_for(lambda: node.power == "up" and node.pool and not node.master, 20.0)
        alone = hypervisor(simulator, "h3").open()
        alone.join(alone.mark_work("an operator's", 1), addresses(simulator)["h1"])
        with simulator.lock:
            db = simulator.world.pools[simulator.world.node_named("h1").pool]
            assert simulator.lock.wait_for(
                lambda: bool(node.master) and db.get("host", db.by_uuid("host", uuid) or "", "enabled"), 20.0)
        alone.close()
        assert link.read("host.get_by_uuid", uuid) != before
        again = at.desk.settled(at.ring(at.desk.order("host_disable", "h1", uuid, mark)))
        assert again.readings == {"enabled": False, "live": True, "mark": "ours"}
        link.logout()


def test_rule_4_a_host_is_empty_only_when_nothing_is_on_it_or_on_its_way_to_it() -> None:
    with simulated(pooled_spec(vms=1, memory=8 * GIB), speed=10) as simulator, office(simulator) as at:
        at.agent("h1")
        vm, source = running_vm(simulator, "v0")
        destination = next(uuid for uuid in session_members(simulator) if uuid != source)
        move = at.ring(at.desk.order("vm_migrate", "h1", source,
                                     {"vm": vm, "source": source, "destination": destination}))
        wait_for_call(simulator, "Async.VM.pool_migrate")
        look = {"times": 2, "apart_s": 0.1}

        def is_empty(host: str) -> bool:
            report = at.desk.settled(at.ring(at.desk.order("observe", "h1", host, look)))
            return judge("observe", look, report).event == "effect"

        for host in (source, destination):
            at.desk.settled(at.ring(at.desk.order("host_disable", "h1", host, {"mark": "ours"})))
            assert not is_empty(host)
        report = at.desk.settled(move)
        assert report.readings["vm"]["operations"] == [], "the task may end before the VM's operation does"
        assert is_empty(source) and not is_empty(destination)
        at.desk.settled(at.ring(at.desk.order("host_enable", "h1", source)))
        assert not is_empty(source), "anything may arrive on a host that is enabled"


def test_rule_5_vms_are_moved_one_by_one_and_few_at_a_time() -> None:
    limits = MoveLimits()
    assert 2 <= limits.per_source <= 4 and 2 <= limits.per_destination <= 4
    agent = Path(__file__).parents[2] / "agent"
    spoken = "".join(path.read_text() for room in ("tasks", "xenapi") for path in (agent / room).glob("*.py"))
    assert '"VM.pool_migrate"' in spoken and "host.evacuate" not in spoken


def test_rule_6_a_destination_that_filled_up_meanwhile_is_noticed_before_the_move() -> None:
    with simulated(pooled_spec(vms=2, memory=30 * GIB), speed=120) as simulator, office(simulator) as at:
        at.agent("h1")
        vm, source = running_vm(simulator, "v0")
        other, _ = running_vm(simulator, "v1")
        full = next(uuid for uuid in session_members(simulator) if uuid != source)

        def move(one: str) -> object:
            args = {"vm": one, "source": source, "destination": full}
            report = at.desk.settled(at.ring(at.desk.order("vm_migrate", "h1", source, args)))
            return (report.error or {}).get("code"), report.readings["vm"]["resident_on"]

        assert move(other) == (None, full)
        with simulator.lock:
            db = simulator.world.pools[simulator.world.node_named("h1").pool]
            db.set("VM", db.by_uuid("VM", other) or "", memory_dynamic_min=60 * GIB)
        assert move(vm) == ("HOST_NOT_ENOUGH_FREE_MEMORY", source)
        assert calls(simulator, "Async.VM.pool_migrate") == 1
        with simulator.lock:
            db.set("VM", db.by_uuid("VM", other) or "", memory_dynamic_min=1 * GIB)
        assert move(vm) == (None, full)


def test_rule_7_sessions_bear_a_name_are_ended_and_leave_no_tasks() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        vm, source = running_vm(simulator, "v0")
        destination = next(uuid for uuid in session_members(simulator) if uuid != source)
        before = calls(simulator, "session.login_with_password") - calls(simulator, "session.logout")
        with simulator.lock:
            seen = simulator.world.calls.last
        agent = at.agent("h1")
        args = {"vm": vm, "source": source, "destination": destination}
        at.desk.settled(at.ring(at.desk.order("vm_migrate", "h1", source, args)))
        at.agents.remove(agent)
        agent.stop()
        with simulator.lock:
            db = simulator.world.pools[simulator.world.node_named("h1").pool]
            left = [db.get("task", task, "name_label") for task in db.refs("task")]
            assert {call.originator for call in simulator.world.calls.after(seen)} == {"corral:h1"}
        assert not [name for name in left if "corral" in name or "pool_migrate" in name]
        assert calls(simulator, "session.login_with_password") - calls(simulator, "session.logout") == before


@pytest.mark.parametrize("version, sent", [("24.16.0", 2), ("26.17.0", 1)], ids=["older", "newer"])
def test_rule_8_the_longer_call_is_tried_first_whatever_version_is_stated(version: str, sent: int) -> None:
    spec = pooled_spec(vms=0)
    hosts = tuple(dataclasses.replace(host, version=version) for host in spec.hosts)
    with simulated(dataclasses.replace(spec, hosts=hosts)) as simulator:
        session = hypervisor(simulator, "h1").open()
        host = a_member(session)
        session.disable(host)
        state = session.host(host)
        assert state is not None and not state.enabled and calls(simulator, "host.disable") == sent
        session.close()

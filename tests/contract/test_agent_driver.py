"""The driver against simulated hosts, over real HTTP."""

import dataclasses
import threading
import time
from collections.abc import Iterator

import pytest
from agent_desk import addresses, calls, hypervisor, pooled_spec, simulated, uuid_of

from agent.driver import PoolSession, VmState
from agent.simulator import Simulator, WorldSpec
from agent.simulator.spec import HostSpec, PoolSpec
from agent.tasks.machine import Surroundings
from agent.tasks.vm_migrate import VmMigrate
from agent.xenapi.link import Link
from agent.xenapi.pool import XenPool
from agent.xenapi.transport import Limits
from common import errors
from common.clock import SystemClock
from common.messages import Order


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with simulated(pooled_spec()) as running:
        yield running


@pytest.fixture
def session(simulator: Simulator) -> Iterator[PoolSession]:
    pool = hypervisor(simulator, "h1").open()
    yield pool
    pool.close()


def other_host(session: PoolSession) -> str:
    pool = session.pool()
    return next(uuid for uuid in sorted(pool.members) if uuid != pool.master_uuid)


def vm_named(simulator: Simulator, name: str) -> str:
    with simulator.lock:
        return next(
            str(row["uuid"])
            for pool in simulator.world.pools.values()
            for row in pool.rows["VM"].values()
            if row["name_label"] == name
        )


def watch_until_idle(session: PoolSession, vm: str, work_id: str) -> VmState:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state = session.vm(vm)
        assert state is not None
        if not state.operations:
            return state
        session.wait([("vm", vm), ("work", work_id)], 5.0)
    raise AssertionError("the VM is still busy")


def test_reading_works_over_json_and_over_xml_alike(simulator: Simulator) -> None:
    user, password = simulator.login
    views = []
    for json in (True, False):
        link = Link(dict(simulator.hosts)["h1"], Limits())
        link.login(user, password, "test")
        link.json = json
        pool = XenPool(link, True, (user, password))
        master = pool.pool().master_uuid
        views.append(
            (
                pool.pool(),
                pool.host(master),
                pool.vm(vm_named(simulator, "v0")),
                pool.occupancy(master),
                pool.started_at([master]),
            )
        )
        pool.close()
    assert views[0] == views[1]


def test_what_does_not_exist_is_none_and_no_error(session: PoolSession) -> None:
    assert session.vm("00000000-0000-0000-0000-000000000000") is None
    assert session.host("00000000-0000-0000-0000-000000000000") is None
    assert session.occupancy("00000000-0000-0000-0000-000000000000") is None


def test_a_host_is_disabled_marked_and_enabled_again(simulator: Simulator, session: PoolSession) -> None:
    host = other_host(session)
    for _ in range(2):
        session.set_mark(host, "operation 1")
        session.disable(host)
        state = session.host(host)
        assert state is not None and (state.enabled, state.mark) == (False, "operation 1")
    session.enable(host)
    session.set_mark(host, None)
    session.set_mark(host, None)
    state = session.host(host)
    assert state is not None and (state.enabled, state.mark) == (True, None)


def test_an_older_host_is_disabled_by_the_short_form(simulator: Simulator, session: PoolSession) -> None:
    # The simulated hosts are of version 24.16, which refuses the long form.
    host = other_host(session)
    session.disable(host)
    state = session.host(host)
    assert state is not None and not state.enabled
    assert calls(simulator, "host.disable") == 2


def test_a_dropped_connection_sends_nothing_twice(simulator: Simulator, session: PoolSession) -> None:
    host, method = other_host(session), "host.add_to_other_config"
    for after, mark in ((False, None), (True, "operation 1")):
        before = calls(simulator, method)
        simulator.world.drop_next(method, after=after)
        with pytest.raises(errors.OutcomeUnknown):
            session.set_mark(host, "operation 1")
        assert calls(simulator, method) - before == 1
        state = session.host(host)
        assert state is not None and state.mark == mark, "the session goes on after a lost reply"


def test_nothing_was_done_when_no_connection_could_be_made() -> None:
    with simulated(pooled_spec()) as simulator:
        session = hypervisor(simulator, "h1").open()
        host = other_host(session)
        session.host(host)
        session.reconnect()
    with pytest.raises(errors.Unavailable):
        session.disable(host)


def test_the_end_of_the_session_ends_the_right_to_act(simulator: Simulator, session: PoolSession) -> None:
    host = other_host(session)
    successor = hypervisor(simulator, "h1").open()
    successor.fence(session.session_uuid)
    successor.fence(session.session_uuid)
    logins = calls(simulator, "session.login_with_password")
    with pytest.raises(errors.SessionLost):
        session.disable(host)
    with pytest.raises(errors.SessionLost):
        session.host(host)
    assert calls(simulator, "session.login_with_password") == logins, "nobody logs in by himself"
    successor.close()


def test_a_wait_ends_with_the_change_and_with_its_time(simulator: Simulator, session: PoolSession) -> None:
    host = other_host(session)
    session.host(host)
    session.wait([("host", host)], 10.0)
    began = time.monotonic()
    session.wait([("host", host)], 0.2)
    assert 0.2 <= time.monotonic() - began < 5
    actor = hypervisor(simulator, "h1").open()
    timer = threading.Timer(0.2, lambda: actor.set_mark(host, "x"))
    timer.start()
    began = time.monotonic()
    session.wait([("host", host)], 15.0)
    assert time.monotonic() - began < 5
    timer.join()
    threading.Timer(0.2, session.interrupt).start()
    began = time.monotonic()
    session.wait([("host", host)], 15.0)
    assert time.monotonic() - began < 5
    actor.close()


def test_a_migration_is_followed_by_events_to_its_end(simulator: Simulator, session: PoolSession) -> None:
    vm, destination = vm_named(simulator, "v0"), other_host(session)
    work = session.mark_work("t1", 1, "note")
    assert session.work_state(work).status is None
    session.migrate(work, vm, destination)
    assert session.work_state(work).status == "pending"
    state = watch_until_idle(session, vm, work.id)
    assert state.resident_on == destination and state.power_state == "Running"
    successor = hypervisor(simulator, "h1").open()
    found = successor.work_of("t1")
    assert [(w.attempt, w.note) for w in found] == [(1, "note")]
    assert successor.work_state(found[0]).status in ("success", "pending")
    session.forget(work)
    session.forget(work)
    assert successor.work_of("t1") == [] and successor.work_state(found[0]).status == "gone"
    successor.close()


def test_a_refused_migration_carries_xapis_code(simulator: Simulator, session: PoolSession) -> None:
    work = session.mark_work("t1", 1)
    session.migrate(work, vm_named(simulator, "halted"), other_host(session))
    deadline = time.monotonic() + 10
    while session.work_state(work).status == "pending" and time.monotonic() < deadline:
        session.wait([("work", work.id)], 2.0)
    state = session.work_state(work)
    assert (
        state.status == "failure"
        and state.error[0] == "VM_BAD_POWER_STATE"
        and state.error[2:] == ("running", "halted")
    )


def test_a_cancelled_migration_leaves_the_vm_where_it_was(simulator: Simulator, session: PoolSession) -> None:
    vm = vm_named(simulator, "v0")
    before = session.vm(vm)
    work = session.mark_work("t1", 1)
    session.migrate(work, vm, other_host(session))
    session.cancel(work)
    state = watch_until_idle(session, vm, work.id)
    assert before is not None and state.resident_on in (before.resident_on, other_host(session))
    assert session.work_state(work).status in ("cancelled", "success")
    session.cancel(work)


def test_a_lost_reply_to_a_migration_is_adopted_by_its_mark(
    simulator: Simulator, session: PoolSession
) -> None:
    vm, destination = vm_named(simulator, "v1"), other_host(session)
    source = session.vm(vm)
    assert source is not None
    simulator.world.drop_next("Async.VM.pool_migrate", after=True)
    order = Order(
        "t2",
        1,
        "vm_migrate",
        "op",
        "h1",
        str(source.resident_on),
        "h1",
        1,
        None,
        {"vm": vm, "source": source.resident_on, "destination": destination},
        60.0,
    )
    driver = hypervisor(simulator, "h1")
    machine = VmMigrate(order, Surroundings(session, driver, SystemClock(), lambda: None))
    with pytest.raises(errors.OutcomeUnknown):
        machine.step()
    machine.resume(session)
    machine.step()
    assert machine.acted and machine.work is not None
    assert watch_until_idle(session, vm, machine.work.id).resident_on == destination
    assert calls(simulator, "Async.VM.pool_migrate") == 1


def test_a_whole_pool_is_reported_and_kept_up_to_date(simulator: Simulator, session: PoolSession) -> None:
    driver = hypervisor(simulator, "h1")
    observer = driver.observe()
    assert observer.report() is None
    assert observer.follow(5.0)
    report = observer.report()
    assert report is not None and report.master == uuid_of(driver) and len(report.hosts) == 3
    running = [vm for vm in report.vms if vm["power_state"] == "Running" and not vm["control_domain"]]
    assert len(running) == 3 and all(not vm["hindrances"] and vm["srs"] for vm in running)
    assert sum(1 for vm in report.vms if vm["control_domain"]) == 3
    host = other_host(session)
    session.set_mark(host, "operation 1")
    assert observer.follow(5.0)
    report = observer.report()
    assert report is not None
    assert [one["mark"] for one in report.hosts if one["uuid"] == host] == ["operation 1"]
    observer.interrupt()
    with pytest.raises(errors.Unavailable):
        observer.follow(20.0)
    observer.close()
    driver.close()


def test_free_memory_is_what_xapi_says(simulator: Simulator, session: PoolSession) -> None:
    user, password = simulator.login
    link = Link(dict(simulator.hosts)["h1"], Limits())
    link.login(user, password, "test")
    observer = hypervisor(simulator, "h1").observe()
    observer.follow(5.0)
    report = observer.report()
    assert report is not None
    for host in report.hosts:
        ref = link.read("host.get_by_uuid", host["uuid"])
        assert host["memory_free_bytes"] == int(link.read("host.compute_free_memory", ref))
    observer.close()
    link.logout()


def test_what_forbids_a_move_is_told_per_vm() -> None:
    spec = pooled_spec(vms=4)
    guests = list(spec.vms)
    guests[0] = dataclasses.replace(guests[0], blockers=("pci",))
    guests[1] = dataclasses.replace(guests[1], blocked_operations={"pool_migrate": "not now"})
    guests[2] = dataclasses.replace(guests[2], blockers=("no_tools",))
    with simulated(dataclasses.replace(spec, vms=tuple(guests))) as simulator:
        observer = hypervisor(simulator, "h1").observe()
        observer.follow(5.0)
        report = observer.report()
        assert report is not None
        told = {vm["name_label"]: [code for code, _ in vm["hindrances"]] for vm in report.vms}
        assert told["v0"] == ["VM_HAS_PCI_ATTACHED"] and told["v2"] == ["VM_LACKS_FEATURE"]
        assert told["v1"] == ["OPERATION_BLOCKED"] and told["v3"] == [] and told["halted"] == []
        observer.close()


def test_a_map_key_that_breaks_xapis_xml_does_not_blind_the_agent(
    simulator: Simulator, session: PoolSession
) -> None:
    user, password = simulator.login
    link = Link(dict(simulator.hosts)["h1"], Limits())
    link.login(user, password, "test")
    link.act("pool.add_to_other_config", link.read("pool.get_all")[0], "a<b", "x")
    assert session.pool().uuid
    link.json = False
    with pytest.raises(errors.Unavailable):
        link.read("pool.get_all_records")
    link.logout()


def test_readable_objections_to_a_join_are_told_all_at_once() -> None:
    spec = WorldSpec(
        (
            HostSpec("h1"),
            HostSpec("h2"),
            HostSpec("h3", platform_version="3.3.0", cpu_vendor="AuthenticAMD", shared_sr=True),
        ),
        pools=(PoolSpec(("h1", "h2")),),
    )
    with simulated(spec) as simulator:
        joiner, driver = hypervisor(simulator, "h3"), hypervisor(simulator, "h1")
        alone, pool = joiner.open(), joiner.open_pool(addresses(simulator)["h1"])
        codes = [code for code, _ in alone.joinable(pool).objections]
        assert sorted(codes) == [
            "HOSTS_NOT_COMPATIBLE",
            "HOSTS_NOT_HOMOGENEOUS",
            "JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS",
        ]
        member = driver.open()
        assert "OPERATION_NOT_ALLOWED" in [code for code, _ in member.joinable(pool).objections]
        for one in (alone, pool, member):
            one.close()

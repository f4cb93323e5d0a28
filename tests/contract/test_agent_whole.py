"""Whole agents against simulated hosts, with a conductor that only keeps books."""

import dataclasses

from agent_desk import addresses, calls, hypervisor, pooled_spec, simulated
from agent_office import office, running_vm, session_members, wait_for_call

from agent.simulator import default_spec
from agent.simulator.spec import GIB, HostSpec
from agent.xenapi.link import Link
from agent.xenapi.transport import Limits


def test_lone_hosts_are_made_a_pool_used_and_taken_apart() -> None:
    with simulated(default_spec(hosts=2, vms=2), speed=60) as simulator, office(simulator) as at:
        at.desk.interval_s = 0.5
        at.agent("h1")
        at.agent("h2")
        first, second = (at.seen(host, lambda sync: sync.role == "standalone") for host in ("h1", "h2"))
        assert first.host_uuid and second.host_uuid and first.address == addresses(simulator)["h1"]
        named = at.desk.settled(
            at.ring(at.desk.order("pool_init", "h1", first.host_uuid, {"name_label": "rack"}))
        )
        assert named.readings["name_label"] == "rack" and named.readings["pool"] == first.pool
        joined = at.desk.settled(
            at.ring(
                at.desk.order(
                    "pool_join",
                    "h2",
                    second.host_uuid,
                    {"master_uuid": first.host_uuid, "master_address": first.address},
                    members={first.host_uuid: str(first.address)},
                )
            )
        )
        assert joined.error is None and joined.readings["joiner"] == "slave"
        assert (
            joined.readings["live"] and joined.readings["enabled"] and joined.readings["pool"] == first.pool
        )
        assert calls(simulator, "Async.pool.join") == 1
        at.desk.members = {first.host_uuid: str(first.address), second.host_uuid: str(second.address)}
        slave = at.seen("h2", lambda sync: sync.role == "slave" and sync.host_uuid == second.host_uuid)
        assert slave.pool == first.pool and slave.master_address == first.address
        at.seen("h1", lambda sync: sync.role == "master")
        ejected = at.desk.settled(at.ring(at.desk.order("pool_eject", "h1", second.host_uuid)))
        assert ejected.error is None and ejected.readings["on_master"] is False
        alone = at.seen(
            "h2", lambda sync: sync.role == "standalone" and sync.pool not in (first.pool, second.pool)
        )
        assert alone.host_uuid == second.host_uuid


def test_a_host_is_drained_by_orders_and_given_back() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        at.agent("h1")
        here = at.seen("h1", lambda sync: sync.role == "master")
        destination = next(uuid for uuid in session_members(simulator) if uuid != here.host_uuid)
        source = str(here.host_uuid)
        taken = at.desk.settled(at.ring(at.desk.order("host_disable", "h1", source, {"mark": "op"})))
        assert taken.readings == {"enabled": False, "live": True, "mark": "op"}
        orders = [
            at.ring(
                at.desk.order(
                    "vm_migrate",
                    "h1",
                    source,
                    {"vm": running_vm(simulator, name)[0], "source": source, "destination": destination},
                )
            )
            for name in ("v0", "v1", "v2")
        ]
        for order in orders:
            report = at.desk.settled(order)
            assert report.error is None and report.readings["vm"]["resident_on"] == destination
            assert report.readings["task"] == "success" and report.readings["vm"]["operations"] == []
        seen = at.desk.settled(at.ring(at.desk.order("observe", "h1", source, {"times": 2, "apart_s": 0.5})))
        assert [(time["resident"], time["incoming"]) for time in seen.readings["times"]] == [
            ([], []),
            ([], []),
        ]
        given = at.desk.settled(at.ring(at.desk.order("host_enable", "h1", source)))
        assert given.readings == {"enabled": True, "live": True, "mark": None}
        driver = hypervisor(simulator, "h1")
        session = driver.open()
        assert all(session.work_of(order.task) == [] for order in orders), "the marks are cleared away"
        session.close()


def test_changes_of_the_pool_come_early_from_the_observer_and_only_from_it() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        at.desk.observers = {"h1"}
        at.desk.members = {"?": addresses(simulator)["h1"]}
        at.agent("h1")
        at.agent("h2")
        first = at.seen("h1", lambda sync: sync.report is not None)
        assert (
            first.report is not None
            and len(first.report["hosts"]) == 3
            and first.report["pool"] == first.pool
        )
        host = session_members(simulator)[0]
        session = hypervisor(simulator, "h1").open()
        session.set_mark(host, "someone")
        session.close()
        at.seen(
            "h1",
            lambda sync: (
                sync.report is not None and any(one["mark"] == "someone" for one in sync.report["hosts"])
            ),
        )
        at.seen("h2", lambda sync: sync.role == "slave")
        assert all(sync.report is None for sync in at.desk.syncs if sync.host == "h2")


def test_a_slave_that_learns_its_masters_address_says_at_once_who_it_is() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        at.desk.interval_s = 60.0
        at.desk.members = {"?": addresses(simulator)["h1"]}
        at.agent("h2")
        first = at.seen("h2", lambda sync: True)
        known = at.seen("h2", lambda sync: sync.host_uuid is not None)
        assert first.role == known.role == "slave" and known.trouble is None and known.pool is not None


def test_a_lost_doorbell_only_delays() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        order = at.desk.order("sync_database", "h1")
        at.agent("h1")
        assert at.desk.settled(order).readings == {"synced": True}
        assert len([claim for claim in at.desk.claims if claim[2] == order.task]) == 1


def test_an_order_rung_many_times_is_carried_out_once() -> None:
    with simulated(pooled_spec(memory=4 * GIB), speed=30) as simulator, office(simulator) as at:
        at.agent("h1")
        vm, source = running_vm(simulator, "v0")
        destination = next(uuid for uuid in session_members(simulator) if uuid != source)
        order = at.desk.order(
            "vm_migrate", "h1", source, {"vm": vm, "source": source, "destination": destination}
        )
        for _ in range(10):
            at.ring(order)
        assert at.desk.settled(order).readings["vm"]["resident_on"] == destination
        assert calls(simulator, "Async.VM.pool_migrate") == 1


def test_a_lost_session_is_replaced_claimed_anew_and_the_work_goes_on() -> None:
    with simulated(pooled_spec(memory=8 * GIB), speed=10) as simulator, office(simulator) as at:
        at.agent("h1")
        vm, source = running_vm(simulator, "v0")
        destination = next(uuid for uuid in session_members(simulator) if uuid != source)
        order = at.ring(
            at.desk.order(
                "vm_migrate", "h1", source, {"vm": vm, "source": source, "destination": destination}
            )
        )
        assert at.desk.wait_for(lambda: any(claim[2] == order.task for claim in at.desk.claims))
        wait_for_call(simulator, "Async.VM.pool_migrate")
        # From the master a logout fails what does not stream yet; either way the work is followed to its end.
        stranger = hypervisor(simulator, "h1").open()
        session = next(claim[4] for claim in at.desk.claims if claim[2] == order.task)
        stranger.fence(str(session))
        report = at.desk.settled(order)
        claims = [claim for claim in at.desk.claims if claim[2] == order.task]
        assert len(claims) == 2 and claims[0][4] != claims[1][4] and claims[0][1] == claims[1][1]
        assert calls(simulator, "Async.VM.pool_migrate") == 1 and report.readings["acted"]
        state = stranger.vm(vm)
        assert state is not None and state.resident_on == report.readings["vm"]["resident_on"]
        stranger.close()


def test_a_successor_fences_the_predecessor_and_adopts_its_work() -> None:
    # From a slave: a logout makes a migration from the master fail that does not stream yet.
    with simulated(pooled_spec(memory=8 * GIB, host="h2"), speed=10) as simulator, office(simulator) as at:
        vm, source = running_vm(simulator, "v0")
        destination = next(uuid for uuid in session_members(simulator) if uuid != source)
        dead = hypervisor(simulator, "h1").open()
        order = at.desk.order(
            "vm_migrate",
            "h1",
            source,
            {"vm": vm, "source": source, "destination": destination},
            attempt=2,
            fence=[dead.session_uuid, "00000000-0000-0000-0000-000000000000"],
        )
        dead.migrate(dead.mark_work(order.task, 1), vm, destination)
        at.agent("h1")
        report = at.desk.settled(order)
        assert sorted(report.fenced) == sorted(order.fence)
        assert calls(simulator, "Async.VM.pool_migrate") == 1 and report.readings["acted"]
        assert report.readings["task"] == "success" and report.readings["vm"]["resident_on"] == destination


def test_a_predecessors_move_that_the_fence_ended_is_begun_anew() -> None:
    with simulated(pooled_spec(memory=8 * GIB), speed=10) as simulator, office(simulator) as at:
        vm, source = running_vm(simulator, "v0")
        destination = next(uuid for uuid in session_members(simulator) if uuid != source)
        dead = hypervisor(simulator, "h1").open()
        order = at.desk.order(
            "vm_migrate",
            "h1",
            source,
            {"vm": vm, "source": source, "destination": destination},
            attempt=2,
            fence=[dead.session_uuid],
        )
        dead.migrate(dead.mark_work(order.task, 1), vm, destination)
        at.agent("h1")
        report = at.desk.settled(order)
        assert report.readings["vm"]["resident_on"] == destination and report.fenced == order.fence
        assert calls(simulator, "Async.VM.pool_migrate") <= 2


def test_an_agent_that_was_superseded_ends() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        agent = at.agent("h1")
        first = at.seen("h1", lambda sync: True)
        at.desk.superseded = {first.incarnation}
        order = at.ring(at.desk.order("sync_database", "h1"))
        assert agent.wait(10.0) and agent.superseded
        assert not any(claim[2] == order.task for claim in at.desk.claims)
        newer = at.agent("h1")
        second = at.seen("h1", lambda sync: sync.incarnation != first.incarnation)
        assert second.incarnation > first.incarnation and not newer.superseded


def test_a_hypervisor_that_comes_later_is_found() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        at.desk.interval_s = 0.3
        at.agent("h1", password="wrong", pool_username="root", pool_password="wrong too", login_hold_s=0.1)
        away = at.seen("h1", lambda sync: sync.trouble is not None)
        assert (
            away.role == "unreachable"
            and away.trouble is not None
            and away.trouble["code"] == "hypervisor_auth"
        )
        order = at.ring(at.desk.order("sync_database", "h1"))
        at.seen("h1", lambda sync: sync.sequence > away.sequence + 1)
        assert not any(claim[2] == order.task for claim in at.desk.claims), (
            "nothing is claimed that can't be done"
        )


def test_orders_that_this_version_can_not_carry_out_are_answered() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        at.agent("h1")
        report = at.desk.settled(at.ring(at.desk.order("host_reboot", "h1")))
        assert report.error is not None and report.error["code"] == "not_implemented"


def test_sessions_are_logged_out_when_the_work_is_done() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        agent = at.agent("h1")
        at.desk.settled(at.ring(at.desk.order("sync_database", "h1")))
        at.agents.remove(agent)
        agent.stop()
        assert calls(simulator, "session.logout") == calls(simulator, "session.login_with_password")


def test_a_restart_of_the_master_in_mid_move_is_reported_as_what_is_seen() -> None:
    with simulated(pooled_spec(memory=8 * GIB), speed=10) as simulator, office(simulator) as at:
        at.agent("h1")
        vm, source = running_vm(simulator, "v0")
        destination = next(uuid for uuid in session_members(simulator) if uuid != source)
        args = {"vm": vm, "source": source, "destination": destination}
        order = at.ring(at.desk.order("vm_migrate", "h1", source, args))
        wait_for_call(simulator, "Async.VM.pool_migrate")
        user, password = simulator.login
        link = Link(dict(simulator.hosts)["h1"], Limits())
        link.login(user, password, "an operator")
        link.act("host.restart_agent", link.read("host.get_by_uuid", source))
        link.close()
        report = at.desk.settled(order)
        assert report.readings["task"] == "gone" and report.readings["acted"]
        assert report.readings["started_at"][source] != report.readings["started_at_before"][source]
        claims = [claim for claim in at.desk.claims if claim[2] == order.task]
        assert len({claim[4] for claim in claims}) == len(claims) == 2
        assert calls(simulator, "Async.VM.pool_migrate") == 1


def test_a_join_with_a_wrong_password_of_the_pool_is_refused_before_anything_is_touched() -> None:
    spec = dataclasses.replace(
        default_spec(hosts=2, vms=0), hosts=(HostSpec("h1", password="other"), HostSpec("h2", password="own"))
    )
    with simulated(spec, speed=60) as simulator, office(simulator) as at:
        at.agent("h2", password="own", pool_password="wrong", login_hold_s=0.5)
        here = at.seen("h2", lambda sync: sync.role == "standalone")
        address = addresses(simulator)["h1"]
        order = at.desk.order(
            "pool_join", "h2", str(here.host_uuid), {"master_uuid": "?", "master_address": address}
        )
        report = at.desk.settled(at.ring(order))
        assert report.error is not None and report.error["code"] == "SESSION_AUTHENTICATION_FAILED"
        assert calls(simulator, "Async.pool.join") == 0


def test_a_join_with_the_pools_own_password_makes_the_host_a_member() -> None:
    spec = dataclasses.replace(
        default_spec(hosts=2, vms=0), hosts=(HostSpec("h1", password="pool"), HostSpec("h2", password="own"))
    )
    with simulated(spec, speed=60) as simulator, office(simulator) as at:
        at.agent("h2", password="own", pool_password="pool")
        here = at.seen("h2", lambda sync: sync.role == "standalone")
        address = addresses(simulator)["h1"]
        order = at.desk.order(
            "pool_join", "h2", str(here.host_uuid), {"master_uuid": "?", "master_address": address}
        )
        report = at.desk.settled(at.ring(order))
        assert report.error is None and report.readings["enabled"] and report.readings["joiner"] == "slave"

"""Joins that came to nothing and hosts that come back, by whole agents at simulated hosts."""

import dataclasses

from agent_desk import addresses, calls, hypervisor, pooled_spec, simulated
from agent_office import Office, members, office

from agent.simulator import Simulator, default_spec, timing
from agent.simulator.fault_spec import EjectFault, Incident, JoinFault
from agent.simulator.spec import HostSpec
from agent.xenapi.link import Link
from agent.xenapi.transport import Limits
from common.messages import Order, Report
from conductor.operations.judge import judge


def join(at: Office, simulator: Simulator, host: str, limit_s: float = 600.0) -> Order:
    """Order ``host`` to join the pool of h1."""
    with simulator.lock:
        uuid, master = (simulator.world.node_named(name).uuid for name in (host, "h1"))
    args = {"master_uuid": master, "master_address": addresses(simulator)["h1"], "quiet_s": 1.0}
    return at.ring(at.desk.order("pool_join", host, uuid, args, limit_s=limit_s))


def verdict(order: Order, report: Report) -> str | None:
    return judge(order.kind, order.args, report).event


def test_a_dead_record_left_by_a_failed_join_is_destroyed_and_the_host_can_join_again() -> None:
    hosts = (HostSpec("h1"), HostSpec("h2", reboot_s=5.0))
    spec = dataclasses.replace(default_spec(hosts=2, vms=0), hosts=hosts)
    with simulated(spec, speed=10) as simulator, office(simulator) as at:
        at.agent("h1")
        at.agent("h2")
        at.seen("h2", lambda sync: sync.role == "standalone")
        order = join(at, simulator, "h2")
        with simulator.lock:
            world = simulator.world
            uuid = world.node_named("h2").uuid
            joins = "Async.pool.join"
            assert simulator.lock.wait_for(lambda: any(call.method == joins for call in world.calls), 20.0)
            # As soon as the master lists it, and before its role is written, which is 0.4 s later.
            listed = next(call.at for call in world.calls if call.method == joins) + timing.JOIN_LISTED
            at_s = max(0.0, listed + 0.1 - world.now)
            world.put_in(Incident(at_s, "power_off", "h2"), Incident(at_s + 0.1, "power_on", "h2"))
            simulator.lock.notify_all()
        failed = at.desk.settled(order, 60.0)
        assert failed.readings["on_master"] and not failed.readings["live"]
        assert failed.readings["joiner"] == "standalone" and verdict(order, failed) == "refused"

        again = join(at, simulator, "h2")
        report = at.desk.settled(again, 60.0)
        assert verdict(again, report) == "refused" and calls(simulator, "Async.pool.join") == 1, "never by itself"

        destroy = at.ring(at.desk.order("host_destroy", "h1", uuid))
        assert verdict(destroy, at.desk.settled(destroy)) == "effect"
        last = join(at, simulator, "h2")
        assert verdict(last, at.desk.settled(last, 60.0)) == "effect"
        assert calls(simulator, "Async.pool.join") == 2


def test_an_ejected_host_gets_tls_verification_again_before_it_joins_again() -> None:
    spec = pooled_spec(vms=0)
    hosts = tuple(dataclasses.replace(host, tls_verification=True) for host in spec.hosts)
    with simulated(dataclasses.replace(spec, hosts=hosts), speed=120) as simulator, office(simulator) as at:
        master = hypervisor(simulator, "h1")
        session = master.open()
        at.desk.members = dict(session.pool().members)
        at.desk.interval_s = 0.3
        at.agent("h3")
        slave = at.seen("h3", lambda sync: sync.role == "slave" and sync.host_uuid is not None)
        eject = at.ring(at.desk.order("pool_eject", "h3", str(slave.host_uuid), pool=slave.pool))
        assert verdict(eject, at.desk.settled(eject)) == "effect"
        at.seen("h3", lambda sync: sync.role == "standalone")
        with simulator.lock:
            assert not simulator.world.node_named("h3").tls_verification, "ejecting turned it off"
        order = join(at, simulator, "h3")
        report = at.desk.settled(order)
        assert report.error is None and verdict(order, report) == "effect"
        with simulator.lock:
            methods = [call.method for call in simulator.world.calls if call.originator == "corral:h3"]
        assert methods.index("pool.enable_tls_verification") < methods.index("Async.pool.join")
        session.close()
        master.close()


def test_a_member_that_calls_another_master_than_its_pool_has_is_not_followed() -> None:
    with simulated(pooled_spec(vms=0), speed=60) as simulator, office(simulator) as at:
        at.desk.interval_s = 0.3
        at.desk.members = {"?": "192.0.2.1"}
        at.agent("h2")
        here = at.seen("h2", lambda sync: sync.trouble is not None)
        assert here.trouble is not None and here.trouble["code"] == "master_unknown"
        order = at.ring(at.desk.order("host_disable", "h2", "x", {"mark": "ours"}, members={"?": "192.0.2.1"}))
        later = at.seen("h2", lambda sync: sync.sequence > here.sequence + 2)
        assert later.role == "slave" and not [report for report in at.desk.reports if report.task == order.task]
        with simulator.lock:
            asked = {call.address for call in simulator.world.calls}
        assert asked == {addresses(simulator)["h2"]}, "nobody else was asked, and no password went elsewhere"


def test_orders_go_on_under_a_new_session_when_all_sessions_were_lost() -> None:
    with simulated(pooled_spec(vms=0), speed=60) as simulator, office(simulator) as at:
        at.agent("h1")
        at.seen("h1", lambda sync: sync.role == "master")
        with simulator.lock:
            uuid = simulator.world.node_named("h1").uuid
        link = Link(dict(simulator.hosts)["h1"], Limits())
        link.login(*simulator.login, "an operator")
        link.act("host.restart_agent", link.read("host.get_by_uuid", uuid))
        link.close()
        with simulator.lock:
            node = simulator.world.node_named("h1")
            assert simulator.lock.wait_for(lambda: node.power != "up", 20.0)
        report = at.desk.settled(at.ring(at.desk.order("host_disable", "h1", uuid, {"mark": "ours"})))
        # Whether it is disabled a moment later is another matter: at the end of its start it enables itself.
        assert report.readings["mark"] == "ours" and calls(simulator, "host.disable") >= 1


def test_a_join_whose_task_failed_after_the_role_was_written_is_told_as_half_done_and_can_be_mended() -> None:
    with simulated(default_spec(hosts=2, vms=0), speed=30) as simulator, office(simulator) as at:
        at.agent("h1")
        at.agent("h2")
        at.seen("h2", lambda sync: sync.role == "standalone")
        with simulator.lock:
            simulator.world.put_in(JoinFault("role", host="h2"))
            uuid = simulator.world.node_named("h2").uuid
        order = join(at, simulator, "h2")
        failed = at.desk.settled(order, 60.0)
        assert failed.error is not None and failed.readings["on_master"] and not failed.readings["live"]
        assert (failed.readings["joiner"], verdict(order, failed)) == ("standalone", "refused")
        destroy = at.ring(at.desk.order("host_destroy", "h1", uuid))
        assert verdict(destroy, at.desk.settled(destroy)) == "effect"
        again = join(at, simulator, "h2")
        assert verdict(again, at.desk.settled(again, 60.0)) == "effect"


def test_a_join_whose_task_failed_although_all_was_done_is_no_failure() -> None:
    with simulated(default_spec(hosts=2, vms=0), speed=30) as simulator, office(simulator) as at:
        at.agent("h1")
        at.agent("h2")
        at.seen("h2", lambda sync: sync.role == "standalone")
        with simulator.lock:
            simulator.world.put_in(JoinFault("hook", host="h2"))
        order = join(at, simulator, "h2")
        report = at.desk.settled(order, 60.0)
        assert report.error is None and verdict(order, report) == "effect"
        assert calls(simulator, "Async.pool.join") == 1


def test_an_eject_that_left_the_host_a_master_and_listed_is_told_and_its_record_can_be_destroyed() -> None:
    with simulated(pooled_spec(vms=0), speed=60) as simulator, office(simulator) as at:
        slave = members(at)
        with simulator.lock:
            simulator.world.put_in(EjectFault("role", host="h3"))
        eject = at.ring(at.desk.order("pool_eject", "h1", str(slave.host_uuid), pool=slave.pool))
        report = at.desk.settled(eject)
        assert report.error is not None and report.readings["on_master"] and verdict(eject, report) != "effect"
        at.seen("h3", lambda sync: sync.role == "standalone")
        with simulator.lock:
            world = simulator.world
            db = world.pools[world.node_named("h1").pool]
            metrics = db.get("host", db.by_uuid("host", str(slave.host_uuid)) or "", "metrics")
            assert simulator.lock.wait_for(lambda: not db.get("host_metrics", metrics, "live"), 30.0)
        destroy = at.ring(at.desk.order("host_destroy", "h1", str(slave.host_uuid), pool=slave.pool))
        assert verdict(destroy, at.desk.settled(destroy)) == "effect"


def test_a_joiner_that_its_master_cannot_reach_is_told_with_the_reason_when_the_time_is_up() -> None:
    with simulated(default_spec(hosts=2, vms=0), speed=30) as simulator, office(simulator) as at:
        at.agent("h1")
        at.agent("h2")
        at.seen("h2", lambda sync: sync.role == "standalone")
        with simulator.lock:
            simulator.world.put_in(Incident(0, "one_way", "h2"))
        order = join(at, simulator, "h2", limit_s=4.0)
        report = at.desk.settled(order, 60.0)
        assert report.error is not None and report.error["code"] == "HOST_MASTER_CANNOT_TALK_BACK"
        assert report.readings["on_master"] and not report.readings["live"]
        found = judge(order.kind, order.args, report)
        assert (found.event, found.detail) == ("no_effect", {"past_return": True}), "it is in the pool's database"
        reason = "HOST_MASTER_CANNOT_TALK_BACK"
        assert at.seen("h2", lambda sync: reason in (sync.trouble or {}).get("message", ""))

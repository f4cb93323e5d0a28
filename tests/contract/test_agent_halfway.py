"""Ejections that end halfway, by whole agents at simulated hosts, and what the conductor makes of their reports."""

from agent_desk import Desk, calls, pooled_spec, simulated
from agent_office import Office, members, office

from agent.simulator import Simulator
from agent.simulator.fault_spec import EjectFault
from common.messages import Order, Report
from conductor.operations.judge import Verdict, judge


def verdict(order: Order, report: Report) -> Verdict:
    return judge(order.kind, order.args, report)


def eject(at: Office, simulator: Simulator, uuid: str, *faults: EjectFault) -> Order:
    """Order h3's own agent to eject it."""
    with simulator.lock:
        simulator.world.put_in(*faults)
        pool = simulator.world.pools[simulator.world.node_named("h1").pool]
        pool_uuid = pool.get("pool", pool.refs("pool")[0], "uuid")
    return at.ring(at.desk.order("pool_eject", "h3", uuid, {"quiet_s": 2.0}, pool=pool_uuid, members=at.desk.members))


def is_listed(simulator: Simulator, uuid: str) -> bool:
    with simulator.lock:
        return simulator.world.pools[simulator.world.node_named("h1").pool].by_uuid("host", uuid) is not None


def claims(desk: Desk, order: Order) -> int:
    return sum(1 for claim in desk.claims if claim[2] == order.task)


def test_a_host_that_is_its_own_master_and_still_listed_is_told_so_by_its_own_agent() -> None:
    with simulated(pooled_spec(vms=0), speed=60) as simulator, office(simulator) as at:
        uuid = str(members(at).host_uuid)
        order = eject(at, simulator, uuid, EjectFault("role", ("INTERNAL_ERROR", "x"), host="h3"))
        report = at.desk.settled(order)
        assert report.readings == {"on_master": True, "standalone": True} and is_listed(simulator, uuid)
        assert report.error is not None and report.error["code"] == "ejected_halfway"
        assert verdict(order, report).event == "halfway"
        assert calls(simulator, "Async.pool.eject") == 1

        again = at.ring(at.desk.order("pool_eject", "h3", uuid, pool=order.pool, members=at.desk.members))
        assert at.desk.settled(again).readings == {"on_master": True, "standalone": True}
        assert calls(simulator, "Async.pool.eject") == 1, "what stands alone is not ejected again"


def test_the_record_of_such_a_host_is_removed_as_soon_as_the_master_takes_it_for_dead() -> None:
    with simulated(pooled_spec(vms=0), speed=120) as simulator, office(simulator) as at:
        uuid = str(members(at).host_uuid)
        order = eject(at, simulator, uuid, EjectFault("role", host="h3"))
        at.desk.settled(order)
        destroy = at.ring(at.desk.order("host_destroy", "h1", uuid, pool=order.pool, limit_s=60.0))
        report = at.desk.settled(destroy)
        assert verdict(destroy, report).event == "effect" and report.error is None and not is_listed(simulator, uuid)
        assert 1 <= calls(simulator, "host.destroy") <= 2, "refused once at most, waited for, done"
        assert claims(at.desk, destroy) <= 2


def test_a_record_that_xapi_takes_for_live_is_left_when_the_time_is_up() -> None:
    with simulated(pooled_spec(vms=0), speed=10) as simulator, office(simulator) as at:
        uuid = str(members(at).host_uuid)
        destroy = at.ring(at.desk.order("host_destroy", "h1", uuid, limit_s=1.0))
        report = at.desk.settled(destroy)
        assert report.error is not None and report.error["code"] == "HOST_IS_LIVE" and is_listed(simulator, uuid)
        assert verdict(destroy, report).event == "refused"


def test_an_agent_that_restarts_after_the_ejection_ended_halfway_tells_the_same() -> None:
    with simulated(pooled_spec(vms=0), speed=30) as simulator, office(simulator) as at:
        uuid = str(members(at).host_uuid)
        order = eject(at, simulator, uuid, EjectFault("role", host="h3"))
        with simulator.lock:
            failed = "Async.pool.eject"
            assert simulator.lock.wait_for(lambda: any(c.method == failed for c in simulator.world.calls), 10.0)
        first = at.agents.pop()
        first.stop()
        at.desk.claims.clear()
        at.agent("h3")
        report = at.desk.settled(order)
        assert report.readings == {"on_master": True, "standalone": True}
        assert calls(simulator, "Async.pool.eject") == 1


def test_an_ejection_that_could_not_unplug_storage_leaves_a_member_and_is_told_as_that() -> None:
    with simulated(pooled_spec(vms=0), speed=60) as simulator, office(simulator) as at:
        uuid = str(members(at).host_uuid)
        order = eject(at, simulator, uuid, EjectFault("storage", ("SR_BACKEND_FAILURE_202", "busy"), host="h3"))
        report = at.desk.settled(order)
        assert report.readings == {"on_master": True, "standalone": False} and is_listed(simulator, uuid)
        assert report.error is not None and report.error["code"] == "SR_BACKEND_FAILURE_202"
        assert verdict(order, report).event == "no_effect"

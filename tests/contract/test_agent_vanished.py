"""A joiner that vanishes in the middle of its join, when its pool lists it already, by agents at simulated hosts."""

import pytest
from agent_desk import addresses, calls, simulated
from agent_office import Office, office

from agent.simulator import Simulator, default_spec
from agent.simulator.fault_spec import Incident
from common.messages import Order
from conductor.operations.judge import judge


def vanish(at: Office, simulator: Simulator, seconds: float) -> Order:
    """Order h2 to join the pool of h1, and cut its power so much (simulated) after the master lists it."""
    at.desk.interval_s = 0.3
    at.desk.members = {"?": addresses(simulator)["h1"]}
    at.agent("h1")
    at.agent("h2")
    at.seen("h2", lambda sync: sync.role == "standalone")
    with simulator.lock:
        world = simulator.world
        uuid, master = (world.node_named(name).uuid for name in ("h2", "h1"))
    args = {"master_uuid": master, "master_address": addresses(simulator)["h1"], "quiet_s": 1.0}
    order = at.ring(at.desk.order("pool_join", "h2", uuid, args, limit_s=4.0))
    with simulator.lock:
        db = world.pools[world.node_named("h1").pool]
        assert simulator.lock.wait_for(lambda: db.by_uuid("host", uuid), 20.0), "the master lists it"
        world.put_in(Incident(seconds, "power_off", "h2"))
        simulator.lock.notify_all()
    return order


@pytest.mark.parametrize("seconds", [pytest.param(0.1, id="while its task runs"), pytest.param(6.0, id="in its fuse")])
def test_a_joiner_that_vanishes_for_good_is_told_as_what_was_seen_when_the_time_is_up(seconds: float) -> None:
    with simulated(default_spec(hosts=2, vms=0), speed=10) as simulator, office(simulator) as at:
        order = vanish(at, simulator, seconds)
        report = at.desk.settled(order, 15.0)
        assert report.readings["on_master"] and not report.readings["live"] and not report.readings["enabled"]
        assert report.readings["joiner"] == "unreachable", "nobody has seen it as a slave"
        found = judge(order.kind, order.args, report)
        assert (found.event, found.detail) == ("no_effect", {"past_return": True})
        assert report.error is None or report.error["effect"] == "unknown", report.error

        again = at.ring(at.desk.order("pool_join", "h2", order.host_uuid, order.args, limit_s=2.0))
        report = at.desk.settled(again, 15.0)
        assert (report.readings["joiner"], report.readings["on_master"]) == ("unreachable", True), report
        assert judge(again.kind, again.args, report).event == "no_effect"
        assert calls(simulator, "Async.pool.join") == 1

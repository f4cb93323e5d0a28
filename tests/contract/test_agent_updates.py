"""Somebody applies updates to a host that Corral gives back: xapi would let the call wait, so the agent does."""

from agent_desk import calls, hypervisor, pooled_spec, simulated
from agent_office import office

from agent.simulator.fault_spec import Incident


def test_a_host_that_is_updated_is_enabled_afterwards_and_the_order_does_not_end_before() -> None:
    with simulated(pooled_spec(), speed=100.0) as simulator, office(simulator) as at:
        at.agent("h1", read_timeout_s=1.0)
        session = hypervisor(simulator, "h1").open()
        pool = session.pool()
        host = next(uuid for uuid in sorted(pool.members) if uuid != pool.master_uuid)
        at.desk.settled(at.ring(at.desk.order("host_disable", "h1", host, {"mark": "ours"})))
        with simulator.lock:
            name = next(node.name for node in simulator.world.nodes.values() if node.uuid == host)
            simulator.world.put_in(Incident(0, "apply_updates", name, seconds=300.0))
        report = at.desk.settled(at.ring(at.desk.order("host_enable", "h1", host)))
        assert (report.error, report.readings) == (None, {"enabled": True, "live": True, "mark": None})
        assert calls(simulator, "host.enable") == 1, "one that waited in xapi would act when nobody counts on it"

"""The pool's migration network, from its record to the migration's own options."""

from agent_desk import hypervisor, pooled_spec, simulated
from agent_office import office, running_vm, session_members

from agent.simulator import Simulator


def choose(simulator: Simulator, value: str) -> str:
    """Let the pool choose the network of eth1 (or what ``value`` says), with addresses there on all but h3."""
    with simulator.lock:
        db = simulator.world.pools[simulator.world.node_named("h1").pool]
        network = next(ref for ref in db.refs("network") if db.get("network", ref, "bridge") == "xenbr1")
        uuid = str(db.get("network", network, "uuid"))
        for pool in db.refs("pool"):
            db.set("pool", pool, other_config={"xo:migrationNetwork": value or uuid})
        third = simulator.world.node_named("h3").uuid
        for number, pif in enumerate(db.refs("PIF")):
            host = db.get("host", db.get("PIF", pif, "host"), "uuid")
            if db.get("PIF", pif, "network") == network and host != third:
                db.set("PIF", pif, IP=f"10.9.0.{number}")
    return uuid


def test_a_report_names_the_migration_network_and_the_hosts_that_can_use_it() -> None:
    with simulated(pooled_spec()) as simulator:
        network = choose(simulator, "")
        observer = hypervisor(simulator, "h1").observe()
        observer.follow(5.0)
        report = observer.report()
        observer.close()
        assert report is not None and report.migration_network == network
        assert {host["hostname"] for host in report.hosts if network in host["networks"]} == {"h1", "h2"}


def test_a_move_takes_the_migration_network_and_says_when_it_can_not() -> None:
    with simulated(pooled_spec(), speed=120) as simulator, office(simulator) as at:
        choose(simulator, "")
        at.agent("h1")
        vm, source = running_vm(simulator, "v0")
        with simulator.lock:
            world = simulator.world
            good, bad = world.node_named("h2").uuid, world.node_named("h3").uuid
        assert {good, bad} < set(session_members(simulator))
        args = {"vm": vm, "source": source}
        refused = at.desk.settled(at.ring(at.desk.order("vm_migrate", "h1", source, {**args, "destination": bad})))
        assert refused.error is not None and refused.error["code"] == "INTERFACE_HAS_NO_IP"
        assert refused.readings["vm"]["resident_on"] == source
        done = at.desk.settled(at.ring(at.desk.order("vm_migrate", "h1", source, {**args, "destination": good})))
        assert done.error is None and done.readings["vm"]["resident_on"] == good


def test_nothing_moves_by_a_network_that_is_gone() -> None:
    with simulated(pooled_spec(), speed=120) as simulator, office(simulator) as at:
        choose(simulator, "00000000-dead-0000-0000-000000000000")
        at.agent("h1")
        vm, source = running_vm(simulator, "v0")
        other = next(uuid for uuid in session_members(simulator) if uuid != source)
        order = at.desk.order("vm_migrate", "h1", source, {"vm": vm, "source": source, "destination": other})
        report = at.desk.settled(at.ring(order))
        assert report.error is not None and report.error["code"] == "UUID_INVALID"
        assert report.error["params"] == ["network", "00000000-dead-0000-0000-000000000000"]
        assert report.readings["vm"]["resident_on"] == source

"""The pool's migration network, from its record to the migration's own options."""

import dataclasses

import pytest
from agent_desk import hypervisor, pooled_spec, simulated
from agent_office import office, running_vm, session_members

from agent.simulator import WorldError, WorldSpec
from agent.simulator.spec import NetworkSpec, parse_spec

GONE = "00000000-dead-0000-0000-000000000000"


def chosen() -> WorldSpec:
    """Return a pool that has chosen the network of eth1 for migrations; all hosts but h3 have addresses on it."""
    fast = NetworkSpec("fast", "h1", "eth1", addresses_on=("h1", "h2"), migrations=True)
    return dataclasses.replace(pooled_spec(), networks=(fast,))


def test_a_report_names_the_migration_network_and_the_hosts_that_can_use_it() -> None:
    with simulated(chosen()) as simulator:
        with simulator.lock:
            db = simulator.world.pools[simulator.world.node_named("h1").pool]
            (network,) = [db.get("network", one, "uuid") for one in db.refs("network")
                          if db.get("network", one, "name_label") == "fast"]
        observer = hypervisor(simulator, "h1").observe()
        observer.follow(5.0)
        report = observer.report()
        observer.close()
        assert report is not None and report.migration_network == network
        assert {host["hostname"] for host in report.hosts if network in host["networks"]} == {"h1", "h2"}


def test_a_move_takes_the_migration_network_and_says_when_it_can_not() -> None:
    with simulated(chosen(), speed=120) as simulator, office(simulator) as at:
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
        with simulator.lock:
            db = simulator.world.pools[simulator.world.node_named("h1").pool]
            db.set("pool", db.refs("pool")[0], other_config={"xo:migrationNetwork": GONE})
        at.agent("h1")
        vm, source = running_vm(simulator, "v0")
        other = next(uuid for uuid in session_members(simulator) if uuid != source)
        order = at.desk.order("vm_migrate", "h1", source, {"vm": vm, "source": source, "destination": other})
        report = at.desk.settled(at.ring(order))
        assert report.error is not None and report.error["code"] == "UUID_INVALID"
        assert report.error["params"] == ["network", GONE]
        assert report.readings["vm"]["resident_on"] == source


def test_a_world_file_names_only_hosts_that_there_are() -> None:
    with pytest.raises(WorldError, match=r"networks\[0\].addresses_on: there is no host 'h9'"):
        parse_spec({"hosts": [{"name": "h1"}],
                    "networks": [{"name": "n", "pool": "h1", "device": "eth1", "addresses_on": ["h9"]}]})

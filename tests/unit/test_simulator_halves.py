"""Joins and ejects that end halfway, what each phase leaves behind, and what goes on from there."""

import json
from dataclasses import replace

import pytest

from agent.simulator import DirectClient, Failure, World, default_spec, direct_world
from agent.simulator.clocks import SetClock
from agent.simulator.fault_spec import JOIN_PHASES, EjectFault, FaultSpec, Incident, JoinFault
from agent.simulator.spec import PoolSpec
from agent.simulator.state import load_world, save_world

MASTER, JOINER = "127.1.0.1", "127.1.0.2"


def two(*faults: FaultSpec, pooled: bool = False) -> tuple[World, SetClock]:
    pools = (PoolSpec(("h1", "h2")),) if pooled else ()
    return direct_world(replace(default_spec(hosts=2, vms=0), pools=pools, faults=faults))


def client(world: World, clock: SetClock, address: str) -> DirectClient:
    return DirectClient(world, clock, address).login()


def joined(world: World, clock: SetClock) -> list[str]:
    """Return the error of a join, [] if it succeeds."""
    joiner = client(world, clock, JOINER)
    error: list[str] = joiner.task(joiner("Async.pool.join", MASTER, "root", "secret"))["error_info"]
    return error


def refusal(world: World, clock: SetClock, address: str = JOINER) -> list[str]:
    """Return why a login there fails, [] if it does not."""
    try:
        client(world, clock, address)
    except Failure as failure:
        return failure.description
    return []


def record(world: World, name: str = "h2") -> dict[str, object] | None:
    """Return what the master's pool has of a machine, None if nothing."""
    db = world.pools[world.nodes[MASTER].pool]
    host = db.by_uuid("host", world.node_named(name).uuid)
    if host is None:
        return None
    return {"enabled": db.get("host", host, "enabled"),
            "live": db.get("host_metrics", db.get("host", host, "metrics"), "live"),
            "storage": len(db.get("host", host, "PBDs"))}


@pytest.mark.parametrize("phase", JOIN_PHASES)
def test_a_join_that_fails_leaves_what_its_phases_had_done(phase: str) -> None:
    world, clock = two(JoinFault(phase, ("INTERNAL_ERROR", "x")))
    assert joined(world, clock) == ["INTERNAL_ERROR", "x"]
    soon = record(world)
    assert (soon is not None) == (phase != "exchange")
    assert soon is None or (soon["enabled"], soon["live"]) == (False, False)
    assert soon is None or bool(soon["storage"]) == (phase != "record")
    clock.at += 60
    world.advance()
    later = record(world)
    if phase == "hook":
        assert refusal(world, clock) == ["HOST_IS_SLAVE", MASTER]
        assert later is not None and later["enabled"] and later["live"]
    else:
        assert refusal(world, clock) == [] and later == soon


def test_a_joiner_whose_role_was_written_is_a_member_once_its_toolstack_has_started_again() -> None:
    world, clock = two(JoinFault("role"))
    assert joined(world, clock)[0] == "INTERNAL_ERROR"
    world = load_world(json.loads(json.dumps(save_world(world))), clock)
    world.put_in(Incident(10, "kill", "h2"))
    clock.at += 60
    world.advance()
    assert refusal(world, clock) == ["HOST_IS_SLAVE", MASTER]
    found = record(world)
    assert found is not None and found["enabled"] and found["live"]
    db = world.pools[world.nodes[MASTER].pool]
    host = db.by_uuid("host", world.node_named("h2").uuid) or ""
    assert db.get("host", host, "cpu_info") and len(world.pools) == 1


def test_a_joiner_whose_role_was_written_and_whose_record_is_gone_is_alone_until_it_is_made_a_master() -> None:
    world, clock = two(JoinFault("role"))
    joined(world, clock)
    master = client(world, clock, MASTER)
    master("host.destroy", master("host.get_by_uuid", world.node_named("h2").uuid))
    world.put_in(Incident(0, "kill", "h2"))
    clock.at += 60
    world.advance()
    assert refusal(world, clock) == ["HOST_UNKNOWN_TO_MASTER", world.node_named("h2").uuid]
    joiner = DirectClient(world, clock, JOINER)
    joiner.session = joiner.raw("session.slave_local_login_with_password", "root", "secret")
    joiner("pool.emergency_transition_to_master")
    clock.at += 60
    world.advance()
    assert refusal(world, clock) == [] and joined(world, clock) == []


def test_a_rule_meant_for_another_host_leaves_a_join_alone() -> None:
    world, clock = two(JoinFault("role", host="h1"))
    assert joined(world, clock) == []


def test_an_eject_that_fails_leaves_a_master_that_its_old_pool_lists_and_cannot_reach() -> None:
    world, clock = two(EjectFault("role", ("INTERNAL_ERROR", "x"), host="h2"), pooled=True)
    master = client(world, clock, MASTER)
    host = master("host.get_by_uuid", world.node_named("h2").uuid)
    ended = master.task(master("Async.pool.eject", host))
    assert (ended["status"], ended["error_info"]) == ("failure", ["INTERNAL_ERROR", "x"])
    assert refusal(world, clock) == ["HOST_IS_SLAVE", MASTER]
    clock.at += 20
    world.advance()
    ejected = client(world, clock, JOINER)
    assert len(ejected("host.get_all")) == 1 and len(master("host.get_all")) == 2
    for call in ("host.disable", "pool.eject"):
        with pytest.raises(Failure, match="CANNOT_CONTACT_HOST"):
            master(call, host)
    clock.at += 600
    world.advance()
    assert record(world) is not None and not master("host_metrics.get_live", master("host.get_metrics", host))
    with pytest.raises(Failure, match="HOST_OFFLINE"):
        master("pool.eject", host)
    with pytest.raises(Failure, match="Host is already part of a pool"):
        client(world, clock, JOINER)("pool.join", MASTER, "root", "secret")
    master("host.destroy", host)
    assert joined(world, clock) == []


def test_a_member_that_its_master_cannot_reach_is_alone_from_its_next_start_until_that_is_mended() -> None:
    world, clock = two(Incident(0, "one_way", "h2"), pooled=True)
    clock.at += 1
    world.advance()
    assert refusal(world, clock) == ["HOST_IS_SLAVE", MASTER], "what runs goes on"
    world.put_in(Incident(0, "kill", "h2"))
    clock.at += 200
    world.advance()
    assert refusal(world, clock) == ["HOST_MASTER_CANNOT_TALK_BACK", JOINER]
    world.put_in(Incident(0, "mend", "h2"))
    clock.at += 100
    world.advance()
    assert refusal(world, clock) == ["HOST_IS_SLAVE", MASTER]
    found = record(world)
    assert found is not None and found["enabled"] and found["live"]


def test_a_host_that_loses_power_after_its_join_has_succeeded_boots_as_a_member() -> None:
    world, clock = two()
    assert joined(world, clock) == []
    world.put_in(Incident(1, "power_off", "h2"), Incident(30, "power_on", "h2"))
    clock.at += 300
    world.advance()
    assert refusal(world, clock) == ["HOST_IS_SLAVE", MASTER]
    found = record(world)
    assert found is not None and found["enabled"] and found["live"]


def test_a_host_whose_toolstack_is_killed_after_its_join_has_succeeded_starts_as_a_member() -> None:
    world, clock = two()
    assert joined(world, clock) == []
    world.put_in(Incident(1, "kill", "h2"))
    clock.at += 5
    world.advance()
    assert refusal(world, clock) == ["HOST_IS_SLAVE", MASTER]
    clock.at += 60
    world.advance()
    assert refusal(world, clock) == ["HOST_IS_SLAVE", MASTER]
    found = record(world)
    assert found is not None and found["enabled"] and found["live"]

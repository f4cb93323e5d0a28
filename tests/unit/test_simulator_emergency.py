"""Members whose master stays away: what they answer alone, and how a pool gets a master again."""

import json

import pytest
from simulator_host import failure_of

from agent.simulator import DirectClient, Failure, direct_world
from agent.simulator.spec import HostSpec, PoolSpec, VmSpec, WorldSpec
from agent.simulator.state import load_world, save_world

H1, H2, H3 = "127.1.0.1", "127.1.0.2", "127.1.0.3"


def pool(*, ha: bool = False) -> DirectClient:
    names = ("h1", "h2", "h3")
    spec = WorldSpec(tuple(HostSpec(name, ha=ha) for name in names), (PoolSpec(names),),
                     vms=(VmSpec("v1", "h1", state="running"), VmSpec("v2", "h2", state="running")))
    world, clock = direct_world(spec)
    return DirectClient(world, clock, H1).login()


def alone(master: DirectClient, address: str) -> DirectClient:
    """Return a client with a local session on one toolstack."""
    client = DirectClient(master.world, master.clock, address)
    client.session = client.raw("session.slave_local_login_with_password", "root", "secret")
    return client


def test_a_local_session_is_for_emergency_calls_of_its_host_only() -> None:
    master = pool()
    member = alone(master, H2)
    assert member("pool.is_slave", "OpaqueRef:NULL") is True
    assert member("host.is_in_emergency_mode") is False
    assert failure_of(member, "host.get_all") == ["HOST_IS_SLAVE", H1]
    local = alone(master, H1)
    assert local("pool.is_slave", "OpaqueRef:NULL") is False
    assert failure_of(local, "host.get_all") == ["SESSION_INVALID", local.session]
    assert master("pool.is_slave", master("host.get_all")[0]) is False
    member("session.local_logout")
    assert failure_of(member, "host.is_in_emergency_mode") == ["SESSION_INVALID", member.session]
    assert failure_of(master, "session.local_logout") == ["SESSION_INVALID", master.session]
    master.address = H2  # a session of the pool is none of this toolstack alone
    assert failure_of(master, "host.is_in_emergency_mode") == ["SESSION_INVALID", master.session]
    with pytest.raises(Failure, match="SESSION_AUTHENTICATION_FAILED"):
        member.raw("session.slave_local_login_with_password", "root", "wrong")


def test_members_are_in_emergency_mode_while_their_master_is_away_and_come_back_with_it() -> None:
    master = pool()
    member = DirectClient(master.world, master.clock, H2)
    master.world.lose_power("h1")
    master.pass_time(30)
    with pytest.raises(Failure, match="HOST_IS_SLAVE"):
        member.login()
    master.pass_time(60)
    with pytest.raises(Failure, match="HOST_STILL_BOOTING"):
        member.login()
    assert alone(master, H2)("host.is_in_emergency_mode") is True
    master.world.restore_power("h1")
    master.pass_time(300)
    with pytest.raises(Failure, match="HOST_IS_SLAVE"):
        member.login()
    assert alone(master, H2)("host.is_in_emergency_mode") is False
    master.login()
    assert all(master("host.get_enabled", host) for host in master("host.get_all"))


def taken_over() -> tuple[DirectClient, DirectClient]:
    """Return clients of the lost master and of the member that took its place."""
    master = pool()
    master.world.lose_power("h1")
    master.pass_time(100)
    alone(master, H2)("pool.emergency_transition_to_master")
    master.pass_time(30)
    return master, DirectClient(master.world, master.clock, H2).login()


def test_a_member_becomes_the_master_of_what_it_knows_and_the_lost_masters_guests_stay_running_in_the_record() -> None:
    _lost, new = taken_over()
    pool_ref = new("pool.get_all")[0]
    assert new("host.get_name_label", new("pool.get_master", pool_ref)) == "h2"
    assert len(new("host.get_all")) == 3
    vm = new("VM.get_by_name_label", "v1")[0]
    assert new("VM.get_power_state", vm) == "Running"
    new("VM.power_state_reset", vm)
    assert new("VM.get_power_state", vm) == "Halted"
    assert new("VM.get_power_state", new("VM.get_by_name_label", "v2")[0]) == "Running"


def test_the_new_master_gets_its_members_back_and_hears_no_more_from_the_lost_one() -> None:
    _lost, new = taken_over()
    member = DirectClient(new.world, new.clock, H3)
    with pytest.raises(Failure, match="HOST_STILL_BOOTING"):
        member.login()
    by_name = {new("host.get_name_label", host): host for host in new("host.get_all")}
    assert new("pool.recover_slaves") == [by_name["h3"]]
    new.pass_time(40)
    with pytest.raises(Failure) as caught:
        member.login()
    assert caught.value.description == ["HOST_IS_SLAVE", H2]
    new.pass_time(700)
    live = {name: new("host_metrics.get_live", new("host.get_metrics", host)) for name, host in by_name.items()}
    assert live == {"h1": False, "h2": True, "h3": True}


def test_an_old_master_that_comes_back_thinks_it_is_the_master_until_it_is_pointed_to_the_new_one() -> None:
    old, new = taken_over()
    new("pool.recover_slaves")
    old.world.restore_power("h1")
    old.pass_time(200)
    assert len(old.login()("host.get_all")) == 3
    new("pool.recover_slaves")
    old.pass_time(40)
    with pytest.raises(Failure, match="HOST_IS_SLAVE"):
        old.login()
    host = new("host.get_by_name_label", "h1")[0]
    assert new("host.get_enabled", host) is True


def test_a_member_that_is_pointed_to_a_master_who_does_not_know_it_says_so() -> None:
    spec = WorldSpec((HostSpec("h1"), HostSpec("h2"), HostSpec("h3")), (PoolSpec(("h1", "h2")),))
    world, clock = direct_world(spec)
    member = alone(DirectClient(world, clock, H1), H2)
    member("pool.emergency_reset_master", H3)
    clock.at += 30
    with pytest.raises(Failure) as caught:
        member.login()
    assert caught.value.description == ["HOST_UNKNOWN_TO_MASTER", world.node_named("h2").uuid]
    master = DirectClient(world, clock, H1).login()
    metrics = master("host.get_metrics", master("host.get_by_name_label", "h2")[0])
    assert master("host_metrics.get_live", metrics) is True
    master.pass_time(600)
    assert master("host_metrics.get_live", metrics) is False
    alone(member, H2)("pool.emergency_reset_master", H1)
    clock.at += 40
    with pytest.raises(Failure) as caught:
        member.login()
    assert caught.value.description == ["HOST_IS_SLAVE", H1]


def test_a_host_whose_record_was_destroyed_while_it_was_off_is_unknown_to_its_master() -> None:
    spec = WorldSpec((HostSpec("h1"), HostSpec("h2")), (PoolSpec(("h1", "h2")),))
    world, clock = direct_world(spec)
    master = DirectClient(world, clock, H1).login()
    world.lose_power("h2")
    master.pass_time(601)
    master("host.destroy", master("host.get_by_name_label", "h2")[0])
    world.restore_power("h2")
    master.pass_time(130)
    assert failure_of(DirectClient(world, clock, H2), "host.get_all") == [
        "HOST_UNKNOWN_TO_MASTER", world.node_named("h2").uuid]


def test_with_ha_nobody_changes_masters_by_hand() -> None:
    member = alone(pool(ha=True), H2)
    assert failure_of(member, "pool.emergency_transition_to_master") == ["HA_IS_ENABLED"]
    assert failure_of(member, "pool.emergency_reset_master", H3) == ["HA_IS_ENABLED"]


def test_a_saved_world_goes_on_in_the_middle_of_an_emergency() -> None:
    master = pool()
    master.world.lose_power("h1")
    master.pass_time(100)
    member = alone(master, H2)
    member("pool.emergency_transition_to_master")
    member.world = load_world(json.loads(json.dumps(save_world(master.world))), master.clock)
    assert member("host.is_in_emergency_mode") is True
    member.pass_time(30)
    assert len(member.login()("host.get_all")) == 3

"""What a master's sudden death loses: additions, changes and deletions since its database was last written."""

import json

import pytest

from agent.simulator import DirectClient, Failure, direct_world
from agent.simulator.fault_spec import Incident
from agent.simulator.spec import HostSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec
from agent.simulator.state import load_world, save_world
from agent.simulator.strays import listed as strays

NULL = "OpaqueRef:NULL"


def pool() -> DirectClient:
    names = ("h1", "h2", "h3")
    spec = WorldSpec(tuple(HostSpec(name) for name in names), (PoolSpec(names),), (StorageSpec("shared", "h1"),),
                     vms=(VmSpec("m", "h1", state="running", disks=("shared",)),
                          VmSpec("v", "h2", state="running", disks=("shared",)),
                          VmSpec("halted", "h1", disks=("shared",))))
    world, clock = direct_world(spec)
    return DirectClient(world, clock, "127.1.0.1").login()


def ref(client: DirectClient, cls: str, name: str) -> str:
    return str(client(f"{cls}.get_by_name_label", name)[0])


def crash(client: DirectClient) -> None:
    client.world.put_in(Incident(0, "crash", "h1", loses=True))
    client.pass_time(30)
    client.login()


def where(client: DirectClient, vm: str) -> tuple[str, str]:
    return client("VM.get_power_state", vm), client("VM.get_resident_on", vm)


def places(client: DirectClient) -> list[tuple[str, str]]:
    return [(stray["vm"], stray["host"]) for stray in strays(client.world)]


def test_changes_and_deletions_go_back_to_what_was_written() -> None:
    client = pool()
    host, halted = ref(client, "host", "h2"), ref(client, "VM", "halted")
    client("host.disable", host)
    client("pool.sync_database")
    client("host.enable", host)
    client("VM.set_name_label", ref(client, "VM", "v"), "renamed")
    disks = client("VM.get_VBDs", halted)
    client("VM.destroy", halted)
    crash(client)
    assert client("host.get_enabled", host) is False
    assert client("VM.get_by_name_label", "renamed") == []
    assert client("VM.get_VBDs", halted) == disks
    assert places(client) == []


def test_what_was_written_stays() -> None:
    client = pool()
    client("VM.set_name_label", ref(client, "VM", "v"), "renamed")
    client("pool.sync_database")
    crash(client)
    assert client("VM.get_by_name_label", "renamed")


def test_a_vm_that_was_started_since_is_halted_while_its_domain_runs_on() -> None:
    client = pool()
    halted, host = ref(client, "VM", "halted"), ref(client, "host", "h3")
    client("VM.start_on", halted, host, False, False)
    client.pass_time(10)
    crash(client)
    assert where(client, halted) == ("Halted", NULL)
    assert places(client) == [("halted", "h3")]


def test_a_vm_that_left_the_master_since_is_halted_by_it_and_runs_on_where_it_went() -> None:
    client = pool()
    vm = ref(client, "VM", "m")
    client("VM.pool_migrate", vm, ref(client, "host", "h3"), {})
    client.pass_time(120)
    assert where(client, vm) == ("Running", ref(client, "host", "h3"))
    crash(client)
    assert where(client, vm) == ("Halted", NULL)
    assert places(client) == [("m", "h3")]


def test_a_vm_that_left_a_member_since_is_said_to_run_there_still_and_is_a_ghost() -> None:
    client = pool()
    vm, home = ref(client, "VM", "v"), ref(client, "host", "h2")
    client("VM.pool_migrate", vm, ref(client, "host", "h3"), {})
    client.pass_time(120)
    crash(client)
    assert where(client, vm) == ("Running", home)
    assert places(client) == [("v", "h3")]
    with pytest.raises(Failure) as caught:
        client("VM.hard_shutdown", vm)
    assert caught.value.code == "INTERNAL_ERROR"


def test_a_vm_that_was_shut_down_since_has_no_domain_where_it_is_said_to_run() -> None:
    client = pool()
    mine, other = ref(client, "VM", "m"), ref(client, "VM", "v")
    for vm in (mine, other):
        client("VM.clean_shutdown", vm)
    client.pass_time(10)
    crash(client)
    assert where(client, mine) == ("Halted", NULL)
    assert where(client, other) == ("Running", ref(client, "host", "h2"))
    assert places(client) == []


def test_a_host_whose_death_is_forgotten_is_missed_once_more() -> None:
    client = pool()
    metrics = client("host.get_metrics", ref(client, "host", "h3"))
    client.world.put_in(Incident(0, "power_off", "h3"))
    client.pass_time(601)
    assert client("host_metrics.get_live", metrics) is False
    crash(client)
    assert client("host_metrics.get_live", metrics) is True
    client.pass_time(600)
    assert client("host_metrics.get_live", metrics) is False


def test_a_saved_world_knows_what_is_not_written() -> None:
    client = pool()
    client("VM.set_name_label", ref(client, "VM", "v"), "renamed")
    client("VM.destroy", ref(client, "VM", "halted"))
    loaded = load_world(json.loads(json.dumps(save_world(client.world))), client.clock)
    client = DirectClient(loaded, client.clock, "127.1.0.1").login()
    crash(client)
    names = [vm["name_label"] for vm in client("VM.get_all_records").values() if not vm["is_control_domain"]]
    assert sorted(names) == ["halted", "m", "v"]


def test_a_client_that_waits_with_its_old_token_is_told_that_what_was_deleted_is_there() -> None:
    client = pool()
    halted = ref(client, "VM", "halted")
    token = client("event.from", ["vm"], "", 0.0)["token"]
    client("VM.destroy", halted)
    crash(client)
    told = [event["operation"] for event in client("event.from", ["vm"], token, 0.0)["events"]
            if event["ref"] == halted]
    assert told == ["add"]


def test_a_member_whose_copy_lags_knows_what_was_written_when_it_is_made_the_master() -> None:
    client = pool()
    vm, halted = ref(client, "VM", "v"), ref(client, "VM", "halted")
    client("VM.destroy", halted)
    client("VM.pool_migrate", vm, ref(client, "host", "h3"), {})
    client.pass_time(120)
    client.world.put_in(Incident(0, "lag", "h2"), Incident(0, "power_off", "h1"))
    client.pass_time(90)
    member = DirectClient(client.world, client.clock, "127.1.0.2")
    member.session = member.raw("session.slave_local_login_with_password", "root", "secret")
    member("pool.emergency_transition_to_master")
    member.pass_time(60)
    member.login()
    assert member("VM.get_uuid", halted)
    assert where(member, vm) == ("Halted", NULL)
    assert [stray["host"] for stray in strays(member.world)] == ["h3"]

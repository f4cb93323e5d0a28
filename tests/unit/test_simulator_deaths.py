"""Sudden deaths of toolstacks, members without a master, and sessions that nobody uses any more."""

import json

import pytest

from agent.simulator import DirectClient, Dropped, Failure, direct_world
from agent.simulator.crashes import strays
from agent.simulator.fault_spec import Incident
from agent.simulator.spec import GIB, HostSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec
from agent.simulator.state import load_world, save_world


def pool(home: str = "h1") -> DirectClient:
    names = ("h1", "h2", "h3")
    spec = WorldSpec(tuple(HostSpec(name) for name in names), (PoolSpec(names),), (StorageSpec("shared", "h1"),),
                     vms=(VmSpec("v", home, state="running", memory=16 * GIB, disks=("shared",)),))
    world, clock = direct_world(spec)
    return DirectClient(world, clock, "127.1.0.1").login()


def ref(client: DirectClient, cls: str, name: str) -> str:
    return str(client(f"{cls}.get_by_name_label", name)[0])


def crash_in_mid_migration(client: DirectClient, host: str, target: str = "h2") -> str:
    """Return the task of a migration during which a host's toolstack is killed."""
    task = str(client("Async.VM.pool_migrate", ref(client, "VM", "v"), ref(client, "host", target), {}))
    client.pass_time(5)
    client.world.put_in(Incident(0, "crash", host))
    client.pass_time(20)
    return task


def failure_of(client: DirectClient, method: str, *params: object) -> list[str]:
    with pytest.raises(Failure) as caught:
        client(method, *params)
    return caught.value.description


def test_a_master_that_is_killed_in_mid_migration_forgets_the_vm_while_its_domain_runs_on() -> None:
    client = pool()
    task = crash_in_mid_migration(client, "h1")
    client.login()
    vm, host = ref(client, "VM", "v"), ref(client, "host", "h2")
    assert (client("VM.get_power_state", vm), client("VM.get_resident_on", vm)) == ("Halted", "OpaqueRef:NULL")
    assert failure_of(client, "task.get_status", task)[0] == "HANDLE_INVALID"
    assert strays(client.world) == [
        {"uuid": client("VM.get_uuid", vm), "vm": "v", "host": "h2", "twice": False}]
    assert failure_of(client, "VM.start_on", vm, host, False, False) == [
        "VM_BAD_POWER_STATE", vm, "Halted", "Running"]
    assert (client("VM.get_power_state", vm), client("VM.get_resident_on", vm)) == ("Running", host)
    assert strays(client.world) == []


def test_a_vm_that_is_started_elsewhere_while_its_domain_runs_on_runs_twice_until_that_host_goes_down() -> None:
    client = pool()
    crash_in_mid_migration(client, "h1")
    client.login()
    client("VM.start_on", ref(client, "VM", "v"), ref(client, "host", "h3"), False, False)
    assert [stray["twice"] for stray in strays(client.world)] == [True]
    loaded = load_world(json.loads(json.dumps(save_world(client.world))), client.clock)
    assert strays(loaded) == strays(client.world)
    client.world.put_in(Incident(0, "power_off", "h2"))
    client.pass_time(1)
    assert strays(client.world) == []


def test_a_destination_that_is_killed_fails_the_task_of_a_vm_that_has_moved() -> None:
    client = pool()
    task = client.task(crash_in_mid_migration(client, "h2"))
    assert (task["status"], task["error_info"][0]) == ("failure", "INTERNAL_ERROR")
    assert client("VM.get_resident_on", ref(client, "VM", "v")) == ref(client, "host", "h2")


def test_a_source_that_is_killed_cannot_be_contacted() -> None:
    client = pool(home="h3")
    task = client.task(crash_in_mid_migration(client, "h3"))
    assert task["error_info"] == ["CANNOT_CONTACT_HOST", ref(client, "host", "h3")]


def test_a_toolstack_that_ends_in_order_lets_the_migration_finish() -> None:
    client = pool()
    client("Async.VM.pool_migrate", ref(client, "VM", "v"), ref(client, "host", "h2"), {})
    client.pass_time(5)
    client.world.put_in(Incident(0, "kill", "h1"))
    client.pass_time(60)
    client.login()
    assert client("VM.get_resident_on", ref(client, "VM", "v")) == ref(client, "host", "h2")


def answer_of(client: DirectClient, address: str) -> str:
    try:
        DirectClient(client.world, client.clock, address).login()
    except Dropped:
        return "nothing"
    except Failure as failure:
        return failure.code
    return "a session"


def test_a_restarted_member_is_still_booting_for_a_moment() -> None:
    client, seen = pool(), list[str]()
    client("host.restart_agent", ref(client, "host", "h2"))
    for _ in range(130):
        client.pass_time(0.1)
        answer = answer_of(client, "127.1.0.2")
        if seen[-1:] != [answer]:
            seen.append(answer)
    assert seen == ["HOST_IS_SLAVE", "nothing", "HOST_IS_SLAVE", "HOST_STILL_BOOTING", "HOST_IS_SLAVE"]


def test_a_member_that_starts_without_its_master_waits_for_it_in_emergency_mode() -> None:
    client = pool()
    client.world.put_in(Incident(0, "power_off", "h1"), Incident(1, "kill", "h2"), Incident(100, "power_on", "h1"))
    client.pass_time(10)
    assert answer_of(client, "127.1.0.2") == "HOST_STILL_BOOTING"
    assert answer_of(client, "127.1.0.3") == "HOST_IS_SLAVE"
    client.pass_time(100 + 120 + 70)
    assert answer_of(client, "127.1.0.2") == "HOST_IS_SLAVE"
    client.login()
    client.pass_time(20)
    assert client("host.get_enabled", ref(client, "host", "h2")) is True


def test_an_originator_has_five_hundred_sessions_and_an_idle_one_ends_after_a_day() -> None:
    client = pool()
    other = DirectClient(client.world, client.clock, client.address, originator="other").login()
    first = DirectClient(client.world, client.clock, client.address, originator="many").login()
    client.pass_time(1)
    many = [DirectClient(client.world, client.clock, client.address, originator="many").login() for _ in range(500)]
    assert failure_of(first, "host.get_all") == ["SESSION_INVALID", first.session]
    assert many[0]("host.get_all") and other("host.get_all")
    client.pass_time(23 * 3600)
    assert other("host.get_all")
    client.pass_time(2 * 3600)
    client.login()
    assert failure_of(many[0], "host.get_all") == ["SESSION_INVALID", many[0].session]
    assert other("host.get_all")

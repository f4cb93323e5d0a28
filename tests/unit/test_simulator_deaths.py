"""Sudden deaths of toolstacks, members without a master, and sessions that nobody uses any more."""

import json

import pytest

from agent.simulator import DirectClient, Dropped, Failure, direct_world
from agent.simulator.fault_spec import Incident
from agent.simulator.spec import GIB, HostSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec
from agent.simulator.state import load_world, save_world
from agent.simulator.strays import listed as strays


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


def ghost() -> tuple[DirectClient, str]:
    """Return a pool, and a VM whose destination was killed when the VM was just changing over."""
    client = pool()
    client("Async.VM.pool_migrate", ref(client, "VM", "v"), ref(client, "host", "h2"), {})
    (job,) = client.world.jobs.values()
    while job["phase"] != "device":
        client.pass_time(0.1)
    client.world.put_in(Incident(0, "crash", "h2"))
    client.pass_time(20)
    return client, ref(client, "VM", "v")


def test_a_destination_that_is_killed_while_a_vm_changes_over_leaves_a_ghost_that_nothing_can_shut_down() -> None:
    client, vm = ghost()
    home, there = ref(client, "host", "h1"), ref(client, "host", "h2")
    assert (client("VM.get_power_state", vm), client("VM.get_resident_on", vm)) == ("Running", home)
    uuid = client("VM.get_uuid", vm)
    missing = ["INTERNAL_ERROR", f"Object with type VM and id {uuid}/config does not exist in xenopsd"]
    assert failure_of(client, "VM.hard_shutdown", vm) == failure_of(client, "VM.clean_shutdown", vm) == missing
    assert failure_of(client, "VM.pool_migrate", vm, there, {}) == missing
    assert strays(client.world) == [{"uuid": uuid, "vm": "v", "host": "h2", "twice": False}]


def test_a_ghost_that_is_declared_halted_leaves_a_domain_that_a_start_at_its_host_does_not_find() -> None:
    client, vm = ghost()
    client("VM.power_state_reset", vm)
    assert client("VM.get_power_state", vm) == "Halted"
    client("VM.start_on", vm, ref(client, "host", "h2"), False, False)
    assert [stray["twice"] for stray in strays(client.world)] == [True]
    loaded = load_world(json.loads(json.dumps(save_world(client.world))), client.clock)
    assert strays(loaded) == strays(client.world)


def test_a_ghost_is_one_also_after_the_machine_of_its_domain_has_gone_down() -> None:
    client, vm = ghost()
    client.world.put_in(Incident(0, "power_off", "h2"))
    client.pass_time(1)
    assert strays(client.world) == []
    assert failure_of(client, "VM.hard_shutdown", vm)[0] == "INTERNAL_ERROR"


def test_what_was_made_since_the_database_was_last_written_is_gone_after_a_masters_sudden_death() -> None:
    client = pool()
    old = str(client("VM.get_uuid", ref(client, "VM", "v")))
    kept = client("VM.create", {**client("VM.get_record", ref(client, "VM", "v")), "name_label": "kept"})
    client("pool.sync_database")
    lost = client("VM.create", {**client("VM.get_record", ref(client, "VM", "v")), "name_label": "lost"})
    client.world.put_in(Incident(0, "crash", "h1", loses=True))
    client.pass_time(20)
    client.login()
    assert client("VM.get_by_uuid", old) and client("VM.get_name_label", kept) == "kept"
    assert failure_of(client, "VM.get_name_label", lost) == ["HANDLE_INVALID", "VM", lost]


def test_a_join_that_was_not_written_is_gone_as_the_joiner_learns_when_it_starts_again() -> None:
    spec = WorldSpec((HostSpec("h1"), HostSpec("h2")))
    world, clock = direct_world(spec)
    joiner = DirectClient(world, clock, "127.1.0.2").login()
    joiner("Async.pool.join", "127.1.0.1", "root", "secret")
    joiner.pass_time(60)
    client = DirectClient(world, clock, "127.1.0.1").login()
    assert len(client("host.get_all")) == 2
    world.put_in(Incident(0, "crash", "h1", loses=True))
    client.pass_time(120)
    assert len(client.login()("host.get_all")) == 1
    world.put_in(Incident(0, "kill", "h2"))
    client.pass_time(60)
    assert answer_of(client, "127.1.0.2") == "HOST_UNKNOWN_TO_MASTER"


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
    assert failure_of(many[0], "host.get_all") == ["SESSION_INVALID", many[0].session]
    client.login()
    assert failure_of(client, "session.get_uuid", many[1].session)[0] == "HANDLE_INVALID"
    assert other("host.get_all")

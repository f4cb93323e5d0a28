"""Hypervisor daemons that stand still or die while xapi goes on."""

import pytest

from agent.simulator import DirectClient, Failure, direct_world
from agent.simulator.fault_spec import Incident
from agent.simulator.spec import GIB, HostSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec


def pool() -> DirectClient:
    spec = WorldSpec((HostSpec("h1"), HostSpec("h2")), (PoolSpec(("h1", "h2")),), (StorageSpec("shared", "h1"),),
                     vms=(VmSpec("v", "h1", state="running", memory=16 * GIB, disks=("shared",)),))
    return DirectClient(*direct_world(spec), "127.1.0.1").login()


def ref(client: DirectClient, cls: str, name: str) -> str:
    return str(client(f"{cls}.get_by_name_label", name)[0])


def befall(client: DirectClient, what: str, host: str, seconds: float = 0) -> None:
    client.world.put_in(Incident(0, what, host))
    client.pass_time(seconds)


def streaming() -> tuple[DirectClient, str]:
    """Return a pool and the task of a migration from h1 to h2 that streams."""
    client = pool()
    task = str(client("Async.VM.pool_migrate", ref(client, "VM", "v"), ref(client, "host", "h2"), {}))
    client.pass_time(5)
    return client, task


def home_of(client: DirectClient) -> str:
    host = client("VM.get_resident_on", ref(client, "VM", "v"))
    return str(client("host.get_name_label", host))


@pytest.mark.parametrize("host", ["h1", "h2"])
def test_a_migration_hangs_while_the_daemon_at_one_of_its_ends_stands_still(host: str) -> None:
    client, task = streaming()
    befall(client, "freeze", host, 600)
    assert client("task.get_status", task) == "pending" and home_of(client) == "h1"
    befall(client, "thaw", host, 60)
    assert (client("task.get_status", task), home_of(client)) == ("success", "h2")


def test_a_cancel_waits_for_a_frozen_daemon() -> None:
    client, task = streaming()
    befall(client, "freeze", "h2")
    client("task.cancel", task)
    client.pass_time(60)
    assert client("task.get_status", task) == "pending"
    befall(client, "thaw", "h2", 1)
    assert (client("task.get_status", task), home_of(client)) == ("cancelled", "h1")


def test_a_vm_that_streams_to_a_frozen_daemon_stays_at_home_when_the_master_restarts() -> None:
    client, _ = streaming()
    befall(client, "freeze", "h2")
    befall(client, "kill", "h1", 30)
    befall(client, "thaw", "h2", 120)
    client.login()
    assert home_of(client) == "h1"
    assert client("VM.get_scheduled_to_be_resident_on", ref(client, "VM", "v")) == "OpaqueRef:NULL"


def test_what_a_dead_daemon_did_is_stuck_and_cannot_be_cancelled_until_xapi_restarts() -> None:
    client, task = streaming()
    befall(client, "lose_daemon", "h1", 600)
    vm = ref(client, "VM", "v")
    assert client("task.get_status", task) == "pending"
    assert client("VM.get_current_operations", vm) == {task: "pool_migrate"}
    with pytest.raises(Failure) as caught:
        client("task.cancel", task)
    assert caught.value.code == "INTERNAL_ERROR" and "Does_not_exist" in caught.value.description[1]
    befall(client, "kill", "h1", 30)
    client.login()
    assert client("VM.get_current_operations", vm) == {} and home_of(client) == "h1"
    client("VM.pool_migrate", vm, ref(client, "host", "h2"), {})
    client.pass_time(120)
    assert home_of(client) == "h2"


def test_a_member_whose_daemon_died_fails_the_task_when_its_toolstack_restarts() -> None:
    client = pool()
    vm, there = ref(client, "VM", "v"), ref(client, "host", "h2")
    client("VM.pool_migrate", vm, there, {})
    client.pass_time(120)
    task = client("Async.VM.pool_migrate", vm, ref(client, "host", "h1"), {})
    client.pass_time(5)
    befall(client, "lose_daemon", "h2", 100)
    befall(client, "kill", "h2", 30)
    assert client("task.get_error_info", task) == ["CANNOT_CONTACT_HOST", there]
    assert home_of(client) == "h2"


def test_a_migration_to_a_master_whose_daemon_stands_still_shows_nowhere_until_that_goes_on() -> None:
    client = pool()
    vm, home, there = ref(client, "VM", "v"), ref(client, "host", "h1"), ref(client, "host", "h2")
    client("VM.pool_migrate", vm, there, {})
    client.pass_time(120)
    befall(client, "freeze", "h1")
    task, late = (client("Async.VM.pool_migrate", vm, home, {}) for _ in range(2))
    client.pass_time(60)
    assert client("task.get_status", task) == "pending" and client("task.get_allowed_operations", task) == []
    assert client("VM.get_current_operations", vm) == {} == client("host.get_current_operations", home)
    befall(client, "thaw", "h1", 1)
    assert client("VM.get_current_operations", vm) == {task: "pool_migrate"}
    client("host.disable", home)
    client.pass_time(120)
    assert home_of(client) == "h1" and client("task.get_status", late) == "success"
    client("VM.pool_migrate", vm, there, {})
    client.pass_time(120)
    befall(client, "freeze", "h1")
    refused = client("Async.VM.pool_migrate", vm, home, {})
    befall(client, "thaw", "h1", 1)
    assert client("task.get_error_info", refused) == ["HOST_DISABLED", home]


def test_a_frozen_daemon_keeps_nobody_from_its_xapi() -> None:
    client = pool()
    befall(client, "freeze", "h1", 60)
    assert len(client("host.get_all")) == 2

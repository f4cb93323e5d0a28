"""High availability as far as calls show it, and host operations that wait for each other."""

from typing import Any

import pytest
from simulator_host import failure_of

from agent.simulator import DirectClient, direct_world
from agent.simulator.spec import GIB, HostSpec, NetworkSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec


def pool(*vms: VmSpec, ha: bool = True, hosts: int = 2, **host: Any) -> DirectClient:
    names = tuple(f"h{number}" for number in range(1, hosts + 1))
    spec = WorldSpec(tuple(HostSpec(name, ha=ha, memory=16 * GIB, **host) for name in names), (PoolSpec(names),),
                     (StorageSpec("shared", "h1"),), (NetworkSpec("guests", "h1", "eth1"),), vms)
    world, clock = direct_world(spec)
    return DirectClient(world, clock, "127.1.0.1").login()


def guest(name: str, host: str, **more: Any) -> VmSpec:
    return VmSpec(name, host, state="running", memory=6 * GIB, disks=("shared",), **more)


def ref(client: DirectClient, cls: str, name: str) -> str:
    return str(client(f"{cls}.get_by_name_label", name)[0])


def protect(client: DirectClient, *names: str, failures: int = 1) -> None:
    for name in names:
        client("VM.set_ha_restart_priority", ref(client, "VM", name), "restart")
    client("pool.set_ha_host_failures_to_tolerate", client("pool.get_all")[0], failures)


BREAKS = ["HA_OPERATION_WOULD_BREAK_FAILOVER_PLAN"]


def test_a_host_whose_leaving_would_break_the_plan_is_neither_disabled_nor_evacuated() -> None:
    client = pool(guest("a", "h1"))
    protect(client, "a")
    host = ref(client, "host", "h2")
    assert failure_of(client, "host.disable", host) == BREAKS
    assert failure_of(client, "host.evacuate", host) == BREAKS
    client("pool.set_ha_allow_overcommit", client("pool.get_all")[0], True)
    client("host.disable", host)


def test_where_there_is_no_plan_there_is_none_to_break() -> None:
    client = pool(guest("a", "h1"), guest("b", "h1"), guest("c", "h2"))
    for name in "abc":
        client("VM.set_ha_restart_priority", ref(client, "VM", name), "restart")
    one = client("pool.get_all")[0]
    assert failure_of(client, "pool.set_ha_host_failures_to_tolerate", one, 1) == BREAKS
    assert failure_of(client, "pool.set_ha_host_failures_to_tolerate", one, -1)[0] == "INVALID_VALUE"
    client("host.disable", ref(client, "host", "h2"))


def test_a_vm_is_not_started_where_it_takes_the_room_of_the_plan() -> None:
    client = pool(guest("a", "h1"), VmSpec("big", "h1", memory=9 * GIB, disks=("shared",)))
    protect(client, "a")
    start = (ref(client, "VM", "big"), ref(client, "host", "h2"), False, False)
    assert failure_of(client, "VM.start_on", *start) == BREAKS
    protect(client, failures=0)
    client("VM.start_on", *start)


def test_a_vm_is_not_moved_to_a_host_whose_failure_nobody_could_bear_then() -> None:
    client = pool(guest("a", "h1"), guest("b", "h2"), guest("c", "h3"), hosts=3)
    protect(client, "a", "b")
    move: tuple[str, str, dict[str, str]] = (ref(client, "VM", "b"), ref(client, "host", "h1"), {})
    client("VM.pool_migrate", *move)
    client("VM.pool_migrate", ref(client, "VM", "b"), ref(client, "host", "h2"), {})
    client("host.disable", ref(client, "host", "h2"))
    assert failure_of(client, "VM.pool_migrate", *move) == BREAKS


@pytest.mark.parametrize("version, code", [
    ("24.16.0", "HOST_NOT_ENOUGH_FREE_MEMORY"), ("26.17.0", "HOST_EVACUATE_VM_NOT_HA_PROTECTED")])
def test_an_unprotected_vm_prevents_an_evacuation_by_a_name_that_depends_on_the_version(
        version: str, code: str) -> None:
    client = pool(guest("a", "h2"), guest("b", "h2"), version=version)
    client("VM.set_ha_restart_priority", ref(client, "VM", "a"), "restart")
    vm, host = ref(client, "VM", "b"), ref(client, "host", "h2")
    assert client("host.get_vms_which_prevent_evacuation", host) == {vm: [code, vm]}
    assert failure_of(client, "host.evacuate", host) == [code, vm]


def test_with_ha_the_pool_keeps_its_members_and_its_master() -> None:
    client = pool()
    host = ref(client, "host", "h2")
    assert failure_of(client, "pool.eject", host) == ["HA_IS_ENABLED"]
    assert failure_of(client, "pool.designate_new_master", host) == ["HA_IS_ENABLED"]


def test_a_vm_is_agile_unless_a_disk_a_network_or_a_device_ties_it_to_some_hosts() -> None:
    client = pool(guest("free", "h1", networks=("guests",)), VmSpec("local", "h1", disks=("local",)),
                  guest("vgpu", "h2", blockers=("vgpu",)), ha=False)
    assert client("VM.assert_agile", ref(client, "VM", "free")) is None
    local = ref(client, "VM", "local")
    code, repository = failure_of(client, "VM.assert_agile", local)
    assert (code, client("SR.get_name_label", repository)) == ("HA_CONSTRAINT_VIOLATION_SR_NOT_SHARED", "Local storage")
    assert failure_of(client, "VM.assert_agile", ref(client, "VM", "vgpu"))[0] == "VM_HAS_VGPU"


def under_way(client: DirectClient) -> tuple[str, str]:
    """Return the migration of `a` from h1 to h2 that has just begun, and h2."""
    host = ref(client, "host", "h2")
    return str(client("Async.VM.pool_migrate", ref(client, "VM", "a"), host, {})), host


def test_an_evacuation_waits_for_what_is_on_its_way_to_the_host_and_can_be_called_off_meanwhile() -> None:
    client = pool(guest("a", "h1"), ha=False)
    migration, host = under_way(client)
    first, second = client("Async.host.evacuate", host), client("Async.host.evacuate", host)
    client("task.cancel", second)
    assert client("task.get_status", first) == "pending"
    assert client.task(migration)["status"] == "success"
    assert client.task(second)["status"] == "cancelled"
    assert client.task(first)["status"] == "success"
    assert client("VM.get_resident_on", ref(client, "VM", "a")) == ref(client, "host", "h1")


def test_a_reboot_waits_for_a_vm_on_its_way() -> None:
    client = pool(guest("a", "h1"), ha=False)
    migration, host = under_way(client)
    client("host.disable", host)
    reboot = client("Async.host.reboot", host)
    assert client("host.get_current_operations", host) == {migration: "vm_migrate"}
    assert client.task(reboot)["status"] == "success"
    assert client("task.get_status", migration) == "success"
    assert list(client("host.get_current_operations", host).values()) == ["shutdown"]


def test_a_wait_of_more_than_two_hours_ends_in_a_refusal() -> None:
    client = pool(guest("a", "h1"), ha=False, link=1)
    _migration, host = under_way(client)
    task = client("Async.host.evacuate", host)
    client.pass_time(2 * 3600 + 30)
    assert client("task.get_error_info", task)[:4] == ["OTHER_OPERATION_IN_PROGRESS", "host", host, "vm_migrate"]

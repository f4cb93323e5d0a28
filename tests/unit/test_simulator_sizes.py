"""How large simulated VMs are, and paused ones."""


import pytest
from simulator_host import failure_of, one_host

from agent.simulator.spec import GIB


@pytest.mark.parametrize("method, values, shown", [
    ("set_memory", [3 * GIB], (GIB // 8, 3 * GIB, 3 * GIB, 3 * GIB)),
    ("set_memory_limits", [GIB, 4 * GIB, 2 * GIB, 3 * GIB], (GIB, 2 * GIB, 3 * GIB, 4 * GIB)),
    ("set_memory_static_max", [5 * GIB], (GIB // 8, GIB, GIB, 5 * GIB)),
    ("set_memory_dynamic_min", [GIB // 2], (GIB // 8, GIB // 2, GIB, GIB)),
    ("set_memory_dynamic_range", [GIB // 4, GIB // 2], (GIB // 8, GIB // 4, GIB // 2, GIB)),
    ("set_memory_static_range", [GIB // 4, 2 * GIB], (GIB // 4, GIB, GIB, 2 * GIB))])
def test_memory_limits_are_set_in_their_order(method: str, values: list[int], shown: tuple[int, ...]) -> None:
    client = one_host()
    vm = client("VM.create", {"name_label": "sized", "memory_static_max": GIB, "memory_dynamic_max": GIB,
                              "memory_dynamic_min": GIB, "memory_static_min": GIB // 8, "VCPUs_max": 1,
                              "VCPUs_at_startup": 1})
    client(f"VM.{method}", vm, *values)
    record = client("VM.get_record", vm)
    limits = ("static_min", "dynamic_min", "dynamic_max", "static_max")
    assert tuple(record[f"memory_{name}"] for name in limits) == shown
    assert record["memory_overhead"] == client("VM.compute_memory_overhead", vm)


def test_a_size_that_cannot_be_is_refused() -> None:
    client = one_host()
    vm, host = client("VM.get_by_name_label", "vm01")[0], client("host.get_all")[0]
    most = client("VM.get_memory_static_max", vm)
    assert failure_of(client, "VM.set_memory_dynamic_min", vm, most + 1)[0] == "MEMORY_CONSTRAINT_VIOLATION"
    assert failure_of(client, "VM.set_VCPUs_at_startup", vm, 99)[0] == "INVALID_VALUE"
    client("VM.set_VCPUs_max", vm, 4)
    client("VM.set_HVM_shadow_multiplier", vm, 2.0)
    assert client("VM.get_memory_overhead", vm) == client("VM.compute_memory_overhead", vm)
    client("VM.start_on", vm, host, False, False)
    assert failure_of(client, "VM.set_memory", vm, GIB) == ["VM_BAD_POWER_STATE", vm, "halted", "running"]
    free = client("host.compute_free_memory", host)
    client("VM.set_memory_dynamic_range", vm, most // 2, most // 2)
    assert client("host.compute_free_memory", host) == free + most // 2
    assert client("VM.get_memory_target", vm) == most // 2


def test_a_paused_vm_stays_where_it_is_and_goes_on_or_ends() -> None:
    client = one_host()
    vm, host = client("VM.get_by_name_label", "vm01")[0], client("host.get_all")[0]
    client("VM.start_on", vm, host, True, False)
    assert (client("VM.get_power_state", vm), client("VM.get_resident_on", vm)) == ("Paused", host)
    assert failure_of(client, "VM.pool_migrate", vm, host, {}) == ["VM_BAD_POWER_STATE", vm, "running", "paused"]
    client("VM.unpause", vm)
    client("VM.pause", vm)
    assert "unpause" in client("VM.get_allowed_operations", vm)
    client("VM.hard_shutdown", vm)
    assert client("VM.get_power_state", vm) == "Halted"

"""Calls that change how large a VM is: memory limits, virtual processors, the shadow multiplier.

Where nothing was observed it follows the documented order of the limits: static_min <= dynamic_min <=
dynamic_max <= static_max, each change wholly or not at all.
"""

from typing import TYPE_CHECKING

from agent.simulator.failure import Failure
from agent.simulator.memory import vm_overhead
from agent.simulator.placement import assert_power

if TYPE_CHECKING:
    from agent.simulator.call import Call

LIMITS = ("static_min", "dynamic_min", "dynamic_max", "static_max")
MOST_SHADOW = 2.0**30  # more of anything is no number of bytes that could be stored


def _limit(call: "Call", vm: str, **changes: int) -> None:
    """Set some of the four limits; static ones, and any of a VM that is not running, want it halted."""
    db = call.db
    if any(name.startswith("static") for name in changes):
        assert_power(db, vm, "Halted")
    else:
        assert_power(db, vm, "Halted", "Running")
    values = [changes.get(name, db.get("VM", vm, f"memory_{name}")) for name in LIMITS]
    if sorted(values) != values or values[0] < 0:
        raise Failure("MEMORY_CONSTRAINT_VIOLATION", "Memory limits must satisfy: "
                      "static_min <= dynamic_min <= dynamic_max <= static_max")
    db.set("VM", vm, **{f"memory_{name}": value for name, value in changes.items()})
    db.set("VM", vm, memory_overhead=vm_overhead(db, vm))
    if db.get("VM", vm, "power_state") == "Running" and "dynamic_max" in changes:
        db.set("VM", vm, memory_target=changes["dynamic_max"])
        db.set("VM_metrics", db.get("VM", vm, "metrics"), memory_actual=changes["dynamic_max"])


def set_memory(call: "Call", vm: str, value: int) -> None:
    """Give a halted VM exactly this much."""
    low = min(value, call.db.get("VM", vm, "memory_static_min"))
    _limit(call, vm, static_min=low, dynamic_min=value, dynamic_max=value, static_max=value)


def set_memory_limits(call: "Call", vm: str, static_min: int, static_max: int, dynamic_min: int,
                      dynamic_max: int) -> None:
    """Set all four limits of a halted VM."""
    _limit(call, vm, static_min=static_min, static_max=static_max, dynamic_min=dynamic_min, dynamic_max=dynamic_max)


def set_memory_static_range(call: "Call", vm: str, low: int, high: int) -> None:
    """Set the static limits of a halted VM."""
    _limit(call, vm, static_min=low, static_max=high)


def set_memory_dynamic_range(call: "Call", vm: str, low: int, high: int) -> None:
    """Set the dynamic limits; a running VM changes its size at once."""
    _limit(call, vm, dynamic_min=low, dynamic_max=high)


def set_static_min(call: "Call", vm: str, value: int) -> None:
    """Set one limit of a halted VM."""
    _limit(call, vm, static_min=value)


def set_static_max(call: "Call", vm: str, value: int) -> None:
    """Set one limit of a halted VM."""
    _limit(call, vm, static_max=value)


def set_dynamic_min(call: "Call", vm: str, value: int) -> None:
    """Set one limit."""
    _limit(call, vm, dynamic_min=value)


def set_dynamic_max(call: "Call", vm: str, value: int) -> None:
    """Set one limit."""
    _limit(call, vm, dynamic_max=value)


def set_vcpus_max(call: "Call", vm: str, value: int) -> None:
    """Set how many processors a halted VM may have."""
    _processors(call, vm, call.db.get("VM", vm, "VCPUs_at_startup"), value)


def set_vcpus_at_startup(call: "Call", vm: str, value: int) -> None:
    """Set with how many processors a halted VM starts."""
    _processors(call, vm, value, call.db.get("VM", vm, "VCPUs_max"))


def _processors(call: "Call", vm: str, at_startup: int, most: int) -> None:
    assert_power(call.db, vm, "Halted")
    if not 0 < at_startup <= most:
        raise Failure("INVALID_VALUE", "VCPU values must satisfy: 0 < VCPUs_at_startup <= VCPUs_max",
                      f"{at_startup}, {most}")
    call.db.set("VM", vm, VCPUs_at_startup=at_startup, VCPUs_max=most)
    call.db.set("VM", vm, memory_overhead=vm_overhead(call.db, vm))


def check_shadow_multiplier(value: float) -> None:
    """Raise INVALID_VALUE for what is no factor of a size; neither are NaN and infinity."""
    if not 0 < value < MOST_SHADOW:
        raise Failure("INVALID_VALUE", "HVM_shadow_multiplier", str(value))


def set_shadow_multiplier(call: "Call", vm: str, value: float) -> None:
    """Set the factor of the shadow memory of a halted VM."""
    assert_power(call.db, vm, "Halted")
    check_shadow_multiplier(value)
    call.db.set("VM", vm, HVM_shadow_multiplier=value)
    call.db.set("VM", vm, memory_overhead=vm_overhead(call.db, vm))


CALLS = {
    "VM.set_memory": set_memory, "VM.set_memory_limits": set_memory_limits,
    "VM.set_memory_static_range": set_memory_static_range, "VM.set_memory_dynamic_range": set_memory_dynamic_range,
    "VM.set_memory_static_min": set_static_min, "VM.set_memory_static_max": set_static_max,
    "VM.set_memory_dynamic_min": set_dynamic_min, "VM.set_memory_dynamic_max": set_dynamic_max,
    "VM.set_VCPUs_max": set_vcpus_max, "VM.set_VCPUs_at_startup": set_vcpus_at_startup,
    "VM.set_HVM_shadow_multiplier": set_shadow_multiplier}

"""xapi's memory arithmetic: what a VM costs a host, and what a host has left.

Overhead as xapi 24.16 computes it (no term per virtual CPU beyond the shadow's).
"""

from agent.simulator.database import Database

MIB = 1024 * 1024
HOST_OVERHEAD = 1024 * MIB
DOM0_MEMORY = 1024 * MIB


def overhead_bytes(static_max: int, vcpus: int, multiplier: float, domain_type: str) -> int:
    """Return what a VM needs beyond its own memory."""
    static_mib = static_max // MIB
    shadow = max(1, int(-(-(256 * vcpus + 2 * static_mib) // 256) * multiplier))
    fixed = 0 if domain_type == "pv" else 1
    shim = 23 + static_mib // 90 if domain_type == "pv_in_pvh" else 0
    return (fixed + 1 + shadow + shim) * MIB


def vm_overhead(db: Database, vm: str) -> int:
    """Return the overhead for a VM's record."""
    return overhead_bytes(db.get("VM", vm, "memory_static_max"), db.get("VM", vm, "VCPUs_max"),
                          db.get("VM", vm, "HVM_shadow_multiplier"), db.get("VM", vm, "domain_type"))


def vm_need(db: Database, vm: str) -> int:
    """Return the bytes that a host must have free to take the VM."""
    shim = db.get("VM", vm, "domain_type") == "pv_in_pvh"
    wanted = db.get("VM", vm, "memory_static_max" if shim else "memory_dynamic_min")
    return int(-(-wanted // MIB) * MIB + vm_overhead(db, vm))


def free_memory(db: Database, host: str) -> int:
    """Return compute_free_memory: reservations by scheduled_to_be_resident_on count, dom0 too."""
    metrics = db.get("host", host, "metrics")
    total = db.get("host_metrics", metrics, "memory_total") if db.has("host_metrics", metrics) else 0
    left = total - db.get("host", host, "memory_overhead")
    coming = [vm for vm in db.reserved if db.get("VM", vm, "scheduled_to_be_resident_on") == host]
    for vm in {*db.get("host", host, "resident_VMs"), *coming}:
        left -= db.get("VM", vm, "memory_dynamic_min") + db.get("VM", vm, "memory_overhead")
    return max(0, int(left))

"""Can this VM run there? xapi's checks in xapi's order, with its errors."""

from typing import TYPE_CHECKING

from agent.simulator.database import Database
from agent.simulator.derived import host_is_live
from agent.simulator.failure import Failure
from agent.simulator.memory import free_memory, vm_need
from agent.simulator.table import NULL

if TYPE_CHECKING:
    from agent.simulator.world import World

BLOCKER_CODES = (("pci", "VM_HAS_PCI_ATTACHED"), ("vgpu", "VM_HAS_VGPU"), ("vusb", "VM_HAS_VUSBS"),
                 ("sriov", "VM_HAS_SRIOV_VIF"), ("no_tools", "VM_LACKS_FEATURE"), ("nomigrate", "VM_IS_IMMOBILE"))


def assert_can_boot(world: "World", db: Database, vm: str, host: str, *, memory: bool = True,
                    cpu: bool = True, storage: bool = True) -> None:
    """Raise the first reason why the VM cannot run on the host."""
    at_home = db.get("VM", vm, "resident_on") == host
    if not host_is_live(db, host):
        raise Failure("HOST_NOT_LIVE")
    if not db.get("host", host, "enabled") and not at_home:
        raise Failure("HOST_DISABLED", host)
    assert_hardware_version(db, vm, host)
    if cpu:
        assert_cpu(world, db, vm, host)
    if storage:
        assert_storage(db, vm, host)
    assert_networks(db, vm, host)
    if db.get("VM", vm, "domain_type") == "hvm" and "hvm-3.0-x86_64" not in db.get("host", host, "capabilities"):
        raise Failure("VM_HVM_REQUIRED", vm)
    if memory and not at_home:
        need, free = vm_need(db, vm), free_memory(db, host)
        if need > free:
            raise Failure("HOST_NOT_ENOUGH_FREE_MEMORY", str(need), str(free))
    node = world.node_of_host(db, host)
    vcpus = db.get("VM", vm, "VCPUs_at_startup")
    if vcpus > node.cpus:
        raise Failure("HOST_NOT_ENOUGH_PCPUS", str(vcpus), str(node.cpus))


def assert_hardware_version(db: Database, vm: str, host: str) -> None:
    """Raise VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION for a VM whose virtual hardware is too new."""
    wanted, offered = db.get("VM", vm, "hardware_platform_version"), db.get(
        "host", host, "virtual_hardware_platform_versions")
    if wanted not in offered:
        raise Failure("VM_HOST_INCOMPATIBLE_VIRTUAL_HARDWARE_PLATFORM_VERSION", host,
                      "; ".join(str(number) for number in offered), vm, str(wanted))


def assert_cpu(world: "World", db: Database, vm: str, host: str) -> None:
    """Raise VM_INCOMPATIBLE_WITH_THIS_HOST for a running VM and a CPU of another maker."""
    vendor = db.get("VM", vm, "last_boot_CPU_flags").get("vendor")
    if db.get("VM", vm, "power_state") != "Halted" and vendor not in (
            None, world.node_of_host(db, host).cpu_vendor):
        raise Failure("VM_INCOMPATIBLE_WITH_THIS_HOST", vm, host, "VM last booted on a CPU of another vendor")


def assert_storage(db: Database, vm: str, host: str) -> None:
    """Raise VM_REQUIRES_SR unless every disk's repository is attached on the host."""
    attached = {db.get("PBD", pbd, "SR") for pbd in db.get("host", host, "PBDs")
                if db.get("PBD", pbd, "currently_attached")}
    for vbd in db.get("VM", vm, "VBDs"):
        disk = db.get("VBD", vbd, "VDI")
        if disk != NULL and db.has("VDI", disk) and db.get("VDI", disk, "SR") not in attached:
            raise Failure("VM_REQUIRES_SR", vm, db.get("VDI", disk, "SR"))


def assert_networks(db: Database, vm: str, host: str) -> None:
    """Raise VM_REQUIRES_NETWORK unless the host is on every network; one without interfaces is where it is in use."""
    here = {db.get("PIF", pif, "network") for pif in db.get("host", host, "PIFs")}
    for vif in db.get("VM", vm, "VIFs"):
        network = db.get("VIF", vif, "network")
        if network in here:
            continue
        users = {db.get("VM", db.get("VIF", one, "VM"), "resident_on") for one in db.get("network", network, "VIFs")
                 if db.get("VIF", one, "currently_attached")}
        if db.get("network", network, "PIFs") or (users and host not in users):
            raise Failure("VM_REQUIRES_NETWORK", vm, network)


def assert_can_move(db: Database, vm: str, *, force: bool = False, operation: str = "pool_migrate") -> None:
    """Raise why xapi would refuse to move this VM, wherever to."""
    blocked = db.get("VM", vm, "blocked_operations")
    if operation in blocked:
        raise Failure("OPERATION_BLOCKED", vm, blocked[operation])
    if db.get("VM", vm, "is_a_template"):
        raise Failure("VM_IS_TEMPLATE", vm)
    if db.get("VM", vm, "is_control_domain"):
        raise Failure("OPERATION_NOT_ALLOWED", "This operation is not allowed on a control domain")
    assert_power(db, vm, "Running")
    blockers = db.get("VM", vm, "_blockers") or ()
    for name, code in BLOCKER_CODES:
        if name in blockers and not (force and name == "no_tools"):
            raise Failure(code, vm)
    if "non_suspendable" in blockers:
        raise Failure("VM_NON_SUSPENDABLE", vm, "the guest says that it cannot be suspended")


def assert_idle(db: Database, vm: str) -> None:
    """Raise OTHER_OPERATION_IN_PROGRESS while the VM's record shows an operation."""
    for task, operation in db.get("VM", vm, "current_operations").items():
        raise Failure("OTHER_OPERATION_IN_PROGRESS", "VM", vm, operation, task)


def assert_power(db: Database, vm: str, *states: str) -> None:
    """Raise VM_BAD_POWER_STATE, with lower-case states, unless the VM is in one of these."""
    actual = db.get("VM", vm, "power_state")
    if actual not in states:
        raise Failure("VM_BAD_POWER_STATE", vm, "; ".join(states).lower(), actual.lower())


def possible_hosts(world: "World", db: Database, vm: str) -> list[str]:
    """Return the hosts that could take the VM, its own included."""
    hosts = []
    for host in db.refs("host"):
        try:
            assert_can_boot(world, db, vm, host, cpu=False)
        except Failure:
            continue
        hosts.append(host)
    return hosts

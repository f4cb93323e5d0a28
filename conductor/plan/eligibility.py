"""Which VM may run on which host, and the one rule that refuses; knows nothing of the other VMs of a plan.

The rules are asked in xapi's order, but per VM *and* host: xapi's own evacuation wants every host to be
able to take every VM. Codes are xapi's where it has one. Source: XENAPI §7.1, §7.2.
"""
from functools import lru_cache
from itertools import zip_longest

from conductor.plan.memory import free_bytes, need_bytes
from conductor.plan.model import DISABLED, SERVING, Blocker, Host, Snapshot, Vm, Why
from conductor.plan.wording import listing, size

# What a person can do about a hindrance of the VM itself.
_HELP = {
    "VM_HAS_PCI_ATTACHED": "xe vm-shutdown uuid={vm}",
    "VM_HAS_VGPU": "xe vm-shutdown uuid={vm}",
    "VM_HAS_VUSBS": "xe vm-shutdown uuid={vm}",
    "VM_HAS_SRIOV_VIF": "xe vm-shutdown uuid={vm}",
    "VM_LACKS_FEATURE": "install the guest tools in the VM, or xe vm-shutdown uuid={vm}",
    "VM_NON_SUSPENDABLE": "xe vm-shutdown uuid={vm}",
    "VM_IS_IMMOBILE": "xe vm-shutdown uuid={vm}",
    "OPERATION_BLOCKED":
        "xe vm-param-remove uuid={vm} param-name=blocked-operations param-key=pool_migrate",
}
_HELP_OTHERWISE = "xe vm-shutdown uuid={vm}"


def why(snapshot: Snapshot, vm_uuid: str, host_uuid: str) -> Why:
    """Say whether this VM could move to this host now, and if not, which rule refuses. Raises KeyError."""
    vm, host = snapshot.vm(vm_uuid), snapshot.host(host_uuid)
    if vm.resident_on == host.uuid:
        return Why(vm.uuid, host.uuid, f"{vm.name} is on {host.name} already.", None)
    blocker = refusal(snapshot, vm, host)
    message = blocker.message if blocker else f"{host.name} can take {vm.name}."
    return Why(vm.uuid, host.uuid, message, blocker)


def refusal(snapshot: Snapshot, vm: Vm, host: Host) -> Blocker | None:
    """Return the first rule that refuses ``vm`` on ``host`` as things are now, None when none does."""
    own = hindrances(vm)
    if own:
        return own[0]
    return (static_refusal(snapshot, vm, host)
            or memory_refusal(vm, host, free_bytes(snapshot, host.uuid, without=vm)))


def static_refusal(snapshot: Snapshot, vm: Vm, host: Host) -> Blocker | None:
    """Return the first rule but memory that refuses any VM on ``host``, or this VM there."""
    return host_refusal(snapshot, host) or pair_refusal(snapshot, vm, host)


def hindrances(vm: Vm) -> tuple[Blocker, ...]:
    """Return all that forbids to move ``vm`` anywhere."""
    found = []
    if not vm.is_running:
        found.append(_power_state(vm))
    for hindrance in vm.hindrances:
        remedy = _HELP.get(hindrance.code, _HELP_OTHERWISE).format(vm=vm.uuid)
        found.append(Blocker(hindrance.code, vm.uuid, vm.name, None,
                             f"{vm.name} can't migrate: {hindrance.message}", remedy))
    return tuple(found)


def host_refusal(snapshot: Snapshot, host: Host) -> Blocker | None:
    """Return the first rule that keeps every VM from ``host``."""
    name, back = host.name, f"corral host-update --maintenance disable {host.name}"
    if not host.member:
        return _no(host, "HOST_FOREIGN", f"{name} does not belong to the aggregate",
                   f"corral aggregate-add-host <aggregate> {name}")
    if not host.live:
        return _no(host, "HOST_NOT_LIVE", f"{name} is not live", f"start {name} or repair its network")
    if host.trouble:
        return _no(host, "HOST_IN_TROUBLE", f"{name} can't be reached by its own agent: {host.trouble}",
                   f"corral host-show {name}")
    if host.leaving:
        return _no(host, "HOST_LEAVING", f"{name} is about to be drained or removed", "corral operation-list")
    if host.wanted == DISABLED:
        return _no(host, "HOST_DISABLED", f"{name} was disabled through Corral",
                   "PUT os-hosts with status enable")
    if host.wanted != SERVING:
        return _no(host, "HOST_IN_MAINTENANCE", f"{name} is in maintenance", back)
    if not host.enabled:
        return _no(host, "HOST_DISABLED", f"{name} is disabled", f"xe host-enable uuid={host.uuid}")
    network = snapshot.migration_network
    if network and network not in host.networks:
        return _no(host, "HOST_CANNOT_ATTACH_NETWORK", f"{name} has no address on the migration network {network}",
                   f"xe pif-list host-uuid={host.uuid} network-uuid={network}, then xe pif-reconfigure-ip mode=dhcp")
    return None


def pair_refusal(snapshot: Snapshot, vm: Vm, host: Host) -> Blocker | None:
    """Return the first rule but memory that keeps ``vm``, in particular, from ``host``."""
    source = snapshot.hosts_by_uuid.get(vm.resident_on or "")
    if source and host.version < source.version:
        return _no(host, "HOST_VERSION_OLDER",
                   f"{host.name} runs version {_dotted(host.version)}, older than {_dotted(source.version)} "
                   f"of {source.name}", f"update {host.name} first", vm)
    if source and not _cpu_fits(vm, source, host):
        return _no(host, "VM_INCOMPATIBLE_WITH_THIS_HOST",
                   f"{host.name} lacks CPU features that {vm.name} was started with",
                   f"xe vm-reboot uuid={vm.uuid} (it then starts with the features of the whole pool)", vm)
    missing = sorted(vm.srs - host.srs)
    if missing:
        return _no(host, "VM_REQUIRES_SR", f"{host.name} has no attached storage {listing(missing)}",
                   f"xe pbd-list host-uuid={host.uuid} sr-uuid={missing[0]}, then xe pbd-plug", vm)
    missing = sorted(vm.networks - host.networks)
    if missing:
        return _no(host, "VM_REQUIRES_NETWORK", f"{host.name} is not on network {listing(missing)}",
                   f"xe vif-list vm-uuid={vm.uuid}", vm)
    if vm.vcpus > host.cpus:
        return _no(host, "HOST_NOT_ENOUGH_PCPUS",
                   f"{host.name} has {host.cpus} CPUs, {vm.name} has {vm.vcpus} virtual ones",
                   f"xe vm-shutdown uuid={vm.uuid}", vm)
    return None


def memory_refusal(vm: Vm, host: Host, free: int) -> Blocker | None:
    """Return the refusal of a host that has ``free`` bytes left, None when ``vm`` fits."""
    need = need_bytes(vm)
    if need <= free:
        return None
    return _no(host, "HOST_NOT_ENOUGH_FREE_MEMORY",
               f"{host.name} has {size(free)} free, {vm.name} needs {size(need)}",
               f"xe vm-shutdown or vm-migrate another VM on {host.name}, "
               f"or xe vm-memory-dynamic-range-set uuid={vm.uuid}", vm)


def _power_state(vm: Vm) -> Blocker:
    remedy = {"Paused": "xe vm-unpause", "Suspended": "xe vm-resume"}.get(vm.power_state, "xe vm-start")
    return Blocker("VM_BAD_POWER_STATE", vm.uuid, vm.name, None,
                   f"{vm.name} is {vm.power_state.lower()}, and only a running VM can migrate",
                   f"{remedy} uuid={vm.uuid}")


def _cpu_fits(vm: Vm, source: Host, host: Host) -> bool:
    if source.cpu_vendor != host.cpu_vendor:
        return False
    return _has_features(vm.cpu_features or source.cpu_features, host.cpu_features)


@lru_cache(maxsize=1024)        # a pool has a handful of different sets, and is asked for each VM and host
def _has_features(wanted: str, offered: str) -> bool:
    """Compare xapi's feature sets, "1fcbfbff-80b82221-..."; what is written otherwise must be equal."""
    if wanted == offered:
        return True
    try:
        words = [(int(want or "0", 16), int(offer or "0", 16)) for want, offer
                 in zip_longest(wanted.split("-"), offered.split("-"), fillvalue="0")]
    except ValueError:
        return False
    return all(want & ~offer == 0 for want, offer in words)


def _no(host: Host, code: str, message: str, remedy: str, vm: Vm | None = None) -> Blocker:
    return Blocker(code, vm.uuid if vm else None, vm.name if vm else "", host.uuid, message, remedy,
                   host.name)


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))

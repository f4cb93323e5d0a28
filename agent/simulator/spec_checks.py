"""Can this world be? Names that are doubled or point nowhere, guests that have no place where they are said to run.

Knows descriptions only (spec.py); every complaint names the place in the file.
"""

import re
from typing import TYPE_CHECKING

from agent.simulator.failure import WorldError
from agent.simulator.fault_spec import check_faults
from agent.simulator.memory import DOM0_MEMORY, HOST_OVERHEAD, MIB, overhead_bytes
from agent.simulator.traits import GUIDANCES

if TYPE_CHECKING:
    from agent.simulator.spec import HostSpec, VmSpec, WorldSpec

BLOCKERS = ("pci", "vgpu", "vusb", "sriov", "no_tools", "nomigrate", "non_suspendable")
DOMAIN_TYPES = ("hvm", "pv", "pv_in_pvh", "pvh")
MOST_CPUS = 4096  # each has a record
Places = dict[str, list[str]]


def check_spec(spec: "WorldSpec", places: Places) -> None:
    """Raise WorldError for the first thing that cannot be; `places` names each entry of each part."""
    if not spec.hosts:
        raise WorldError("hosts: at least one host is needed")
    _distinct("hosts", [host.name for host in spec.hosts])
    _distinct("hosts address", [host.address for host in spec.hosts if host.address])
    for place, host in zip(places["hosts"], spec.hosts, strict=True):
        _check_host(place, host)
    _distinct("pools hosts", [name for pool in spec.pools for name in pool.hosts])
    for place, pool in zip(places["pools"], spec.pools, strict=True):
        if not pool.hosts:
            raise WorldError(f"{place}.hosts: a pool has at least one host")
    _check_names(spec, places)
    check_faults(spec.faults, {host.name for host in spec.hosts}, {vm.name for vm in spec.vms})
    _check_guests(spec, places["vms"])
    for place, plugin in zip(places["plugins"], spec.plugins, strict=True):
        if len(plugin.failure) not in (0, 3):
            raise WorldError(f"{place}.failure: three texts are expected: status, output, errors")
        if plugin.seconds < 0:
            raise WorldError(f"{place}.seconds: no negative number")


def _check_host(place: str, host: "HostSpec") -> None:
    if host.address and not re.fullmatch(r"127(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}", host.address):
        raise WorldError(f"{place}.address: {host.address} is not a loopback address (127.x.y.z)")
    if "eth0" not in host.nics:
        raise WorldError(f"{place}.nics: eth0 must be among them; it is management")
    if host.memory <= HOST_OVERHEAD + DOM0_MEMORY + 64 * MIB:
        raise WorldError(f"{place}.memory: the hypervisor and its control domain alone need more")
    if not re.fullmatch(r"\d+\.\d+", host.traits.api_version):
        raise WorldError(f"{place}.traits.api_version: two numbers like 2.21 are expected")
    for name, known in (("pending_guidances", GUIDANCES), ("restricted", ("pooling", "pool_size")),
                        ("network_purposes", ("nbd", "insecure_nbd"))):
        for word in getattr(host.traits, name):
            if word not in known:
                raise WorldError(f"{place}.traits.{name}: {word!r} is not known; known are {', '.join(known)}")
    if host.traits.cluster_network not in ("", "two_addresses", "vlan"):
        raise WorldError(f"{place}.traits.cluster_network: two_addresses or vlan is expected")
    if not 1 <= host.cpus <= MOST_CPUS:
        raise WorldError(f"{place}.cpus: a number from 1 to {MOST_CPUS} is expected")
    if host.link < 1:
        raise WorldError(f"{place}.link: at least 1 is expected")


def _check_names(spec: "WorldSpec", places: Places) -> None:
    hosts = {host.name for host in spec.hosts}
    named = [(f"{place}.hosts", name) for place, pool in zip(places["pools"], spec.pools, strict=True)
             for name in pool.hosts]
    for place, storage in zip(places["storage"], spec.storage, strict=True):
        named += [(f"{place}.pool", storage.pool)]
        named += [(f"{place}.unreachable_from", name) for name in storage.unreachable_from]
    named += [(f"{place}.pool", one.pool) for place, one in zip(places["networks"], spec.networks, strict=True)]
    named += [(f"{place}.addresses_on", name) for place, one in zip(places["networks"], spec.networks, strict=True)
              for name in one.addresses_on]
    named += [(f"{place}.hosts", name) for place, one in zip(places["plugins"], spec.plugins, strict=True)
              for name in one.hosts]
    for place, balancer in zip(places["balancing"], spec.balancing, strict=True):
        named += [(f"{place}.pool", balancer.pool)]
        named += [(f"{place}.evacuations.{vm}", name) for vm, name in balancer.evacuations.items()]
        named += [(f"{place}.ratings.{vm}", name) for vm, stars in balancer.ratings.items() for name in stars]
    named += [(f"{place}.host", vm.host) for place, vm in zip(places["vms"], spec.vms, strict=True)]
    for place, name in named:
        if name not in hosts:
            raise WorldError(f"{place}: there is no host {name!r}")


def _check_guests(spec: "WorldSpec", places: list[str]) -> None:
    masters = {name: pool.hosts[0] for pool in spec.pools for name in pool.hosts}
    storage: dict[str, set[str]] = {}
    networks: dict[str, set[str]] = {}
    for one in spec.storage:
        storage.setdefault(masters.get(one.pool, one.pool), {"local"}).add(one.name)
    for network in spec.networks:
        networks.setdefault(masters.get(network.pool, network.pool), {"management"}).add(network.name)
    left = {host.name: host.memory - HOST_OVERHEAD - DOM0_MEMORY - overhead_bytes(DOM0_MEMORY, 1, 1.0, "hvm")
            for host in spec.hosts}
    cpus = {host.name: host.cpus for host in spec.hosts}
    unreachable = {(name, one.name) for one in spec.storage for name in one.unreachable_from}
    for place, vm in zip(places, spec.vms, strict=True):
        master = masters.get(vm.host, vm.host)
        _check_vm(place, vm, storage.get(master, {"local"}), networks.get(master, {"management"}))
        if vm.state != "running":
            continue
        if vm.vcpus > cpus[vm.host]:
            raise WorldError(f"{place}.vcpus: {vm.host} has {cpus[vm.host]} only")
        for key, name in (*(("disks", disk) for disk in vm.disks), ("cd", vm.cd)):
            if (vm.host, name) in unreachable:
                raise WorldError(f"{place}.{key}: {vm.host} does not reach {name!r}, so {vm.name!r} cannot run there")
        need = (vm.memory_min or vm.memory) + overhead_bytes(vm.memory, vm.vcpus, 1.0, vm.domain_type)
        if need > left[vm.host]:
            raise WorldError(f"{place}.memory: {vm.name!r} needs {need // MIB} MiB, and {vm.host} has "
                             f"{left[vm.host] // MIB} MiB left")
        left[vm.host] -= need


def _check_vm(place: str, vm: "VmSpec", storage: set[str], networks: set[str]) -> None:
    checks = [("disks", set(vm.disks) - storage), ("cd", {vm.cd} - storage - {""}),
              ("networks", set(vm.networks) - networks),
              ("blockers", set(vm.blockers) - set(BLOCKERS)), ("state", {vm.state} - {"halted", "running"}),
              ("domain_type", {vm.domain_type} - set(DOMAIN_TYPES))]
    for key, wrong in checks:
        if wrong:
            raise WorldError(f"{place}.{key}: {min(wrong)!r} is not known, or not in this pool")
    if vm.memory_min > vm.memory:
        raise WorldError(f"{place}.memory_min: more than memory")
    if vm.memory < 16 * MIB or vm.vcpus < 1:
        raise WorldError(f"{place}.{'vcpus' if vm.vcpus < 1 else 'memory'}: more is needed to run at all")


def _distinct(place: str, names: list[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise WorldError(f"{place}: {name!r} stands there twice")
        seen.add(name)

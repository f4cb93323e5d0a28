"""The description of a world: what a world file may say, checked, with a message that names the place.

Knows YAML and sizes; builds nothing.
"""

import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agent.simulator.failure import WorldError
from agent.simulator.fault_spec import FaultSpec, check_faults, faults_of
from agent.simulator.reading import entry_of

MIB, GIB = 1024**2, 1024**3
BLOCKERS = ("pci", "vgpu", "vusb", "sriov", "no_tools", "nomigrate")


@dataclass(frozen=True)
class HostSpec:
    """One machine."""

    name: str
    address: str = ""  # "" takes the next free one of the block
    memory: int = 64 * GIB
    cpus: int = 8
    cpu_vendor: str = "GenuineIntel"
    version: str = "24.16.0"
    platform_version: str = "3.4.0"
    link: int = 600 * 10**6  # bytes/s for all migrations together
    local_storage: int = 200 * GIB
    nics: tuple[str, ...] = ("eth0", "eth1")
    password: str = ""  # "" takes the simulator's
    reboot_s: float = 120.0
    tls_verification: bool = False
    ha: bool = False
    bonds: bool = False
    vlans: bool = False
    shared_sr: bool = False


@dataclass(frozen=True)
class PoolSpec:
    """Hosts that are a pool from the start; the first is the master."""

    hosts: tuple[str, ...]
    name: str = ""


@dataclass(frozen=True)
class StorageSpec:
    """A shared storage repository of one host's pool."""

    name: str
    pool: str  # a host of that pool
    type: str = "nfs"
    size: int = 2048 * GIB
    unreachable_from: tuple[str, ...] = ()
    default: bool = False


@dataclass(frozen=True)
class NetworkSpec:
    """A network of one host's pool; with no device it is internal."""

    name: str
    pool: str
    device: str = ""


@dataclass(frozen=True)
class VmSpec:
    """One guest; `host` is where it runs, or any host of its pool when it is halted."""

    name: str
    host: str
    memory: int = 2 * GIB
    memory_min: int = 0  # dynamic minimum; 0 = memory
    vcpus: int = 2
    state: str = "halted"
    domain_type: str = "hvm"
    disks: tuple[str, ...] = ()  # names of repositories; "local" is the host's own
    disk_size: int = 20 * GIB
    networks: tuple[str, ...] = ()
    dirty_rate: int = -1  # bytes/s; -1 = 1 % of memory
    working_set: int = -1  # bytes; -1 = 10 % of memory
    blockers: tuple[str, ...] = ()
    blocked_operations: dict[str, str] = field(default_factory=dict)
    group: str = ""  # anti-affinity group


@dataclass(frozen=True)
class WorldSpec:
    """A whole world."""

    hosts: tuple[HostSpec, ...]
    pools: tuple[PoolSpec, ...] = ()
    storage: tuple[StorageSpec, ...] = ()
    networks: tuple[NetworkSpec, ...] = ()
    vms: tuple[VmSpec, ...] = ()
    faults: tuple[FaultSpec, ...] = ()


def default_spec(hosts: int = 4, vms: int = 24, seed: int = 0) -> WorldSpec:
    """Return hosts h1..hN, each standalone as freshly installed; h1's pool owns a shared repository,
    the network `pool-wide`, and halted VMs of 1 to 4 GiB on them."""
    if hosts < 1 or vms < 0:
        raise WorldError("a world needs at least one host and no negative number of VMs")
    rng = random.Random(seed)
    guests = tuple(VmSpec(f"vm{number:0{max(2, len(str(vms)))}d}", "h1", memory=rng.choice((1, 2, 3, 4)) * GIB,
                          vcpus=rng.choice((1, 2)), disks=("shared",), networks=("pool-wide",))
                   for number in range(1, vms + 1))
    return WorldSpec(tuple(HostSpec(f"h{number}") for number in range(1, hosts + 1)),
                     storage=(StorageSpec("shared", "h1", default=True),),
                     networks=(NetworkSpec("pool-wide", "h1", "eth1"),), vms=guests)


def load_spec(path: Path) -> WorldSpec:
    """Read a world file; raises WorldError with the file's name and the place."""
    try:
        data = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as exc:
        raise WorldError(f"cannot read {path}: {exc.strerror}") from exc
    except (yaml.YAMLError, UnicodeDecodeError) as exc:
        raise WorldError(f"{path} is not YAML: {' '.join(str(exc).split())}") from exc
    try:
        return parse_spec(data)
    except WorldError as exc:
        raise WorldError(f"{path}: {exc}") from exc


def parse_spec(data: Any) -> WorldSpec:
    """Turn the YAML value into a checked spec; raises WorldError."""
    if not isinstance(data, dict):
        raise WorldError("a world is a mapping with at least `hosts`")
    kinds: dict[str, type] = {"hosts": HostSpec, "pools": PoolSpec, "storage": StorageSpec,
                              "networks": NetworkSpec, "vms": VmSpec}
    unknown = sorted(set(data) - {*kinds, "faults"})
    if unknown:
        raise WorldError(f"unknown key {unknown[0]!r}; a world has {', '.join(kinds)}, faults")
    parts: dict[str, Any] = {}
    for key, kind in kinds.items():
        entries = data.get(key) or []
        if not isinstance(entries, list):
            raise WorldError(f"{key}: a list is expected")
        parts[key] = tuple(entry_of(kind, f"{key}[{index}]", entry) for index, entry in enumerate(entries))
    spec = WorldSpec(**parts, faults=faults_of(data.get("faults") or []))
    check_spec(spec)
    return spec


def check_spec(spec: WorldSpec) -> None:
    """Raise WorldError for names that are doubled or point nowhere."""
    if not spec.hosts:
        raise WorldError("hosts: at least one host is needed")
    hosts = _distinct("hosts", [host.name for host in spec.hosts])
    _distinct("hosts address", [host.address for host in spec.hosts if host.address])
    for index, host in enumerate(spec.hosts):
        if host.address and not re.fullmatch(r"127(\.\d{1,3}){3}", host.address):
            raise WorldError(f"hosts[{index}].address: {host.address} is not a loopback address (127.x.y.z)")
    _distinct("pools hosts", [name for pool in spec.pools for name in pool.hosts])
    places = [(f"pools[{i}].hosts", name) for i, pool in enumerate(spec.pools) for name in pool.hosts]
    places += [(f"storage[{i}].pool", one.pool) for i, one in enumerate(spec.storage)]
    places += [(f"storage[{i}].unreachable_from", name) for i, one in enumerate(spec.storage)
               for name in one.unreachable_from]
    places += [(f"networks[{i}].pool", one.pool) for i, one in enumerate(spec.networks)]
    places += [(f"vms[{i}].host", one.host) for i, one in enumerate(spec.vms)]
    for place, name in places:
        if name not in hosts:
            raise WorldError(f"{place}: there is no host {name!r}")
    check_faults(spec.faults, hosts, {vm.name for vm in spec.vms})
    master = {name: pool.hosts[0] for pool in spec.pools for name in pool.hosts}
    for index, vm in enumerate(spec.vms):
        pool = {name for name in hosts if master.get(name, name) == master.get(vm.host, vm.host)}
        storage = {one.name for one in spec.storage if one.pool in pool} | {"local"}
        networks = {one.name for one in spec.networks if one.pool in pool} | {"management"}
        _check_vm(f"vms[{index}]", vm, storage, networks)


def _check_vm(place: str, vm: VmSpec, storage: set[str], networks: set[str]) -> None:
    checks = [("disks", set(vm.disks) - storage), ("networks", set(vm.networks) - networks),
              ("blockers", set(vm.blockers) - set(BLOCKERS)), ("state", {vm.state} - {"halted", "running"}),
              ("domain_type", {vm.domain_type} - {"hvm", "pv", "pv_in_pvh", "pvh"})]
    for key, wrong in checks:
        if wrong:
            raise WorldError(f"{place}.{key}: {min(wrong)!r} is not known, or not in this pool")
    if vm.memory_min > vm.memory:
        raise WorldError(f"{place}.memory_min: more than memory")


def _distinct(place: str, names: list[str]) -> set[str]:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise WorldError(f"{place}: {name!r} stands there twice")
        seen.add(name)
    return seen

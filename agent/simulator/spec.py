"""The description of a world: what a world file may say, checked, with a message that names the place.

Knows YAML and sizes; builds nothing.
"""

import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from agent.simulator.failure import WorldError
from agent.simulator.fault_spec import FaultSpec, faults_of
from agent.simulator.reading import MOST_COPIES, entry_of, repeated
from agent.simulator.spec_checks import check_spec
from agent.simulator.traits import Traits

LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the C parser reads a large world ten times as fast
MIB, GIB = 1024**2, 1024**3


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
    hvm: bool = True  # whether its processor can run whole virtual machines
    traits: Traits = field(default_factory=Traits)


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
    clustered: bool = False  # while a member is not live, no other goes down
    statefile: bool = False  # HA keeps its state on it: a member that does not see it stays up


@dataclass(frozen=True)
class NetworkSpec:
    """A network of one host's pool; with no device it is internal."""

    name: str
    pool: str
    device: str = ""
    addresses_on: tuple[str, ...] = ()  # hosts that have an address of their own on it
    migrations: bool = False  # the pool has chosen it for migrations


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
    cd: str = ""  # name of a repository, an image of which is in the drive; "local" is the host's own for images
    networks: tuple[str, ...] = ()
    dirty_rate: int = -1  # bytes/s; -1 = 1 % of memory
    working_set: int = -1  # bytes; -1 = 10 % of memory
    blockers: tuple[str, ...] = ()
    blocked_operations: dict[str, str] = field(default_factory=dict)
    group: str = ""  # anti-affinity group


@dataclass(frozen=True)
class PluginSpec:
    """A function of a plugin in the control domains of some hosts, and how it ends."""

    name: str
    hosts: tuple[str, ...] = ()  # none = all
    function: str = ""  # "" = whichever is called
    result: str = ""
    failure: tuple[str, ...] = ()  # status, output, errors; none = it succeeds
    seconds: float = 0.0


@dataclass(frozen=True)
class BalancerSpec:
    """An appliance for workload balancing in one host's pool, and what it recommends, by names."""

    pool: str  # a host of that pool
    url: str = "wlb.invalid:8012"
    enabled: bool = True
    evacuations: dict[str, str] = field(default_factory=dict)  # VM -> where it goes when its host is emptied
    ratings: dict[str, dict[str, str]] = field(default_factory=dict)  # VM -> host -> stars, or why it has none
    failure: tuple[str, ...] = ()  # code and parameters, of whichever question


@dataclass(frozen=True)
class WorldSpec:
    """A whole world."""

    hosts: tuple[HostSpec, ...]
    pools: tuple[PoolSpec, ...] = ()
    storage: tuple[StorageSpec, ...] = ()
    networks: tuple[NetworkSpec, ...] = ()
    vms: tuple[VmSpec, ...] = ()
    faults: tuple[FaultSpec, ...] = ()
    plugins: tuple[PluginSpec, ...] = ()
    balancing: tuple[BalancerSpec, ...] = ()


def default_spec(hosts: int = 4, vms: int = 24, seed: int = 0) -> WorldSpec:
    """Return hosts h1..hN, each standalone as freshly installed; h1's pool owns a shared repository,
    the network `pool-wide`, and halted VMs of 1 to 4 GiB on them."""
    if not 1 <= hosts <= MOST_COPIES or not 0 <= vms <= MOST_COPIES:
        raise WorldError(f"a world has from 1 to {MOST_COPIES} hosts and up to {MOST_COPIES} VMs")
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
        data = yaml.load(path.read_text(encoding="utf-8"), LOADER)  # noqa: S506  both load safely
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
                              "networks": NetworkSpec, "vms": VmSpec, "plugins": PluginSpec, "balancing": BalancerSpec}
    unknown = sorted(set(data) - {*kinds, "faults"})
    if unknown:
        raise WorldError(f"unknown key {unknown[0]!r}; a world has {', '.join(kinds)}, faults")
    parts: dict[str, Any] = {}
    places: dict[str, list[str]] = {}
    for key, kind in kinds.items():
        entries = data.get(key) or []
        if not isinstance(entries, list):
            raise WorldError(f"{key}: a list is expected")
        each = [one for index, entry in enumerate(entries) for one in repeated(f"{key}[{index}]", entry)]
        parts[key] = tuple(entry_of(kind, place, entry) for place, entry in each)
        places[key] = [place for place, _entry in each]
    spec = WorldSpec(**parts, faults=faults_of(data.get("faults") or []))
    check_spec(spec, places)
    return spec

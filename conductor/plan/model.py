"""The planner's words: what a snapshot holds and what a plan or a refusal says; no rule is decided here.

Hosts, VMs, storage, networks and groups are named by their xapi uuids. Memory is in bytes, times in
seconds from the moment of planning.
"""
from dataclasses import dataclass
from functools import cached_property

from conductor.plan.encoding import Json

SERVING = "serving"
DISABLED = "disabled"
MAINTENANCE = "maintenance"


@dataclass(frozen=True, slots=True)
class Hindrance(Json):
    """Something read from a VM itself that forbids its live migration to anywhere."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Host(Json):
    """One host of the pool, of the aggregate (``member``) or not.

    ``srs`` are those with an attached PBD here; ``networks`` those that a VM can use here: with a PIF of
    this host, or without any PIF and not pinned to another host. ``leaving``: about to be drained or removed.
    """

    uuid: str
    name: str
    enabled: bool
    live: bool
    member: bool
    wanted: str
    leaving: bool
    version: tuple[int, ...]
    cpu_vendor: str
    cpu_features: str
    cpus: int
    memory_total_bytes: int
    memory_overhead_bytes: int
    srs: frozenset[str]
    networks: frozenset[str]
    trouble: str = ""               # why its own agent can't reach it, though its pool may still list it as live


@dataclass(frozen=True, slots=True)
class Vm(Json):
    """One VM of the pool, a control domain too.

    ``srs`` and ``networks`` are what it needs at its destination. ``cpu_features``: what it booted with
    (``last_boot_CPU_flags``); empty means unknown, and then those of its host stand for it.
    """

    uuid: str
    name: str
    resident_on: str | None
    scheduled_on: str | None
    power_state: str
    control_domain: bool
    memory_dynamic_min_bytes: int
    memory_static_max_bytes: int
    memory_overhead_bytes: int
    domain_type: str
    vcpus: int
    srs: frozenset[str]
    networks: frozenset[str]
    groups: frozenset[str]
    operations: tuple[str, ...]
    hindrances: tuple[Hindrance, ...]
    cpu_features: str = ""

    @property
    def is_running(self) -> bool:
        return self.power_state == "Running"


@dataclass(frozen=True, slots=True)
class Pending(Json):
    """A move of another operation, accepted and not yet done."""

    vm: str
    source: str
    destination: str


@dataclass(frozen=True)
class Snapshot(Json):
    """One consistent look at a pool; ``generation`` is what storing a plan compares with."""

    pool: str
    master: str
    hosts: tuple[Host, ...]
    vms: tuple[Vm, ...]
    pending: tuple[Pending, ...]
    anti_affinity_groups: frozenset[str]
    migration_network: str | None
    generation: int

    def host(self, uuid: str) -> Host:
        """Return the host. Raises KeyError."""
        return self.hosts_by_uuid[uuid]

    def vm(self, uuid: str) -> Vm:
        """Return the VM. Raises KeyError."""
        return self.vms_by_uuid[uuid]

    def host_name(self, uuid: str | None) -> str:
        """Return the name for people; a host that is not in the snapshot is shown by its uuid."""
        host = self.hosts_by_uuid.get(uuid or "")
        return host.name if host else (uuid or "nowhere")

    @cached_property
    def hosts_by_uuid(self) -> dict[str, Host]:
        return {host.uuid: host for host in self.hosts}

    @cached_property
    def vms_by_uuid(self) -> dict[str, Vm]:
        return {vm.uuid: vm for vm in self.vms}

    @cached_property
    def residents(self) -> dict[str, tuple[Vm, ...]]:
        """The VMs that are on each host now, control domains among them."""
        found: dict[str, list[Vm]] = {host.uuid: [] for host in self.hosts}
        for vm in self.vms:
            if vm.resident_on in found:
                found[vm.resident_on].append(vm)
        return {uuid: tuple(vms) for uuid, vms in found.items()}

    @cached_property
    def destinations_to_be(self) -> dict[str, str]:
        """The VMs that are on their way, by our other operations or by anybody, and where to."""
        on_the_way = {vm.uuid: vm.scheduled_on for vm in self.vms
                      if vm.scheduled_on and vm.scheduled_on != vm.resident_on}
        on_the_way.update({move.vm: move.destination for move in self.pending})
        return on_the_way


@dataclass(frozen=True, slots=True)
class Limits(Json):
    """How many moves may run at once, those of all operations counted."""

    per_source: int = 3
    per_destination: int = 2
    per_pool: int = 8

    def __post_init__(self) -> None:
        if min(self.per_source, self.per_destination, self.per_pool) < 1:
            raise ValueError("a limit below 1 would let nothing ever move")


@dataclass(frozen=True, slots=True)
class Estimates(Json):
    """What a migration is assumed to meet; the defaults are a 1 Gbit/s link and a quiet guest."""

    bandwidth_bytes_s: float = 110e6
    fastest_bytes_s: float = 600e6  # 10 Gbit/s with TLS: nobody has told which link there is
    setup_s: float = 2.0
    teardown_s: float = 2.0
    pause_s: float = 0.3
    dirty_per_s: float = 0.01       # share of the memory written anew each second
    working_set: float = 0.10       # share of the memory that this can reach at most
    rounds: int = 5                 # Xen's stock policy copies at most so often before it pauses the guest


@dataclass(frozen=True, slots=True)
class Move(Json):
    """One live migration of a plan.

    ``memory_bytes`` is what has to be copied. ``after`` holds the positions of the moves that must be done
    before this one may start, because they free the memory that it needs.
    """

    position: int
    vm: str
    vm_name: str
    source: str
    destination: str
    memory_bytes: int
    start_s: float
    end_s: float
    after: tuple[int, ...] = ()
    source_name: str = ""
    destination_name: str = ""


@dataclass(frozen=True, slots=True)
class Eta(Json):
    """How long the whole takes."""

    low_s: float
    likely_s: float
    high_s: float


@dataclass(frozen=True, slots=True)
class Blocker(Json):
    """Why a VM can't move (to ``host``, or anywhere when that is None), and what a person can do about it."""

    code: str
    vm: str | None
    vm_name: str
    host: str | None
    message: str
    help: str
    host_name: str = ""


@dataclass(frozen=True, slots=True)
class Plan(Json):
    """What will be done to bring ``host`` to ``wanted``; ``left`` are the VMs that will not move."""

    host: str
    wanted: str
    moves: tuple[Move, ...]
    eta: Eta
    left: tuple[Blocker, ...]
    generation: int
    host_name: str = ""


@dataclass(frozen=True, slots=True)
class Refusal(Json):
    """Why there is no plan: every blocker at once, and the smallest change that would help, if known."""

    blockers: tuple[Blocker, ...]
    smallest_change: str | None
    host: str = ""
    host_name: str = ""


@dataclass(frozen=True, slots=True)
class Why(Json):
    """The answer to "why not there?": ``blocker`` is the one rule that refuses, None when none does."""

    vm: str
    host: str
    message: str
    blocker: Blocker | None

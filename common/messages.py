"""The only types that cross between conductor and agents.

They hold facts and orders, no rules.  ``from_wire`` ignores unknown fields and
every later field has a default, so that a newer side can talk to an older one; a
field is never renamed or given another meaning.
"""

from dataclasses import dataclass, field
from typing import Any, Self

#: major.minor of what agents and conductors say to each other
AGENTS_VERSION = "1.2"
#: major.minor of what services and the API say to a conductor
CONDUCTOR_VERSION = "1.1"


class Message:
    """A dataclass that crosses the wire as a plain JSON object."""

    def to_wire(self) -> dict[str, Any]:
        """Return the message as JSON-able values, which are the message's own: a report may be megabytes."""
        return {name: getattr(self, name) for name in _names(self)}

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> Self:
        """Build the message from ``wire``; unknown members are ignored, missing ones take their default.

        Raises TypeError when a member without default is missing.
        """
        known = _names(cls)
        return cls(**{name: value for name, value in wire.items() if name in known})


def _names(message: Any) -> dict[str, Any]:
    """Return a dict with the names of a message's fields, in order."""
    names: dict[str, Any] = message.__dataclass_fields__
    return names


@dataclass(frozen=True)
class Order(Message):
    """What a claim returns: one task for one executor.

    ``args`` by kind (all uuids are xapi's; ``operation`` is ours):
      pool_init         {"name_label": str|None}          None: adopt the pool as it is, only observe
      pool_join         {"master_uuid", "master_address"} called on the joiner; credentials are the agent's own
      pool_eject        {}                                about ``host_uuid``
      host_disable      {"mark": str}                     mark: the value for other_config["corral:operation"]
      host_enable       {}                                removes the mark
      vm_migrate        {"vm", "source", "destination"}   acts only while the VM is on ``source``
      vm_start          {"vm", "destination"}             start_on, for a VM that lost power in a move of ours
      observe           {"times": int, "apart_s": float}  what is on ``host_uuid``, read so many times
      sync_database     {}
      enable_tls        {}
      host_destroy      {}                                removes the dead record ``host_uuid`` from the pool
    """

    task: str
    attempt: int
    kind: str
    operation: str
    host: str            #: name of the host the order is about
    host_uuid: str
    executor: str        #: name of the host whose agent acts
    epoch: int
    pool: str | None     #: uuid of the pool it belongs to
    args: dict[str, Any]
    limit_s: float       #: seconds after which the agent cancels and reports what it sees
    #: uuids of XenAPI sessions of earlier claimants, to be found, adopted from and logged out before acting
    fence: list[str] = field(default_factory=list)
    #: addresses by host uuid that HOST_IS_SLAVE may be followed to
    members: dict[str, str] = field(default_factory=dict)
    # since 1.2
    #: nobody wants it any more: begin nothing, and ask once that what a predecessor began ends
    called_off: bool = False


@dataclass(frozen=True)
class Claim(Message):
    """The answer to a claim: ``order`` is None unless ``verdict`` is "yours"."""

    verdict: str         #: yours | stale | not_yet | superseded
    order: dict[str, Any] | None = None


@dataclass(frozen=True)
class Report(Message):
    """What an agent has read about one task; the conductor judges what it amounts to.

    ``settled`` says that the agent will not act on this attempt any more: its step
    machine has ended and no work of it is known to be running.  ``error`` is what the
    hypervisor or the driver answered: ``{"code", "params", "message", "effect"}``.
    ``fenced`` lists the session uuids from the order that are now logged out or gone.

    ``readings`` by kind (read after the last act, absent = could not be read):
      pool_init      {"pool", "master_uuid", "name_label", "members": {uuid: address}}
      pool_join      {"joiner": standalone|slave|unreachable, "on_master": bool, "live": bool, "enabled": bool,
                      "task": pending|gone|success|failure|None, "pool": uuid, "quiet_s": float}
      pool_eject     {"on_master": bool, "standalone": bool}    both true: it ended halfway, and the host was read twice
      host_destroy   {"on_master": bool}
      host_*         {"enabled": bool, "live": bool, "mark": str|None}
      vm_migrate     {"vm": {"power_state", "resident_on", "scheduled_on", "operations": [..]} or None if absent,
                      "task": pending|success|failure|cancelled|gone|None, "progress": 0..1,
                      "started_at": {host uuid: agent_start_time}, "acted": bool, "suspended": bool}
      vm_start       {"vm": {...}}
      observe        {"times": [{"at_s", "enabled", "live", "resident": [vm uuid], "incoming": [vm uuid],
                      "creating": [operation]}]}
      sync_database  {"synced": bool}
    """

    task: str
    attempt: int
    settled: bool
    readings: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None
    fenced: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class HostReport(Message):
    """One host as its pool's database has it."""

    uuid: str
    hostname: str
    address: str
    enabled: bool
    live: bool
    memory_total_bytes: int
    memory_overhead_bytes: int
    memory_free_bytes: int                 #: host.compute_free_memory
    version: str = ""                      #: software_version platform_version, e.g. "3.4.0"
    product: str = ""                      #: product_brand and product_version, for people
    cpu_vendor: str = ""
    cpu_features: str = ""
    cpus: int = 0
    agent_start_time: str = ""             #: other_config; changes when the toolstack restarted
    boot_time: str = ""
    mark: str | None = None                #: other_config["corral:operation"]
    srs: list[str] = field(default_factory=list)        #: SRs whose PBD is attached here
    #: networks that VMs can use here; that of migrations only where the host has an address on it
    networks: list[str] = field(default_factory=list)
    operations: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class VmReport(Message):
    """One VM (templates and snapshots left out; control domains included)."""

    uuid: str
    name_label: str
    power_state: str
    resident_on: str | None                #: host uuid
    scheduled_on: str | None = None
    control_domain: bool = False
    memory_dynamic_min_bytes: int = 0
    memory_static_max_bytes: int = 0
    memory_overhead_bytes: int = 0
    domain_type: str = "hvm"
    vcpus: int = 1
    srs: list[str] = field(default_factory=list)         #: SRs of its disks (and of a CD in the drive)
    networks: list[str] = field(default_factory=list)
    groups: list[str] = field(default_factory=list)      #: VM groups with anti-affinity
    operations: list[str] = field(default_factory=list)
    #: [code, message] of what forbids a live migration to any host
    hindrances: list[list[str]] = field(default_factory=list)
    cpu_features: str = ""                 #: what it booted with; empty: not known


@dataclass(frozen=True)
class PoolReport(Message):
    """A whole pool, read at once from its master by the observing agent."""

    pool: str
    master: str                            #: host uuid
    name_label: str
    hosts: list[dict[str, Any]]            #: HostReport
    vms: list[dict[str, Any]]              #: VmReport
    ha_enabled: bool = False
    tls_verification: bool = False
    migration_network: str | None = None
    #: seconds from the beginning of the reading to its sending
    age_s: float = 0.0
    #: number of disks on storage of one host alone, by host uuid; ejecting that host destroys them
    local_disks: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Sync(Message):
    """An agent's heartbeat: who I am, what I run, what I see.

    ``role``: standalone (master of a pool of one), master, slave, or unreachable; the
    fields after it are as far as they could be read (``None``: not known).  ``running``
    lists the attempts this process works on, each ``{"task", "attempt", "progress"}``.
    ``report`` is a PoolReport, only from the agent that observes the pool.  Once the
    conductors have acknowledged its ``report_digest``, an observer that sees the same again
    leaves the report out and says its digest and its age.
    """

    host: str
    incarnation: str
    sequence: int
    url: str = ""
    role: str = "unreachable"
    host_uuid: str | None = None
    address: str | None = None
    pool: str | None = None
    master_address: str | None = None
    running: list[dict[str, Any]] = field(default_factory=list)
    highest_epoch: int = 0
    trouble: dict[str, Any] | None = None  #: {"code", "message"} why the hypervisor can't be read
    report: dict[str, Any] | None = None
    # since 1.1
    #: the agent's name for the report without its age: the same for the same state of the pool
    report_digest: str | None = None
    report_age_s: float = 0.0              #: as ``age_s``, of the report that is left out
    version: str = "1.0"                   #: major.minor that the agent speaks


@dataclass(frozen=True)
class SyncAnswer(Message):
    """What a sync brings back.  A superseded agent must end."""

    superseded: bool = False
    observe: bool = False                  #: this agent observes its pool
    interval_s: float = 10.0
    orders: list[dict[str, Any]] = field(default_factory=list)   #: {"task", "attempt"} waiting to be claimed
    dropped: list[str] = field(default_factory=list)   #: running tasks the conductor gave up; stop reporting
    members: dict[str, str] = field(default_factory=dict)        #: address by host uuid, of the pool
    # since 1.1
    report_digest: str | None = None       #: of the pool report that is stored; None: send the next one whole
    # since 1.2
    #: {"task", "attempt"} at hand that nobody wants any more: ask once that their work ends, and report what is seen
    called_off: list[dict[str, Any]] = field(default_factory=list)

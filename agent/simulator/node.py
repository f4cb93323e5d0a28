"""One simulated machine: what survives joins and ejects, and what its xapi is doing right now."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Node:
    """A machine with a hypervisor, an address and at most one role."""

    name: str
    address: str
    uuid: str
    memory_bytes: int
    cpus: int
    cpu_vendor: str
    version: str  # xapi's version
    platform_version: str
    link_bytes_per_s: float  # what all migration streams of this machine share
    local_storage_bytes: int
    own_password: str  # root's password as installed; an eject brings it back
    password: str
    pool: int = 0
    master: str = ""  # the master's address; "" when this machine is the master
    power: str = "up"  # up, booting (answers HOST_STILL_BOOTING), down (no answer), off (down until powered on)
    incarnation: int = 0  # grows when xapi ends: connections of before are dead
    started_at: float = 0.0
    booted_at: float = 0.0
    auto_enable: bool = True
    tls_verification: bool = False
    local_sr_uuid: str = ""
    pif_uuid: str = ""
    joining: bool = False
    reboot_s: float = 120.0
    cut: bool = False  # off the network: up, but nobody reaches it
    facts: dict[str, Any] = field(default_factory=dict)  # what only join checks look at: bonds, ha, ...
    active: list[str] = field(default_factory=list)  # jobs that have a worker
    waiting: list[str] = field(default_factory=list)  # jobs that wait for one
    local_sessions: list[str] = field(default_factory=list)  # of emergency calls; they end with xapi

    @property
    def is_master(self) -> bool:
        """Tell whether this machine is its pool's master (also of a pool of one)."""
        return not self.master

    @property
    def reachable(self) -> bool:
        """Tell whether its xapi can be reached."""
        return self.power == "up" and not self.cut

    def go_down(self) -> None:
        """End xapi: every connection dies."""
        self.power = "down"
        self.incarnation += 1
        self.local_sessions.clear()

    def save(self) -> dict[str, Any]:
        """Return the machine as JSON values."""
        return asdict(self)

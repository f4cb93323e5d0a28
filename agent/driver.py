"""The port to a hypervisor: what an agent may ask and do, in few methods.

It knows no XenAPI, no conductor and no order; references of a connection stay behind
it.  Hosts and VMs are named by uuid.

Errors, unless a method says otherwise:
  reading   Unavailable (no answer; nothing was changed), SessionLost, HostIsSlave, HypervisorError
  acting    the same, and OutcomeUnknown (the call may or may not have been carried out: observe)
HypervisorError's details hold ``xapi_code``, ``params`` and ``effect``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from common.messages import PoolReport

#: what to wait for: ("vm", uuid), ("host", uuid) or ("work", Work.id)
Watch = tuple[str, str]


@dataclass(frozen=True)
class HostState:
    """One host as its pool's master has it."""

    uuid: str
    address: str
    enabled: bool
    live: bool
    mark: str | None = None            #: other_config["corral:operation"]
    agent_start_time: str = ""         #: changes when the toolstack restarted
    operations: tuple[str, ...] = ()


@dataclass(frozen=True)
class VmState:
    """One VM as its pool's master has it; ``resident_on`` and ``scheduled_on`` are host uuids."""

    uuid: str
    power_state: str
    resident_on: str | None
    scheduled_on: str | None = None
    operations: tuple[str, ...] = ()

    def to_wire(self) -> dict[str, Any]:
        """Return what a report says about a VM."""
        return {"power_state": self.power_state, "resident_on": self.resident_on,
                "scheduled_on": self.scheduled_on, "operations": list(self.operations)}


@dataclass(frozen=True)
class PoolState:
    """A pool and who is in it; ``members`` maps host uuid to address."""

    uuid: str
    name_label: str
    master_uuid: str
    members: Mapping[str, str]
    ha_enabled: bool = False
    tls_verification: bool = False


@dataclass(frozen=True)
class Occupancy:
    """What is on a host and what is on its way to it; control domains left out."""

    enabled: bool
    live: bool
    resident: tuple[str, ...]
    incoming: tuple[str, ...]
    creating: tuple[str, ...]          #: provision, vm_resume, vm_migrate among the host's operations


@dataclass(frozen=True)
class Work:
    """A mark in the pool under which work of one order runs; ``id`` means nothing outside this session."""

    id: str
    attempt: int
    note: str = ""                     #: what was noted when it was marked


@dataclass(frozen=True)
class WorkState:
    """How far the work is.  ``status`` None: marked, but nothing was begun under it (yet)."""

    status: str | None                 #: None | pending | success | failure | cancelled | gone
    progress: float = 0.0
    cancellable: bool = False
    error: tuple[str, ...] = ()        #: code and parameters


@dataclass(frozen=True)
class Whereabouts:
    """What an agent's own host is and where its pool is read from."""

    role: str                          #: standalone | master | slave | unreachable
    host_uuid: str | None = None
    address: str | None = None
    pool: str | None = None
    master_address: str | None = None
    trouble: dict[str, Any] | None = None


@dataclass(frozen=True)
class Joinable:
    """What speaks for and against a host's joining a pool, as far as it can be read."""

    objections: list[tuple[str, str]] = field(default_factory=list)   #: code, sentence
    needs_tls: bool = False            #: the pool verifies TLS and the joiner does not yet


class PoolSession(Protocol):
    """One session with the master of one pool: the right to act, for one thread.

    It never logs in again: SessionLost ends the right to act.  ``interrupt`` and ``nudge``
    alone may be called from another thread.
    """

    @property
    def session_uuid(self) -> str:
        """The uuid under which others can find and end this session."""

    @property
    def at_home(self) -> bool:
        """Whether the host that answers is the agent's own."""

    def close(self, logout: bool = True) -> None:
        """End the session (unless ``logout`` is false) and the connections.  Never raises; idempotent."""

    def reconnect(self) -> None:
        """Drop the connections and keep the session.  Never raises; idempotent."""

    def interrupt(self) -> None:
        """Make a running ``wait`` return now and the next ones return at once."""

    def nudge(self) -> None:
        """Make a running ``wait``, or else the next one, return now."""

    # reading
    def pool_uuid(self) -> str:
        """Return the uuid of the pool."""

    def pool(self) -> PoolState:
        """Return the pool and its members."""

    def host(self, uuid: str) -> HostState | None:
        """Return the host, None when the pool has none of that uuid."""

    def vm(self, uuid: str) -> VmState | None:
        """Return the VM, None when the pool has none of that uuid."""

    def occupancy(self, host: str) -> Occupancy | None:
        """Return what is on ``host``, read at one moment; None when the pool has no such host."""

    def started_at(self, hosts: Sequence[str]) -> dict[str, str]:
        """Return ``agent_start_time`` of the hosts that exist and of the pool's master."""

    def work_of(self, task: str) -> list[Work]:
        """Return all work marked for ``task`` by whatever session, newest attempt first."""

    def work_state(self, work: Work) -> WorkState:
        """Return how far ``work`` is; "gone" when its record does not exist any more."""

    def joinable(self, other: "PoolSession") -> Joinable:
        """Return what can be read of this standalone host's fitness to join the pool of ``other``."""

    def migration_network(self) -> str | None:
        """Return what names the network that the pool has chosen for migrations, None when it has chosen none."""

    def check_destination(self, vm: str, host: str) -> None:
        """Raise HypervisorError when ``vm`` could not run on ``host`` now; nothing is reserved."""

    def wait(self, watches: Sequence[Watch], timeout_s: float) -> None:
        """Return when one of ``watches`` may have changed since the last wait, or after ``timeout_s``."""

    # acting
    def fence(self, session_uuid: str) -> None:
        """End the session of that uuid.  Idempotent: one that is gone counts as ended."""

    def mark_work(self, task: str, attempt: int, note: str = "") -> Work:
        """Leave the mark under which work of this order will run.  Not idempotent; harmless when doubled."""

    def forget(self, work: Work) -> None:
        """Remove the mark and the ended work under it.  Idempotent; running work is not ended by it."""

    def cancel(self, work: Work) -> None:
        """Ask that ``work`` ends; it may still succeed.  Idempotent; work that has ended is no error."""

    def migrate(self, work: Work, vm: str, destination: str, network: str | None = None) -> None:
        """Begin the live migration of ``vm``, over ``network`` if given.  Not idempotent: observe after OutcomeUnknown.

        Source: VM.pool_migrate; many refusals come as the work's failure.
        """

    def start_on(self, work: Work, vm: str, host: str) -> None:
        """Begin to start ``vm`` on ``host``; a running VM makes it fail.  Source: VM.start_on."""

    def join(self, work: Work, master_address: str) -> None:
        """Begin to join this standalone host to the pool at ``master_address``.  Not idempotent."""

    def eject(self, work: Work, host: str) -> None:
        """Begin to eject ``host``; its local storage is wiped.  Not idempotent."""

    def set_mark(self, host: str, mark: str | None) -> None:
        """Write or remove the owner's mark on ``host``.  Idempotent."""

    def disable(self, host: str) -> None:
        """Let no VM start on or move to ``host``, also after its restart where supported.  Idempotent."""

    def enable(self, host: str) -> None:
        """Let ``host`` serve again.  Idempotent.  HOST_STILL_BOOTING: not yet."""

    def set_pool_name(self, name_label: str) -> None:
        """Name the pool.  Idempotent."""

    def sync_database(self) -> None:
        """Have the pool's database written on every live host.  Idempotent."""

    def enable_tls(self) -> None:
        """Turn on TLS verification in the pool.  Idempotent."""

    def destroy_host(self, host: str) -> None:
        """Remove the record of the dead ``host``.  Idempotent.  HOST_IS_LIVE: it is not dead."""


class Observer(Protocol):
    """A continuous view of one pool, kept up to date by its changes; for one thread but ``report``."""

    def follow(self, timeout_s: float) -> bool:
        """Wait for changes and take them in; return whether anything changed.

        Raises as reading does; after an error the view is empty and is read anew.
        """

    def report(self) -> PoolReport | None:
        """Return the pool as last seen, None while nothing was read since the last error."""

    def interrupt(self) -> None:
        """Make a running ``follow`` return or fail now; for any thread."""

    def close(self) -> None:
        """End the session and the connections.  Never raises; idempotent."""


class Hypervisor(Protocol):
    """The agent's own host, and through it its pool; safe for several threads."""

    def know(self, source: str, members: Mapping[str, str]) -> None:
        """Allow the addresses in ``members`` (by host uuid) to be asked, in place of ``source``'s last."""

    def locate(self) -> Whereabouts:
        """Return what the own host is.  Never raises: what is wrong is its ``trouble``."""

    def open(self, pool: str | None = None) -> PoolSession:
        """Log in at the own host, or at its master if that address is known.

        With ``pool`` (a uuid), and the own host in another one, at whichever known
        address answers for that pool.
        Raises Unavailable, Forbidden (code hypervisor_auth), HostIsSlave (unknown master).
        """

    def open_pool(self, address: str) -> PoolSession:
        """Log in at the master ``address`` with the pool's credentials.  Raises as ``open`` does."""

    def observe(self) -> Observer:
        """Begin to observe the pool.  Raises as ``open`` does."""

    def close(self) -> None:
        """End what ``locate`` keeps open.  Never raises."""

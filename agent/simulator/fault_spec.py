"""What may be said about faults, in a world file and over the control listener; errors name the place.

Five kinds, told apart by a key: `call` (what happens to calls), `migration`, `join` and `eject` (in which phase one
fails) and `at` (what befalls a machine, or what an operator does behind everybody's back). Does nothing itself.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

from agent.simulator.failure import WorldError
from agent.simulator.reading import entry_of
from agent.simulator.table import load_table

PHASES = ("setup", "stream", "pause", "device", "teardown")
COPYING = "mirror"  # of disks, before all these; only VM.migrate_send has it
BROKEN = ("INTERNAL_ERROR", 'xenopsd internal error: Failure("Failed to read HTTP response")')
JOIN_PHASES = ("exchange", "record", "metadata", "role", "hook")
JOIN_WITHOUT_VM = "vm"  # no phase: the metadata of one VM is not copied, and the join goes on
EJECT_PHASES = ("storage", "role")
UNCLEAN = ("INTERNAL_ERROR", "a clean-up failed")  # seen to be an internal error; the text is a guess


@dataclass(frozen=True)
class CallFault:
    """What happens to calls whose name fits `call` (a pattern like `VM.*`; `Async.` counts)."""

    call: str
    do: str  # drop, delay, error
    when: str = "before"  # or after it took effect
    seconds: float = 0.0  # of delay
    error: tuple[str, ...] = ()  # code and parameters
    host: str = ""  # only where this host is called
    originator: str = "*"  # only of sessions whose originator fits
    chance: float = 1.0  # of those that fit
    skip: int = 0  # so many go by first
    times: int = 1  # 0 = always
    until: float = 0.0  # seconds from now; 0 = for ever


@dataclass(frozen=True)
class MigrationFault:
    """The end of a migration in a phase."""

    migration: str  # the phase
    error: tuple[str, ...] = BROKEN
    seconds: float = 0.0  # after the phase has begun, if it lasts so long
    reboot: bool = False  # of stream: the guest reboots, and is sent anew; only the third time is the end
    vm: str = ""
    host: str = ""  # the source or the target
    chance: float = 1.0
    skip: int = 0
    times: int = 1
    until: float = 0.0


@dataclass(frozen=True)
class JoinFault:
    """The end of a join in a phase, when all that the phase does is done; or one VM that is left behind."""

    join: str  # the phase, or `vm`
    error: tuple[str, ...] = UNCLEAN
    vm: str = ""  # of `vm`
    host: str = ""  # the joiner
    chance: float = 1.0
    skip: int = 0
    times: int = 1
    until: float = 0.0


@dataclass(frozen=True)
class EjectFault:
    """The end of an eject after a phase."""

    eject: str  # the phase
    error: tuple[str, ...] = UNCLEAN
    host: str = ""  # the one that is ejected
    chance: float = 1.0
    skip: int = 0
    times: int = 1
    until: float = 0.0


@dataclass(frozen=True)
class Incident:
    """What befalls a machine, or, with `operator`, a call that somebody else makes."""

    at: float  # seconds from now
    do: str = ""  # one of INCIDENTS
    host: str = ""
    rate: int = -1  # of the link, bytes/s; 0 = dead, -1 = as it was built
    operator: str = ""  # a message, like VM.clean_shutdown
    params: list[Any] = field(default_factory=list)  # its parameters; {VM: web-1} stands for a reference
    every: float = 0.0  # again after so many seconds; 0 = once
    times: int = 1  # how often, with `every`; 0 = always
    loses: bool = False  # with crash of a master: what was done since its database was last written is gone
    seconds: float = 0.0  # how long apply_updates lasts


FaultSpec = CallFault | MigrationFault | JoinFault | EjectFault | Incident
KINDS: dict[str, type[FaultSpec]] = {
    "call": CallFault, "migration": MigrationFault, "join": JoinFault, "eject": EjectFault, "at": Incident}
INCIDENTS = ("power_off", "power_on", "kill", "stop", "start", "crash", "cut", "one_way", "mend", "link", "enable",
             "freeze", "thaw", "lose_daemon", "lag", "apply_updates")


def faults_of(entries: Any, place: str = "faults") -> tuple[FaultSpec, ...]:
    """Read a list of faults; raises WorldError."""
    if not isinstance(entries, list):
        raise WorldError(f"{place}: a list is expected")
    return tuple(_fault_of(f"{place}[{index}]", entry) for index, entry in enumerate(entries))


def _fault_of(place: str, entry: Any) -> FaultSpec:
    kinds = [key for key in KINDS if isinstance(entry, dict) and key in entry]
    if len(kinds) != 1:
        raise WorldError(f"{place}: exactly one of {', '.join(KINDS)} is expected")
    fault: FaultSpec = entry_of(KINDS[kinds[0]], place, entry)
    if isinstance(fault, CallFault):
        _check_call(place, fault)
    elif isinstance(fault, MigrationFault):
        _one_of(f"{place}.migration", fault.migration, (COPYING, *PHASES))
        if fault.reboot and fault.migration != "stream":
            raise WorldError(f"{place}.reboot: a guest reboots while its memory is sent, in `stream`")
    elif isinstance(fault, JoinFault):
        _one_of(f"{place}.join", fault.join, (*JOIN_PHASES, JOIN_WITHOUT_VM))
        if fault.vm and fault.join != JOIN_WITHOUT_VM:
            raise WorldError(f"{place}.vm: only `join: {JOIN_WITHOUT_VM}` leaves one behind")
    elif isinstance(fault, EjectFault):
        _one_of(f"{place}.eject", fault.eject, EJECT_PHASES)
    else:
        _check_incident(place, fault)
    for name in ("seconds", "at", "every", "until", "skip", "times"):
        if getattr(fault, name, 0) < 0:
            raise WorldError(f"{place}.{name}: no negative number")
    if not 0 <= getattr(fault, "chance", 1.0) <= 1:
        raise WorldError(f"{place}.chance: a number from 0 to 1 is expected")
    return fault


def _check_call(place: str, fault: CallFault) -> None:
    _one_of(f"{place}.do", fault.do, ("drop", "delay", "error"))
    _one_of(f"{place}.when", fault.when, ("before", "after"))
    if fault.do == "error" and not fault.error:
        raise WorldError(f"{place}.error: a code is expected, and its parameters")
    if fault.do == "delay" and not fault.seconds:
        raise WorldError(f"{place}.seconds: a delay needs them")


def _check_incident(place: str, fault: Incident) -> None:
    if bool(fault.do) == bool(fault.operator):
        raise WorldError(f"{place}: either `do` or `operator` is expected")
    if fault.do:
        _one_of(f"{place}.do", fault.do, INCIDENTS)
        if fault.loses and fault.do != "crash":
            raise WorldError(f"{place}.loses: only a crash loses something")
        if bool(fault.seconds) != (fault.do == "apply_updates"):
            raise WorldError(f"{place}.seconds: apply_updates needs them, and nothing else takes them")
        if not fault.host:
            raise WorldError(f"{place}: 'host' is missing")
        return
    message = load_table().messages.get(fault.operator)
    if message is None or message.kind in ("unserved", "removed"):
        raise WorldError(f"{place}.operator: {fault.operator!r} is not simulated")
    if not message.required <= len(fault.params) <= len(message.params):
        raise WorldError(f"{place}.params: {fault.operator} takes {len(message.params)}")
    for index, value in enumerate(fault.params):
        if not isinstance(value, dict) or not message.params[index][1].endswith(" ref"):
            continue
        if len(value) != 1:
            raise WorldError(f"{place}.params[{index}]: one class and one name are expected, like {{VM: web-1}}")
        if next(iter(value)) not in load_table().classes:
            raise WorldError(f"{place}.params[{index}]: there is no class {next(iter(value))!r}")


def _one_of(place: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise WorldError(f"{place}: {value!r} is not known; known are {', '.join(known)}")


def check_faults(faults: Collection[FaultSpec], hosts: Collection[str], vms: Collection[str]) -> None:
    """Raise WorldError for faults of hosts or VMs that the world has not."""
    for index, fault in enumerate(faults):
        if fault.host and fault.host not in hosts:
            raise WorldError(f"faults[{index}].host: there is no host {fault.host!r}")
        if isinstance(fault, MigrationFault | JoinFault) and fault.vm and fault.vm not in vms:
            raise WorldError(f"faults[{index}].vm: there is no VM {fault.vm!r}")

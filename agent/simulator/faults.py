"""Faults put in on purpose: rules that calls and migrations may meet, in the order in which they were given.

`fail_next`, `drop_next` and `delay_next` of a world, world files, the control listener and the swarm all
make such rules. What befalls machines stands in incidents.py.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from agent.simulator.failure import Dropped, Failure

if TYPE_CHECKING:
    from agent.simulator.calls import CallRecord
    from agent.simulator.world import World


@dataclass
class Rule:
    """A fault of calls, migrations, joins or ejects (fault_spec.py) at work: times as moments, hosts as addresses."""

    number: int
    call: str = ""
    migration: str = ""
    join: str = ""
    eject: str = ""
    do: str = "error"
    when: str = "before"
    seconds: float = 0.0
    reboot: bool = False
    error: list[str] = field(default_factory=list)
    address: str = ""
    vm: str = ""
    originator: str = "*"
    chance: float = 1.0
    skip: int = 0
    left: int = 1  # -1 = always
    until: float = 0.0

    def strikes(self, world: "World") -> bool:
        """Count one that fits, and tell whether it is hit; a rule that is used up goes."""
        if self.until and world.now > self.until:
            world.faults.remove(self)
            return False
        if self.skip:
            self.skip -= 1
            return False
        if self.chance < 1 and world.random.random() >= self.chance:
            return False
        if self.left > 0:
            self.left -= 1
            if not self.left:
                world.faults.remove(self)
        return True

    def save(self) -> dict[str, Any]:
        """Return the rule as JSON values."""
        return asdict(self)


@dataclass
class Delayed:
    """A call that has not begun yet."""

    due: float
    record: "CallRecord"
    serve: Callable[[], Any]
    inner: Any = None

    def poll(self, world: "World") -> tuple[bool, Any]:
        """Begin when it is time, then poll what the call itself waits for."""
        if world.now < self.due:
            return False, None
        if self.inner is None:
            result = logged(world, self.record, self.serve)
            if not hasattr(result, "poll"):
                return True, result
            self.inner = result
        done: tuple[bool, Any] = self.inner.poll(world)
        return done


@dataclass
class Late:
    """A call that is over, but whose answer comes later; what it still waits for is waited for afterwards."""

    due: float
    result: Any
    failure: Failure | None

    def poll(self, world: "World") -> tuple[bool, Any]:
        """Answer when it is time."""
        if world.now < self.due:
            return False, None
        if self.failure:
            raise self.failure
        if hasattr(self.result, "poll"):
            done: tuple[bool, Any] = self.result.poll(world)
            return done
        return True, self.result


def apply(world: "World", record: "CallRecord", serve: Callable[[], Any]) -> Any:
    """Serve a call under the first rule that strikes it, and write the outcome to the log."""
    rule = next((one for one in list(world.faults) if fits_call(one, record) and one.strikes(world)), None)
    if rule is None:
        return logged(world, record, serve)
    record.fault = rule.number
    if rule.when == "after":
        return _afterwards(world, record, rule, serve)
    if rule.do == "delay":
        world.later(rule.seconds, "tick")
        return Delayed(world.now + rule.seconds, record, serve)
    raise _ended(world, record, rule)


def fits_call(rule: Rule, record: "CallRecord") -> bool:
    """Tell whether a rule is meant for a call."""
    return bool(rule.call) and fnmatchcase(record.method, rule.call) and rule.address in ("", record.address) \
        and fnmatchcase(record.originator, rule.originator)


def _afterwards(world: "World", record: "CallRecord", rule: Rule, serve: Callable[[], Any]) -> Any:
    result, failure = None, None
    try:
        result = serve()
    except Failure as exc:  # a client whose answer is lost must not learn how it ended
        failure = exc
    if rule.do != "delay":
        raise _ended(world, record, rule)
    world.later(rule.seconds, "tick")
    return Late(world.now + rule.seconds, result, failure)


def _ended(world: "World", record: "CallRecord", rule: Rule) -> Exception:
    if rule.do == "drop":
        world.calls.end(record, "dropped", world.now)
        return Dropped()
    world.calls.end(record, rule.error[0], world.now)
    return Failure(*rule.error)


def logged(world: "World", record: "CallRecord", serve: Callable[[], Any]) -> Any:
    """Serve a call and note how it ended, as far as that is known at once."""
    try:
        result = serve()
    except Failure as failure:
        world.calls.end(record, failure.code, world.now)
        raise
    except Dropped:
        world.calls.end(record, "dropped", world.now)
        raise
    if not hasattr(result, "poll"):
        world.calls.end(record, "Success", world.now)
    return result


def at_phase(world: "World", job: dict[str, Any]) -> None:
    """Let a migration that has just entered a phase meet the first rule that strikes it."""
    name = world.name_of(job["pool"], "VM", job["vm"])
    for rule in list(world.faults):
        if rule.migration == job["phase"] and rule.vm in ("", name) \
                and rule.address in ("", job["node"], job["target"]) and rule.strikes(world):
            world.later(rule.seconds, "migrate.rebooted" if rule.reboot else "migrate.struck", job=job["id"],
                        phase=rule.migration, description=rule.error)
            return


def at_join(world: "World", phase: str, address: str, vm: str = "") -> list[str]:
    """Return the error of the first rule that strikes a joiner at the end of this phase, [] if none does."""
    for rule in list(world.faults):
        if rule.join == phase and rule.address in ("", address) and rule.vm in ("", vm) and rule.strikes(world):
            return rule.error
    return []


def at_eject(world: "World", phase: str, address: str) -> list[str]:
    """Return the error of the first rule that strikes an ejected machine at the end of this phase, [] if none does."""
    for rule in list(world.faults):
        if rule.eject == phase and rule.address in ("", address) and rule.strikes(world):
            return rule.error
    return []

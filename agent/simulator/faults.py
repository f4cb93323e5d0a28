"""Faults put in on purpose, one call at a time; the place where later ones are added."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from agent.simulator.failure import Dropped, Failure

if TYPE_CHECKING:
    from agent.simulator.call import CallRecord
    from agent.simulator.world import World


@dataclass
class Fault:
    """What happens to the next call of `method` (at `address`, if given): drop, error or delay."""

    method: str
    action: str  # error, drop_before, drop_after, delay
    description: list[str] = field(default_factory=list)
    delay_s: float = 0.0
    address: str = ""


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
            result = logged(self.record, self.serve)
            if not hasattr(result, "poll"):
                return True, result
            self.inner = result
        done: tuple[bool, Any] = self.inner.poll(world)
        return done


def apply(world: "World", record: "CallRecord", serve: Callable[[], Any]) -> Any:
    """Serve a call under the first fault that is meant for it, and write the outcome to the log."""
    fault = next((one for one in world.faults if one.method == record.method
                  and one.address in ("", record.address)), None)
    if fault is None:
        return logged(record, serve)
    world.faults.remove(fault)
    if fault.action == "error":
        record.result = fault.description[0]
        raise Failure(*fault.description)
    if fault.action == "delay":
        world.later(fault.delay_s, "tick")
        return Delayed(world.now + fault.delay_s, record, serve)
    if fault.action == "drop_after":
        with suppress(Failure):  # the client must not learn how it ended
            logged(record, serve)
    record.result = "dropped"
    raise Dropped


def logged(record: "CallRecord", serve: Callable[[], Any]) -> Any:
    """Serve a call and note how it ended, as far as that is known at once."""
    try:
        result = serve()
    except Failure as failure:
        record.result = failure.code
        raise
    except Dropped:
        record.result = "dropped"
        raise
    if not hasattr(result, "poll"):
        record.result = "Success"
    return result

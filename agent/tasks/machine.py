"""What all step machines share: observe, decide, act if needed, observe again.

A machine is asked for its next step until it has settled.  It has no thread and never
sleeps; it knows the driver's port and its order, no transport and no conductor.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agent.driver import Hypervisor, PoolSession, Watch, Work, WorkState
from common import errors
from common.clock import Clock
from common.messages import Order

#: longest wait for a change before looking again, since an event may be lost
LOOK_AGAIN_S = 15.0
#: how long work that was marked may take to show up when the reply of its call was lost
SHOW_UP_S = 5.0


@dataclass(frozen=True)
class Wait:
    """Ask again when something happened, at the latest after ``timeout_s``.

    ``news`` are readings worth an early report.
    """

    timeout_s: float
    watches: tuple[Watch, ...] = ()
    progress: float = 0.0
    news: dict[str, Any] | None = None


@dataclass(frozen=True)
class Settled:
    """The machine has ended: nothing of it runs, and it will not act any more."""

    readings: dict[str, Any] = field(default_factory=dict)
    error: dict[str, Any] | None = None


Step = Wait | Settled


@dataclass
class Surroundings:
    """What a machine is handed: who answers, the time, and its right to act.

    ``may_act`` returns when the claim is fresh, and raises when the order was withdrawn.
    ``called_off`` says whether nobody wants the order any more.
    """

    driver: PoolSession
    hypervisor: Hypervisor
    clock: Clock
    may_act: Callable[[], None]
    called_off: Callable[[], bool] = lambda: False


class Machine:
    """One attempt at one order; subclasses say what a step is."""

    def __init__(self, order: Order, around: Surroundings) -> None:
        self.order = order
        self.around = around
        self.error: dict[str, Any] | None = None
        self.work: Work | None = None
        self.acted = False
        self._began = around.clock.monotonic()
        self._begun_work_at: float | None = None
        self._cancelled = False
        self._found: list[Work] = []

    @property
    def driver(self) -> PoolSession:
        """The session to read and act with; it may be another one at the next step."""
        return self.around.driver

    def step(self) -> Step:
        """Observe, act if that is needed and allowed, and return what to wait for or how it ended.

        Raises what the driver raises; the next step then observes first.
        """
        raise NotImplementedError

    def resume(self, driver: PoolSession) -> None:
        """Go on with ``driver`` after an interruption: what was begun is looked up again."""
        self.around.driver = driver
        self.work = None

    def finish(self) -> None:
        """Clear away the marks of ended work, once its outcome is known to the conductor."""
        for work in {work.id: work for work in (*self._found, *([self.work] if self.work else ()))}.values():
            self.driver.forget(work)

    def release(self) -> None:
        """Let go of what this machine itself opened.  Never raises; idempotent."""

    def readings(self) -> dict[str, Any]:
        """Return what has been read last."""
        return {}

    # helpers for the subclasses
    def settled(self) -> Settled:
        """Return the end, with what has been read last."""
        return Settled(self.readings(), self.error)

    def elapsed_s(self) -> float:
        """Return the seconds since this machine began."""
        return self.around.clock.monotonic() - self._began

    def over_limit(self) -> bool:
        """Return whether the order's time is up."""
        return self.elapsed_s() >= self.order.limit_s

    def patience_s(self) -> float:
        """Return how long to wait for a change before looking again."""
        left = self.order.limit_s - self.elapsed_s()
        return min(LOOK_AGAIN_S, left) if left > 0 else 1.0

    def adopt(self, counting: tuple[str, ...] = ("pending",)) -> WorkState | None:
        """Find what was begun for this order and return its state; None when nothing was.

        Of earlier attempts only work in a state of ``counting`` is adopted: what failed
        there is no news here.
        """
        if self.work is not None:
            return self.driver.work_state(self.work)
        self._found = self.driver.work_of(self.order.task)
        states = [(work, self.driver.work_state(work)) for work in self._found]
        ours = [(w, s) for w, s in states if s.status in counting] or [
            (w, s) for w, s in states if w.attempt == self.order.attempt
        ]
        if not ours:
            return None
        # Of several marks of one attempt the one under which something was begun counts.
        self.work, state = next(((w, s) for w, s in ours if s.status is not None), ours[0])
        self.acted = True
        if self._begun_work_at is None:
            self._begun_work_at = self.around.clock.monotonic()
        return state

    def begin(self, call: Callable[[Work], None], note: dict[str, str] | None = None) -> None:
        """Mark the work, then make ``call`` under the mark; a refusal becomes the error."""
        self.around.may_act()
        self.work = self.driver.mark_work(
            self.order.task, self.order.attempt, json.dumps(note) if note else ""
        )
        self.acted = True
        self._begun_work_at = self.around.clock.monotonic()
        work = self.work
        self.do(lambda: call(work))

    def do(self, call: Callable[[], None]) -> bool:
        """Make ``call``; return whether it was accepted.  A refusal becomes the error of the report."""
        try:
            call()
        except (errors.SessionLost, errors.HostIsSlave):
            raise
        except errors.HypervisorError as exc:
            self.error = refusal(exc)
            return False
        return True

    def shown_up(self) -> bool:
        """Return False while work whose reply was lost may still show up under its mark."""
        began = self._begun_work_at
        return began is None or self.around.clock.monotonic() - began >= SHOW_UP_S

    def cancel_once(self) -> None:
        """Ask once that the work ends."""
        if self.work is not None and not self._cancelled:
            self._cancelled = True
            work, error = self.work, self.error
            self.do(lambda: self.driver.cancel(work))
            # A refused cancel says nothing about the work, which is watched to its end anyway.
            self.error = error

    def take_error(self, state: WorkState | None) -> None:
        """Keep the error with which the work failed."""
        if state is not None and state.error:
            self.error = failure(state.error)


def refusal(exc: errors.Error) -> dict[str, Any]:
    """Return a hypervisor's refusal as a report carries it."""
    return {
        "code": exc.details.get("xapi_code", exc.code),
        "params": list(exc.details.get("params", ())),
        "message": exc.message,
        "effect": exc.details.get("effect", exc.effect),
    }


def failure(error: tuple[str, ...]) -> dict[str, Any]:
    """Return failed work's code and parameters as a report carries them; what it did must be observed."""
    return {
        "code": error[0],
        "params": list(error[1:]),
        "effect": "unknown",
        "message": f"XenServer reports {error[0]}" + (f" ({', '.join(error[1:])})" if error[1:] else ""),
    }


def problem(code: str, message: str, params: tuple[str, ...] = (), effect: str = "none") -> dict[str, Any]:
    """Return an error of the agent's own as a report carries it."""
    return {"code": code, "params": list(params), "message": message, "effect": effect}

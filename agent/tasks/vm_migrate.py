"""Move one VM to one host, live.

Done is read from the VM alone: where it is resident, and that no operation is left on
it.  What that amounts to, the conductor judges.
"""

import json
from typing import Any

from agent.driver import VmState, WorkState
from agent.tasks.machine import Machine, Settled, Step, Wait, problem

#: between the two readings of a VM whose task is gone: nothing announces the end of a floating move
TWICE_S = 1.0
#: how long operations may stay on the VM after its task has ended (6 s were seen with 20 moves at once)
AFTER_S = 120.0
ENDED = ("success", "failure", "cancelled", "gone")


class VmMigrate(Machine):
    """args: vm, source, destination (uuids)."""

    _vm: VmState | None = None
    _state: WorkState | None = None
    _before: dict[str, str] | None = None
    _after: dict[str, str] | None = None
    _read = False
    _suspended = False
    _reads_when_gone = 0
    _ended_at: float | None = None

    def step(self) -> Step:
        """Observe the VM and the work; begin the move if the VM is where the order says and idle."""
        # The work first: a VM read after its task has ended shows what the task left.
        self._state = state = self._work_state()
        if state is not None and state.status == "pending":
            return self._follow(state)
        self._vm = vm = self.driver.vm(self.order.args["vm"])
        self._read = True
        if vm is None:
            return self._end()
        self._suspended = self._suspended or (self.acted and vm.power_state in ("Suspended", "Halted"))
        if state is None and not self.acted:
            return self._begin(vm)
        if self.error is None and (state is None or state.status is None):
            return self._missing(vm, state)
        return self._ended(vm, state)

    def _work_state(self) -> WorkState | None:
        known = self._state
        if known is not None and known.status in ENDED and self.work is not None:
            return known
        state = self.adopt()
        if state is None and self.acted:
            # Marked by us and not found any more: the master restarted and lost its tasks.
            return WorkState("gone", progress=known.progress if known else 0.0)
        if state is not None and self._before is None and self.work is not None and self.work.note:
            self._before = _noted(self.work.note)
        return state

    def _begin(self, vm: VmState) -> Step:
        if vm.operations and not self.over_limit():
            return Wait(self.patience_s(), (("vm", vm.uuid),))
        if vm.resident_on != self.order.args["source"] or vm.power_state != "Running" or self.over_limit():
            return self._end()
        # Claims anew when the claim is old, and so learns whether the move is still wanted.
        self.around.may_act()
        if self.around.called_off():
            return self._end()
        self._before = self._starts()
        destination, network = self.order.args["destination"], self.driver.migration_network()
        # What the plan was made from may have changed; asked now, a refusal leaves nothing behind.
        if not self.do(lambda: self.driver.check_destination(vm.uuid, destination)):
            return self._end()
        self.begin(lambda work: self.driver.migrate(work, vm.uuid, destination, network), note=self._before)
        if self.error is not None:
            return self.step()
        return Wait(self.patience_s(), self._watches())

    def _follow(self, state: WorkState) -> Step:
        # From the suspension on xapi does not allow to cancel; progress 0 is a queue or a check before it.
        self._suspended = self._suspended or (state.progress > 0 and not state.cancellable)
        # Once the VM is suspended only the move's end keeps it running; then it is awaited.
        if self.over_limit() or (self.around.called_off() and state.cancellable):
            self.cancel_once()
        return Wait(self.patience_s(), self._watches(), state.progress)

    def _missing(self, vm: VmState, state: WorkState | None) -> Step:
        """The call's reply was lost and nothing is seen under its mark."""
        if not self.shown_up() or (vm.operations and not self.over_limit()):
            return Wait(TWICE_S, (("vm", vm.uuid),))
        self.error = problem(
            "outcome_unknown",
            "The reply to the migration's start was lost and no task of it was found",
            effect="unknown",
        )
        return self._ended(vm, state)

    def _ended(self, vm: VmState, state: WorkState | None) -> Step:
        now = self.around.clock.monotonic()
        self._ended_at = now if self._ended_at is None else self._ended_at
        if vm.operations and now - self._ended_at < AFTER_S:
            return Wait(TWICE_S, (("vm", vm.uuid),), 1.0)
        if state is not None and state.status == "gone":
            self._reads_when_gone += 1
            if self._reads_when_gone < 2:
                return Wait(TWICE_S, (), 1.0)
        self.take_error(state)
        return self._end()

    def _end(self) -> Settled:
        self._after = self._starts()
        return self.settled()

    def _starts(self) -> dict[str, str]:
        return self.driver.started_at([self.order.args["source"], self.order.args["destination"]])

    def _watches(self) -> tuple[tuple[str, str], ...]:
        """Watch the work alone while it runs: it ends after the VM's operation, and each wake costs reads."""
        return (("work", self.work.id),) if self.work is not None else ()

    def readings(self) -> dict[str, Any]:
        """Return where the VM is, how its task stands and when the hosts concerned were started."""
        state = self._state
        if not self._read:
            return {}
        return {
            "vm": self._vm.to_wire() if self._vm is not None else None,
            "task": state.status if state is not None else None,
            "progress": state.progress if state is not None else 0.0,
            "started_at": self._after or self._before or {},
            "started_at_before": self._before or {},
            "acted": self.acted,
            "suspended": self._suspended,
        }


def _noted(note: str) -> dict[str, str] | None:
    """Return the start times noted with the work; None when the note is not ours (anybody can write there)."""
    try:
        times = json.loads(note)
    except ValueError:
        return None
    return {str(host): str(at) for host, at in times.items()} if isinstance(times, dict) else None

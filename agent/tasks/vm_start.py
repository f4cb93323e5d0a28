"""Start a VM that lost power in a move of ours, on that move's destination and nowhere else."""

from typing import Any

from agent.driver import VmState, WorkState
from agent.tasks.machine import Machine, Step, Wait, problem


class VmStart(Machine):
    """args: vm, destination.  If the VM runs there unknown to the pool, the attempt heals its record."""

    _vm: VmState | None = None
    _state: WorkState | None = None

    def step(self) -> Step:
        """Observe; start the VM if it is halted and idle; wait for the work and observe."""
        self._state = state = self.adopt()
        self._vm = vm = self.driver.vm(self.order.args["vm"])
        if vm is None:
            return self.settled()
        watches = (("vm", vm.uuid), *((("work", self.work.id),) if self.work is not None else ()))
        if not self.acted:
            if vm.operations and not self.over_limit():
                return Wait(self.patience_s(), watches)
            if vm.power_state != "Halted" or vm.operations or self.over_limit():
                return self.settled()
            self.begin(lambda work: self.driver.start_on(work, vm.uuid, self.order.args["destination"]))
            return self.step() if self.error is not None else Wait(self.patience_s(), watches)
        if state is not None and state.status == "pending":
            if self.over_limit():
                self.cancel_once()
            return Wait(self.patience_s(), watches, state.progress)
        if vm.operations and not self.over_limit():
            return Wait(1.0, watches)
        if self.error is None and (state is None or state.status is None):
            if not self.shown_up():
                return Wait(1.0, watches)
            self.error = problem(
                "outcome_unknown",
                "The reply to the start was lost and no task of it was found",
                effect="unknown",
            )
        self.take_error(state)
        return self.settled()

    def readings(self) -> dict[str, Any]:
        """Return where the VM is."""
        return {
            "vm": self._vm.to_wire() if self._vm is not None else None,
            "task": self._state.status if self._state is not None else None,
        }

"""Eject a host from its pool, through the master.

Past return as soon as the master does not know the host any more; that it comes up
standalone afterwards is reported if seen at once, and not waited for.
"""

from typing import Any

from agent.driver import HostState, WorkState
from agent.tasks.machine import Machine, Step, Wait, problem

#: between the two readings that must agree
TWICE_S = 0.5


class PoolEject(Machine):
    """args: none; the host is the order's."""

    _host: HostState | None = None
    _state: WorkState | None = None
    _read = False
    _absent = 0
    _standalone = False

    def step(self) -> Step:
        """Observe; eject the host if it is there; wait until it is absent, seen twice."""
        self._state = state = self.adopt()
        self._host = host = self.driver.host(self.order.host_uuid)
        self._read = True
        if host is None:
            return self._gone()
        self._absent = 0
        watches = (("host", host.uuid), *((("work", self.work.id),) if self.work is not None else ()))
        if not self.acted:
            if self.over_limit():
                return self.settled()
            self.begin(lambda work: self.driver.eject(work, host.uuid))
            return self.step() if self.error is not None else Wait(self.patience_s(), watches)
        if state is not None and state.status == "pending":
            if self.over_limit():
                self.cancel_once()
            return Wait(self.patience_s(), watches, state.progress)
        if self.error is None and not self.shown_up():
            return Wait(TWICE_S, watches)
        self.take_error(state)
        if self.error is None:
            self.error = problem("outcome_unknown", "The ejection's task has ended or was lost, "
                                 "and the host is still in the pool", effect="unknown")
        return self.settled()

    def _gone(self) -> Step:
        self._absent += 1
        if self._absent < 2:
            return Wait(TWICE_S, progress=1.0, news=self.readings())
        if self.driver.pool().members.get(self.order.host_uuid) is None:
            here = self.around.hypervisor.locate()
            self._standalone = here.role == "standalone" and here.host_uuid == self.order.host_uuid
        self.error = None
        return self.settled()

    def readings(self) -> dict[str, Any]:
        """Return whether the master has the host and whether it was seen on its own."""
        return {"on_master": self._host is not None, "standalone": self._standalone} if self._read else {}

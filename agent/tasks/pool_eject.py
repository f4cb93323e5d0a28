"""Eject a host from its pool, through the master.

Past return as soon as the master does not know the host any more; that it comes up
standalone afterwards is reported if seen at once, and not waited for.  When the master
still has it though the work is over, the host itself is asked: one that stands alone by
then was ejected halfway, and does not come back by itself.
"""

from typing import Any

from agent.driver import HostState, Watch, WorkState
from agent.tasks.machine import Machine, Step, Wait, problem

#: between the two readings that must agree
TWICE_S = 0.5
#: how long a host that answers as a member goes on doing so at most when it is on its way out (xapi's fuse is 10 s)
QUIET_S = 20.0
LOOK_S = 1.0
#: refused by xapi before anything was begun (XENAPI §10): nothing can follow
REFUSED = frozenset({"HA_IS_ENABLED", "HOST_OFFLINE", "NOT_SUPPORTED_DURING_UPGRADE", "OPERATION_NOT_ALLOWED",
                     "POOL_SECRET_ROTATION_PENDING"})


class PoolEject(Machine):
    """args: optional ``quiet_s`` (20 s); the host is the order's."""

    _host: HostState | None = None
    _state: WorkState | None = None
    _read = False
    _absent = 0
    _alone = 0
    _standalone = False
    _over_since: float | None = None

    def step(self) -> Step:
        """Observe; eject the host if it is there; wait until it is absent, seen twice, or the work has come to an end.

        One that stands alone already is not ejected again, which would wipe it again.
        """
        self._state = state = self.adopt()
        self._host = host = self.driver.host(self.order.host_uuid)
        self._read = True
        if host is None:
            return self._gone()
        self._absent = 0
        watches = (("host", host.uuid), *((("work", self.work.id),) if self.work is not None else ()))
        if not self.acted:
            role = self._role()
            if role == "standalone" or self.over_limit():
                return self._over(role)
            self._alone = 0
            self.begin(lambda work: self.driver.eject(work, host.uuid))
            return self.step() if self.error is not None else Wait(self.patience_s(), watches)
        if state is not None and state.status == "pending":
            return self._pending(state, watches)
        if self.error is None and (state is None or state.status in (None, "gone")) and not self.shown_up():
            return Wait(TWICE_S, watches)
        self.take_error(state)
        return self._over(self._role())

    def _pending(self, state: WorkState, watches: tuple[Watch, ...]) -> Step:
        if self.over_limit():
            self.cancel_once()
            role = self._role()
            if role == "standalone":
                return self._over(role)
            self._alone = 0
        return Wait(self.patience_s(), watches, state.progress)

    def _gone(self) -> Step:
        self._absent += 1
        if self._absent < 2:
            return Wait(TWICE_S, progress=1.0, news=self.readings())
        if self.driver.pool().members.get(self.order.host_uuid) is None:
            self._standalone = self._role() == "standalone"
        self.error = None
        return self.settled()

    def _over(self, role: str | None) -> Step:
        """The work is over or has no time left, and the master has the host: wait for what that shows, and settle."""
        if self._over_since is None:
            self._over_since = self.around.clock.monotonic()
        self._alone = self._alone + 1 if role == "standalone" else 0
        if self._alone == 1:
            return Wait(TWICE_S)
        self._standalone = self._alone > 1
        if self._standalone:
            why = f": {self.error['message']}" if self.error else ""
            self.error = problem("ejected_halfway", f"Host {self.order.host} stands alone, and its old pool still "
                                 f"lists it{why}", effect="unknown")
        elif self._may_be_leaving(role):
            return Wait(LOOK_S)
        elif self.error is None and self.acted:
            self.error = problem("outcome_unknown", "The ejection's task has ended or was lost, "
                                 "and the host is still in the pool", effect="unknown")
        return self.settled()

    def _role(self) -> str | None:
        """Return what the host itself says it is; None when it is not the one that is asked here."""
        if self.order.executor != self.order.host:
            return None
        here = self.around.hypervisor.locate()
        if here.role == "standalone" and (here.host_uuid != self.order.host_uuid or here.pool == self.order.pool):
            return None
        return here.role

    def _may_be_leaving(self, role: str | None) -> bool:
        """Return whether the host may stand alone soon: what was begun restarts it after a while."""
        if not self.acted or self.over_limit() or (self.error is not None and self.error["code"] in REFUSED):
            return False
        over_s = self.around.clock.monotonic() - (self._over_since or 0.0)
        return role == "unreachable" or (role == "slave" and over_s < float(self.order.args.get("quiet_s", QUIET_S)))

    def readings(self) -> dict[str, Any]:
        """Return whether the master has the host and whether it was seen on its own."""
        return {"on_master": self._host is not None, "standalone": self._standalone} if self._read else {}

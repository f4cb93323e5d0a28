"""Remove the record of a dead host from its pool.

xapi refuses that for as long as it takes the host for live, which it does for up to ten
minutes after the host's last heartbeat: that is waited for here, within the order's limit.
"""

from typing import Any

from agent.tasks.machine import Machine, Step, Wait

LIVE = "HOST_IS_LIVE"
#: longest pause between two looks at a host that is still taken for live
LOOK_S = 30.0


class HostDestroy(Machine):
    """args: none."""

    _on_master: bool | None = None

    def step(self) -> Step:
        """Observe; remove the record if it is there, as soon as xapi allows it; observe."""
        host = self.driver.host(self.order.host_uuid)
        if host is not None and host.live and self._is_refused() and not self.over_limit():
            return self._wait()
        if host is not None:
            self.around.may_act()
            self.error = None
            self.do(lambda: self.driver.destroy_host(self.order.host_uuid))
            host = self.driver.host(self.order.host_uuid)
        self._on_master = host is not None
        if host is None:
            self.error = None
        elif self._is_refused() and not self.over_limit():
            return self._wait()
        return self.settled()

    def _is_refused(self) -> bool:
        """Return whether xapi took the host for live when it was last asked to remove it."""
        return self.error is not None and self.error["code"] == LIVE

    def _wait(self) -> Wait:
        left = self.order.limit_s - self.elapsed_s()
        return Wait(max(min(LOOK_S, left), 0.1), (("host", self.order.host_uuid),))

    def readings(self) -> dict[str, Any]:
        """Return whether the pool still has the record."""
        return {} if self._on_master is None else {"on_master": self._on_master}

"""Remove the record of a dead host from its pool."""

from typing import Any

from agent.tasks.machine import Machine, Step


class HostDestroy(Machine):
    """args: none."""

    _on_master: bool | None = None

    def step(self) -> Step:
        """Observe; remove the record if it is there; observe."""
        self._on_master = self._look()
        if self._on_master:
            self.around.may_act()
            self.do(lambda: self.driver.destroy_host(self.order.host_uuid))
            self._on_master = self._look()
        return self.settled()

    def _look(self) -> bool:
        return self.driver.host(self.order.host_uuid) is not None

    def readings(self) -> dict[str, Any]:
        """Return whether the pool still has the record."""
        return {} if self._on_master is None else {"on_master": self._on_master}

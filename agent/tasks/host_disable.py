"""Take a host out of service and write on it who did so."""

from typing import Any

from agent.driver import HostState
from agent.tasks.machine import Machine, Step, problem


class HostTask(Machine):
    """What the tasks about one host's service share: its readings."""

    _host: HostState | None = None

    def look(self) -> HostState | None:
        """Read the host; None settles the task with an error."""
        self._host = self.driver.host(self.order.host_uuid)
        if self._host is None:
            self.error = problem("host_not_in_pool", f"Host {self.order.host} is not in the pool any more")
        return self._host

    def readings(self) -> dict[str, Any]:
        """Return whether the host serves and whose mark it bears."""
        host = self._host
        return {} if host is None else {"enabled": host.enabled, "live": host.live, "mark": host.mark}


class HostDisable(HostTask):
    """args: mark, the value for the owner's mark."""

    def step(self) -> Step:
        """Observe; mark and disable if that is not so yet; observe."""
        mark = self.order.args["mark"]
        host = self.look()
        if host is None or (not host.enabled and host.mark == mark):
            return self.settled()
        self.around.may_act()
        # The mark first: a disabled host without an owner would be forgotten if we died here.
        # Also one that somebody else disabled: only said again by us it stays so over a restart, where xapi can.
        accepted = (host.mark == mark or self.do(lambda: self.driver.set_mark(host.uuid, mark))) and (
            self.do(lambda: self.driver.disable(host.uuid)))
        if not accepted and host.enabled and host.mark is None:
            refused = self.error
            self.do(lambda: self.driver.set_mark(host.uuid, None))
            self.error = refused
        self._host = self.driver.host(host.uuid)
        return self.settled()

"""Give a host back to service and take the owner's mark off it."""

from agent.tasks.host_disable import HostTask
from agent.tasks.machine import Step, Wait, problem

#: between two tries while the host's toolstack is still starting
BOOTING_S = 2.0
#: what xapi lets an enable wait for, up to two hours
UPDATING = "apply_updates"


class HostEnable(HostTask):
    """args: none."""

    def step(self) -> Step:
        """Observe; enable and remove the mark if that is not so yet; observe."""
        host = self.look()
        if host is None or (host.enabled and host.mark is None):
            return self.settled()
        if not host.enabled and UPDATING in host.operations:
            # An enable that waits in xapi takes effect when nobody counts on it any more: in a new maintenance.
            if not self.over_limit():
                return Wait(self.patience_s(), (("host", host.uuid),))
            self.error = problem("host_being_updated", f"Somebody applies updates to host {self.order.host}; "
                                                       "it can be enabled when they are done")
            return self.settled()
        self.around.may_act()
        self.error = None
        accepted = host.enabled or self.do(lambda: self.driver.enable(host.uuid))
        if self.error is not None and self.error["code"] == "HOST_STILL_BOOTING" and not self.over_limit():
            return Wait(BOOTING_S, (("host", host.uuid),))
        # The mark last: a host that is still disabled must say why.
        if accepted and host.mark is not None:
            self.do(lambda: self.driver.set_mark(host.uuid, None))
        self._host = self.driver.host(host.uuid)
        return self.settled()

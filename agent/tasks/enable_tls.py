"""Turn on TLS verification in a pool, which an ejected host has lost."""

from typing import Any

from agent.tasks.machine import Machine, Step


class EnableTls(Machine):
    """args: none."""

    _verified: bool | None = None

    def step(self) -> Step:
        """Observe; turn it on if it is off; observe."""
        self._verified = self.driver.pool().tls_verification
        if not self._verified:
            self.around.may_act()
            self.do(self.driver.enable_tls)
            self._verified = self.driver.pool().tls_verification
        return self.settled()

    def readings(self) -> dict[str, Any]:
        """Return whether the pool verifies TLS."""
        return {} if self._verified is None else {"enabled": self._verified}

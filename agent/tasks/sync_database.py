"""Have the pool's database written on every host, so that what was done outlives a crash of the master."""

from typing import Any

from agent.tasks.machine import Machine, Step


class SyncDatabase(Machine):
    """args: none."""

    _synced = False

    def step(self) -> Step:
        """Write it; writing twice does no harm, so nothing is observed before."""
        self.around.may_act()
        self._synced = self.do(self.driver.sync_database)
        return self.settled()

    def readings(self) -> dict[str, Any]:
        """Return whether the pool said that it is written."""
        return {"synced": self._synced}

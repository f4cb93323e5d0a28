"""Have the pool's database written on every host, so that what was done outlives a crash of the master."""

from typing import Any

from agent.tasks.machine import Machine, Step, refusal
from common import errors


class SyncDatabase(Machine):
    """args: none."""

    _synced = False

    def step(self) -> Step:
        """Write it; writing twice does no harm, so nothing is observed before, and no answer is asked for again."""
        self.around.may_act()
        self.error = None
        try:
            self._synced = self.do(self.driver.sync_database)
        except (errors.Unavailable, errors.OutcomeUnknown) as exc:
            if not self.over_limit():
                raise
            self.error = refusal(exc)
        return self.settled()

    def readings(self) -> dict[str, Any]:
        """Return whether the pool said that it is written."""
        return {"synced": self._synced}

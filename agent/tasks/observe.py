"""Read, several times, what is on a host and on its way to it; never act."""

from typing import Any

from agent.tasks.machine import Machine, Step, Wait, problem


class Observe(Machine):
    """args: times, apart_s."""

    _times: list[dict[str, Any]]
    _last_at: float | None = None

    def step(self) -> Step:
        """Read once more, not sooner than ``apart_s`` after the last time."""
        if self._last_at is None:
            self._times = []
        now, apart_s = self.around.clock.monotonic(), float(self.order.args.get("apart_s", 2.0))
        if self._last_at is not None and now - self._last_at < apart_s:
            return Wait(self._last_at + apart_s - now)
        seen = self.driver.occupancy(self.order.host_uuid)
        if seen is None:
            self.error = problem("host_not_in_pool", f"Host {self.order.host} is not in the pool any more")
            return self.settled()
        self._last_at = self.around.clock.monotonic()
        self._times.append({"at_s": self.around.clock.now(), "enabled": seen.enabled, "live": seen.live,
                            "resident": list(seen.resident), "incoming": list(seen.incoming),
                            "creating": list(seen.creating)})
        if len(self._times) >= int(self.order.args.get("times", 1)):
            return self.settled()
        return Wait(apart_s, progress=len(self._times) / int(self.order.args["times"]))

    def readings(self) -> dict[str, Any]:
        """Return every reading with its time."""
        return {"times": self._times if self._last_at is not None else []}

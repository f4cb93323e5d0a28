"""Who tells a world the time: the wall, the wall made faster, or a test."""

import time

from agent.simulator.call import Clock


class WallClock:
    """The real time, for a simulator of its own; it does not jump when the machine's clock is set."""

    def __init__(self) -> None:
        self._offset = time.time() - time.monotonic()

    def now(self) -> float:
        """Return seconds since 1970."""
        return self._offset + time.monotonic()


class ScaledClock:
    """Simulated time: begins at `start` and runs `speed` times as fast as the clock it is made from."""

    def __init__(self, clock: Clock, speed: float, start: float | None = None) -> None:
        self._clock, self.speed, self._origin = clock, speed, clock.now()
        self._start = self._origin if start is None else start

    def now(self) -> float:
        """Return simulated seconds since 1970."""
        return self._start + (self._clock.now() - self._origin) * self.speed


class SetClock:
    """A clock that stands until it is set."""

    def __init__(self, at: float = 1_800_000_000.0) -> None:
        self.at = at

    def now(self) -> float:
        """Return the time that was set."""
        return self.at

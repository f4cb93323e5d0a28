"""A conductor's round trips: through the broker to itself, and to the database.

They prove that it can hear agents and remember what they say, to whoever watches over the
process; and the silence of agents is counted anew after a time in which they could not be
heard.  It knows no agent and no operation.
"""

import logging
from collections.abc import Callable

from common import errors
from common.parts import Repeated
from common.pulse import Pulse
from conductor.operations.engine import Engine

LOG = logging.getLogger(__name__)

#: seconds between two round trips, unless agents speak more often
LONGEST_PAUSE_S = 10.0
#: the same while there is no answer: at the start others listen a moment later, and after an outage time counts
BROKEN_PAUSE_S = 1.0
#: seconds that the own answer may take; a process that does not hear itself is deaf
ANSWER_S = 10.0


class RoundTrips:
    """A part; ``start`` and ``stop`` may each be called once."""

    def __init__(self, engine: Engine, ping: Callable[[], object], read: Callable[[], object], pulse: Pulse) -> None:
        """``ping`` asks this process through the broker, ``read`` the database; both raise Unavailable."""
        self._engine = engine
        self._ping = ping
        self._read = read
        self._pulse = pulse
        self._is_broken = False
        self._thread = Repeated("round trips", self.once)

    def start(self) -> None:
        """Begin with a round trip."""
        self._thread.start()

    def stop(self) -> None:
        """End; the one under way is not waited for."""
        self._thread.stop()

    def once(self) -> float:
        """Make both round trips and tell how they ended; return the seconds until the next."""
        try:
            self._read()
            self._ping()
        except errors.OutcomeUnknown:
            # The broker has taken the question and no answer came: it may well be us, so nobody is put at ease.
            LOG.warning("This conductor does not hear itself through the message broker")
            self._break()
        except errors.Error as exc:
            self._pulse.waiting(exc.message)
            self._break()
        else:
            if self._is_broken:
                self._is_broken = False
                LOG.info("Broker and database answer; agents are given time to be heard")
                self._engine.heard_again()
            self._pulse.heard()
        return min(self._engine.settings.sync_interval_s, BROKEN_PAUSE_S if self._is_broken else LONGEST_PAUSE_S)

    def _break(self) -> None:
        self._is_broken = True
        # Not only at its end: as long as it lasts, nobody's silence means anything.
        self._engine.heard_again()

"""How a daemon stands with its broker: asked once, as soon as the broker can be reached.

Findings are warnings: what is wrong with a broker may still let most things work.
"""

from collections.abc import Iterable
from typing import Any

# isort: off
from common import concurrency  # noqa: F401  it has to come before all that asks which kind of threads there is
# isort: on
from common import broker, parts

#: seconds until a broker that can't be reached is asked again
_APART_S = 10.0
_AWAY = "broker_unavailable"


class Look:
    """One look after another at the configured broker, for who listens on ``topics``."""

    def __init__(self, conf: Any, topics: Iterable[str], password: str | None) -> None:
        self._conf, self._topics, self._password = conf, list(topics), password
        self._said: list[broker.Finding] = []

    def once(self) -> float | None:
        """Log what is wrong with the broker; return the seconds until it is to be looked at again, if it is away."""
        findings = broker.check(self._conf, None, self._topics, self._password)
        away = [one for one in findings if one.code == _AWAY]
        # Which broker is away is said here, once; others say again and again that it is.
        broker.warn([one for one in away or findings if one not in self._said])
        self._said += away
        return _APART_S if away else None


def standing(conf: Any, topics: Iterable[str], password: str | None) -> parts.Repeated:
    """Return a part that looks until the broker was there."""
    return parts.Repeated("standing with the broker", Look(conf, topics, password).once)

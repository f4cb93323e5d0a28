"""How a daemon stands with its broker: asked once, as soon as the broker can be reached.

Findings are warnings: what is wrong with a broker may still let most things work.
"""

from collections.abc import Iterable
from typing import Any

# isort: off
from common import concurrency  # noqa: F401  it has to come before all that asks which kind of threads there is
# isort: on
from common import broker, parts

#: seconds until a broker that can't be reached is asked again; that it is away is said by others
_APART_S = 10.0


def standing(conf: Any, topics: Iterable[str], password: str | None) -> parts.Repeated:
    """Return a part that logs what is wrong with the configured broker, for who listens on ``topics``."""
    def once() -> float | None:
        findings = broker.check(conf, None, topics, password)
        if any(one.code == "broker_unavailable" for one in findings):
            return _APART_S
        broker.warn(findings)
        return None
    return parts.Repeated("standing with the broker", once)

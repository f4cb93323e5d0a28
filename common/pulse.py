"""Signs of life: what a part that makes real round trips tells whoever watches over the process.

It knows neither systemd nor a broker; ``common/systemd.py`` is one who listens.
"""

from typing import Protocol


class Pulse(Protocol):
    """Who is told how the process does.  For any thread."""

    def heard(self) -> None:
        """Take note that a real round trip through the broker and the other side has just succeeded."""

    def waiting(self, why: str) -> None:
        """Take note that something outside is known to be away or refuses; nothing is wrong with this process."""


class NoPulse:
    """Nobody watches."""

    def heard(self) -> None:
        """Do nothing."""

    def waiting(self, why: str) -> None:
        """Do nothing."""

"""What conductors say to one agent: the client side of topic ``corral.agent``; casts only.

1.0  ring
1.2  a ring for an attempt that is at hand asks for a sync, which says what is new about it
"""

from typing import Any

from common import messages, rpc

#: the version in which a method last changed, which is sent with it: an older agent hears it too
CHANGED = {"ring": "1.0"}


class AgentAPI:
    """The doorbells."""

    def __init__(self, transport: Any) -> None:
        self._client = rpc.Client(transport, rpc.TOPIC_AGENT, messages.AGENTS_VERSION, retry=1)

    def ring(self, host: str, task: str, attempt: int) -> None:
        """Tell the agent of ``host`` that an order waits.  Raises Unavailable; the order then waits for its sync."""
        self._client.cast({}, "ring", host, version=CHANGED["ring"], task=task, attempt=attempt)

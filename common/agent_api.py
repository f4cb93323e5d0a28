"""What conductors say to one agent: the client side of topic ``corral.agent``; casts only.

1.0  ring
"""

from typing import Any

from common import messages, rpc


class AgentAPI:
    """The doorbells."""

    def __init__(self, transport: Any) -> None:
        self._client = rpc.Client(transport, rpc.TOPIC_AGENT, messages.AGENTS_VERSION, retry=1)

    def ring(self, host: str, task: str, attempt: int) -> None:
        """Tell the agent of ``host`` that an order waits.  Raises Unavailable; the order then waits for its sync."""
        self._client.cast({}, "ring", host, task=task, attempt=attempt)

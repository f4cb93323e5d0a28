"""What agents say to the conductors: the client side of topic ``corral.agents``.

1.0  sync, claim, report
"""

from typing import Any

from common import messages, rpc


class AgentsAPI:
    """An agent's door to whichever conductor listens.

    Each method raises Unavailable (nobody heard it) or OutcomeUnknown (no answer);
    all three may be repeated.
    """

    def __init__(self, transport: Any, timeout_s: float = 20.0) -> None:
        self._client = rpc.Client(transport, rpc.TOPIC_AGENTS, messages.AGENTS_VERSION, timeout_s)

    def sync(self, sync: messages.Sync) -> messages.SyncAnswer:
        """Bring heartbeat, progress and readings; take back the orders that wait."""
        return messages.SyncAnswer.from_wire(self._client.call({}, "sync", sync=sync.to_wire()))

    def claim(self, host: str, incarnation: str, sequence: int, task: str, attempt: int,
              session: str | None) -> messages.Claim:
        """Ask for the order ``task`` under the XenAPI session with uuid ``session``."""
        return messages.Claim.from_wire(self._client.call(
            {}, "claim", host=host, incarnation=incarnation, sequence=sequence, task=task, attempt=attempt,
            session=session))

    def report(self, host: str, incarnation: str, sequence: int, report: messages.Report) -> bool:
        """Bring readings of one task; return False when the conductor wants no more of it."""
        answer = self._client.call({}, "report", host=host, incarnation=incarnation, sequence=sequence,
                                   report=report.to_wire())
        return bool(answer["wanted"])

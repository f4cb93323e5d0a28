"""A broker that is away, and one that refuses: what the libraries below raise, as two exceptions.

They stay within the rooms that speak to a broker; ``common/rpc.py`` makes errors of them.
"""

import amqp.exceptions
import kombu.exceptions


class Away(Exception):
    """The broker can't be reached; ``sent``: the message may have got there nevertheless."""

    def __init__(self, why: object, sent: bool = False) -> None:
        super().__init__(str(why) or type(why).__name__)
        self.sent = sent


class Refused(Away):
    """The broker is there and does not let us do it; the text is its own."""


_REFUSALS = (amqp.exceptions.IrrecoverableConnectionError, amqp.exceptions.IrrecoverableChannelError)

#: what kombu and amqp raise, and what was made of it already
TROUBLE = (Away, kombu.exceptions.KombuError, amqp.exceptions.AMQPError, OSError)


def translated(exc: BaseException, sent: bool = False) -> Away:
    """Return ``exc``, one of TROUBLE, as one of the two."""
    at: BaseException | None = exc
    while at is not None:
        if isinstance(at, Away):
            return at
        # An internal error is the broker's own, which it has while it stops or starts, and refuses nobody.
        if isinstance(at, _REFUSALS) and not isinstance(at, amqp.exceptions.InternalError):
            return Refused(getattr(at, "reply_text", None) or at)
        at = at.__cause__
    return Away(exc, sent)

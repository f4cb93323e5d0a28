"""The service itself: whether it works, and what it can't do yet."""

from common import errors
from conductor.api.exchange import Answer, Request


def health(request: Request) -> Answer:
    """Say ok when a conductor answers; 503 otherwise."""
    try:
        request.ask("operation_list", filters={}, limit=1)
    except errors.Error as exc:
        raise errors.Unavailable(f"No conductor answers: {exc.message}", code=exc.code) from exc
    return Answer({"status": "ok"})


def roll(request: Request) -> Answer:
    """Refuse: rolling upgrades are not there yet."""
    raise errors.NotImplementedYet("Rolling through an aggregate is not implemented yet")


def why(request: Request) -> Answer:
    """Refuse: the single question is not there yet."""
    raise errors.NotImplementedYet("Asking why a VM can't go to a host is not implemented yet; a plan "
                                   "(POST /v1/plans) names every blocker of a whole host")

"""Operations: what is being done, its events, and what can be asked of it."""

from common import conductor_api
from conductor.api.exchange import Answer, Request

_FILTERS = ("host", "aggregate", "state", "active")


def index(request: Request) -> Answer:
    """List operations, the newest first; ``marker`` is the last id of the page before."""
    filters = {name: request.query[name] for name in _FILTERS if name in request.query}
    return Answer(request.ask("operation_list", filters=filters, limit=request.query.get("limit", 100),
                              marker=request.query.get("marker")))


def show(request: Request) -> Answer:
    """Show one operation with its moves and tasks."""
    return Answer({"operation": request.ask("operation_show", id=request.path["operation"])})


def events(request: Request) -> Answer:
    """Give the events after number ``after``, waiting up to ``wait`` seconds for the first one.

    A longer wait than the conductors allow is cut to theirs.
    """
    wait_s = min(request.query.get("wait", 0.0), conductor_api.LONGEST_WAIT_S)
    return Answer(request.ask("operation_events", id=request.path["operation"],
                              after=request.query.get("after", 0), wait_s=wait_s))


def cancel(request: Request) -> Answer:
    """Cancel: what is in flight is awaited, then the host goes back into service."""
    return _act(request, "operation_cancel")


def pause(request: Request) -> Answer:
    """Pause: nothing new is sent."""
    return _act(request, "operation_pause")


def resume(request: Request) -> Answer:
    """Resume a paused operation."""
    return _act(request, "operation_resume")


def retry(request: Request) -> Answer:
    """Try again what waits for attention."""
    return _act(request, "operation_retry")


def abandon(request: Request) -> Answer:
    """Give up: the host stays disabled and in quarantine."""
    return Answer({"operation": request.ask("operation_abandon", id=request.path["operation"],
                                            reason=request.body["reason"].strip())}, 202)


def _act(request: Request, method: str) -> Answer:
    return Answer({"operation": request.ask(method, id=request.path["operation"])}, 202)

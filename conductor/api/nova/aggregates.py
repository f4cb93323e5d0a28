"""os-aggregates: Nova's aggregates, here backed by resource pools.

It holds Nova's forms and codes; the rules are the conductor's.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from common import errors
from conductor.api.exchange import Answer, Json, Request, accepted

_SHOWN = ("availability_zone", "created_at", "deleted", "deleted_at", "hosts", "id", "metadata", "name",
          "updated_at")


def index(request: Request) -> Answer:
    """List the aggregates; ``availability_zone`` narrows (ours, Nova has no filter)."""
    found = request.ask("aggregate_list", availability_zone=request.query.get("availability_zone"), members=False)
    return Answer({"aggregates": [_form(request, one) for one in found["aggregates"]]})


def create(request: Request) -> Answer:
    """Create an aggregate; the answer has neither hosts nor metadata."""
    wanted = request.body["aggregate"]
    made = request.ask("aggregate_create", name=wanted["name"],
                       availability_zone=wanted.get("availability_zone"))
    form = _form(request, made)
    return Answer({"aggregate": {key: form[key] for key in form if key not in ("hosts", "metadata")}})


def show(request: Request) -> Answer:
    """Show one aggregate."""
    return _one(request, request.ask("aggregate_show", id=request.path["aggregate"], members=False))


def update(request: Request) -> Answer:
    """Change name or zone; spaces at their ends are taken off."""
    changes = {key: (value or "").strip() for key, value in request.body["aggregate"].items()}
    if changes.get("name") == "":
        raise errors.Invalid("The name can't be of spaces only")
    if changes.get("availability_zone") == "":
        raise errors.Invalid(f"Aggregate {request.path['aggregate']} does not support empty named availability zone")
    with _bad_request("zone_differs", "zone_in_use"):
        return _one(request, request.ask("aggregate_update", id=request.path["aggregate"], changes=changes))


def delete(request: Request) -> Answer:
    """Delete an aggregate without hosts; with hosts it is 400, not 409."""
    with _bad_request("aggregate_not_empty"):
        request.ask("aggregate_delete", id=request.path["aggregate"])
    return Answer(None)


def act(request: Request) -> Answer:
    """Do the one action that the body names."""
    (action, arguments), = request.body.items()
    return _ACTIONS[action](request, arguments)


def _add_host(request: Request, arguments: Json) -> Answer:
    return _membership(request, "aggregate_add_host", arguments["host"], {})


def _remove_host(request: Request, arguments: Json) -> Answer:
    options = {key: value for key, value in arguments.items() if key != "host"}
    return _membership(request, "aggregate_remove_host", arguments["host"], options)


def _membership(request: Request, method: str, host: str, options: Json) -> Answer:
    answer = request.ask(method, id=request.path["aggregate"], host=host, options=options)
    return accepted({"aggregate": _form(request, answer["aggregate"])}, answer["operation"], pending=200)


def _set_metadata(request: Request, arguments: Json) -> Answer:
    with _bad_request("zone_differs", "zone_in_use"):
        return _one(request, request.ask("aggregate_set_metadata", id=request.path["aggregate"],
                                         metadata=arguments["metadata"]))


_ACTIONS: dict[str, Callable[[Request, Json], Answer]] = {
    "add_host": _add_host, "remove_host": _remove_host, "set_metadata": _set_metadata}


def _one(request: Request, aggregate: Json) -> Answer:
    return Answer({"aggregate": _form(request, aggregate)})


def _form(request: Request, aggregate: Json) -> Json:
    form = {key: aggregate[key] for key in _SHOWN}
    return {**form, "uuid": aggregate["uuid"]} if request.version >= (2, 41) else form


@contextmanager
def _bad_request(*codes: str) -> Iterator[None]:
    """Make 400 of a refusal with one of ``codes``, as Nova does here; others of its kind are 409."""
    try:
        yield
    except errors.WrongState as exc:
        if exc.code not in codes:
            raise
        raise errors.Invalid(exc.message, code=exc.code, **exc.details) from exc

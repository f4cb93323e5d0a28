"""What a handler is given and what it gives back.

It knows neither the web framework nor any URL.
"""

import uuid
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

Json = dict[str, Any]
Version = tuple[int, int]


class Conductor(Protocol):
    """Whoever answers: ``common.conductor_api.ConductorAPI``, or a conductor in the same process."""

    def call(self, context: Json, method: str, **arguments: Any) -> Any:
        """Return the answer to one of ``conductor_api.METHODS``; raise an error of ``common.errors``."""


@dataclass(frozen=True)
class Request:
    """One request that has passed all checks of form."""

    conductor: Conductor
    context: Json                    #: request_id, user, user_id, project_id, idempotency_key
    url: str                         #: scheme, host and port by which the client reached us
    version: Version                 #: the microversion asked for; (2, 1) outside /v2.1
    path: Json = field(default_factory=dict)
    query: Json = field(default_factory=dict)
    body: Json = field(default_factory=dict)

    def ask(self, method: str, **arguments: Any) -> Any:
        """Return the conductor's answer to ``method``."""
        return self.conductor.call(self.context, method, **arguments)

    def second(self) -> "Request":
        """Return this request with a key of its own, for a handler that must ask for two changes.

        The same request sent again gets the same second key.
        """
        key = str(uuid.uuid5(uuid.NAMESPACE_OID, str(self.context["idempotency_key"])))
        return replace(self, context={**self.context, "idempotency_key": key})


@dataclass(frozen=True)
class Answer:
    """What goes out; ``body`` None means no body."""

    body: Json | None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


def accepted(body: Json, operation: Json | None, *, pending: int = 202) -> Answer:
    """Answer 200, or ``pending`` and the header Corral-Operation when there is an operation to await."""
    if operation is None:
        return Answer(body)
    return Answer(body, pending, {"Corral-Operation": str(operation["id"])})

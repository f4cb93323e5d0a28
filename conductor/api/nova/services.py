"""os-services: agents as nova-compute and conductors as nova-conductor, so that clients and test suites find them.

Disabling and enabling are operations; the answer shows at once what is wanted, and the
header Corral-Operation says where to follow.
"""

from common import errors
from conductor.api.exchange import Answer, Json, Request, accepted
from conductor.api.nova.paging import since
from conductor.api.reading import number

AGENT, CONDUCTOR = "nova-compute", "nova-conductor"

_SHOWN = ("id", "binary", "host", "zone", "status", "state", "updated_at", "disabled_reason")


def index(request: Request) -> Answer:
    """List the services; ``host`` and ``binary`` narrow."""
    found = request.ask("service_list", host=request.query.get("host") or None,
                        binary=request.query.get("binary") or None)
    shown = (*_SHOWN, "forced_down") if request.version >= (2, 11) else _SHOWN
    return Answer({"services": [{key: one[key] for key in shown} for one in found["services"]]})


def enable(request: Request) -> Answer:
    """Let the host take VMs again."""
    return _switch(request, "enabled", None)


def disable(request: Request) -> Answer:
    """Let the host take no more VMs; those on it stay."""
    return _switch(request, "disabled", None)


def disable_log_reason(request: Request) -> Answer:
    """Disable, and record why."""
    reason = request.body.get("disabled_reason", "").strip()
    if not reason:
        raise errors.Invalid("Missing disabled reason field", code="reason_missing")
    return _switch(request, "disabled", reason)


def force_down(request: Request) -> Answer:
    """Record that the host is down, or not any more; since 2.11."""
    since(request, (2, 11))
    _check(request)
    if "forced_down" not in request.body:
        raise errors.Invalid("Missing forced_down field")
    wanted = str(request.body["forced_down"]).lower() in ("true", "1", "on", "yes")
    if request.body["binary"] == CONDUCTOR:
        raise _only_stopped(request)
    done = request.ask("service_force_down", host=request.body["host"], forced_down=wanted)
    return Answer({"service": {"host": done["host"], "binary": done["binary"], "forced_down": done["forced_down"]}})


def unknown(request: Request) -> Answer:
    """Refuse an action that nobody knows."""
    raise errors.NotFound("Unknown action", code="no_such_route")


def delete(request: Request) -> Answer:
    """Forget a service that is down: an agent's with its host."""
    request.ask("service_delete", id=number("service", request.path["service"], "service_not_found"))
    return Answer(None, 204)


def _switch(request: Request, status: str, reason: str | None) -> Answer:
    service = _check(request)
    body: Json = {"host": service["host"], "binary": service["binary"], "status": status}
    if reason is not None:
        body["disabled_reason"] = reason
    if service["binary"] == CONDUCTOR:
        if status == "disabled":
            raise _only_stopped(request)
        return Answer({"service": body})
    if status == "enabled":
        changed = request.ask("host_enable", host=service["host"])
    else:
        changed = request.ask("host_disable", host=service["host"], reason=reason)
    return accepted({"service": body}, changed["operation"], pending=200)


def _check(request: Request) -> Json:
    """Return the service that the body names.  Raises NotFound."""
    host, binary = request.body["host"], request.body["binary"]
    if "forced_down" in request.body and request.version < (2, 11):
        raise errors.Invalid("Invalid input: Additional properties are not allowed ('forced_down' was unexpected)")
    found = request.ask("service_list", host=host, binary=binary)["services"]
    if not found:
        raise errors.NotFound(f"Could not find binary {binary} on host {host}.", code="service_not_found")
    service: Json = found[0]
    return service


def _only_stopped(request: Request) -> errors.Error:
    return errors.Invalid(f"{request.body['host']} is a conductor; it can't be disabled or forced down, only stopped",
                          code="not_a_host")

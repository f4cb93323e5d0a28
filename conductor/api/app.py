"""The WSGI application: the table of routes with who asks, checks, ids and error bodies around it.

It holds which HTTP number an error gets.  It knows no rule of any noun.
"""

import json
import logging
import re
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import falcon

from common import errors
from conductor.api import policy, reading
from conductor.api.auth import Identity, NoAuth, Strategy, Unauthenticated
from conductor.api.exchange import Answer, Conductor, Json, Request
from conductor.api.nova import microversion
from conductor.api.routes import ROUTES, Route
from conductor.api.schemas import check

LOG = logging.getLogger(__name__)

#: the nearest class above an error's own decides
STATUS: dict[type[errors.Error], int] = {
    errors.Error: 500,
    errors.Invalid: 400,
    reading.TooLarge: 413,
    reading.WrongMediaType: 415,
    microversion.NotAcceptable: 406,
    Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 409,
    errors.Infeasible: 409,
    errors.NotImplementedYet: 501,
    errors.HypervisorError: 502,
    errors.Unavailable: 503,
    errors.OutcomeUnknown: 503,
}

#: what Nova calls each number in its error bodies; computeFault for all others
NOVA_NAMES = {400: "badRequest", 401: "unauthorized", 403: "forbidden", 404: "itemNotFound", 405: "badMethod",
              409: "conflictingRequest", 413: "overLimit", 415: "badMediaType", 501: "notImplemented",
              503: "serviceUnavailable"}

#: our codes for what the web framework refuses by itself
_OWN_CODES = {404: "no_such_route", 405: "method_not_allowed"}

RETRY_AFTER_S = 5


#: who asks for what is public
_ANYBODY = Identity("anybody", frozenset())


@dataclass(frozen=True)
class _Door:
    """What every request passes through, and whom it is for."""

    conductor: Conductor
    auth: Strategy
    policy: policy.Policy
    public_url: str | None
    new_id: Callable[[], str]


def make_app(conductor: Conductor, *, public_url: str | None = None, auth: Strategy | None = None,
             rules: policy.Policy | None = None,
             new_id: Callable[[], str] = lambda: str(uuid.uuid4())) -> Callable[..., Any]:
    """Return the WSGI application that asks ``conductor``.

    ``public_url`` stands in links instead of the address by which a client came. Without
    ``auth`` everybody is an administrator, and without ``rules`` ours are in force.
    """
    door = _Door(conductor, auth or NoAuth(), rules or policy.Policy(), public_url, new_id)
    app: Any = falcon.App(middleware=[_Ids(new_id)])
    app.req_options.strip_url_path_trailing_slash = True
    for url in dict.fromkeys(route.url for route in ROUTES):
        resource = _Resource()
        for route in (one for one in ROUTES if one.url == url):
            setattr(resource, f"on_{route.method.lower()}", _responder(route, door))
        app.add_route(url, resource)
    app.add_error_handler(Exception, _unexpected)
    app.add_error_handler(falcon.HTTPError, _refused_by_framework)
    app.add_error_handler(errors.Error, _refused)
    return app  # type: ignore[no-any-return]


class _Resource:
    """The methods of one URL; falcon finds them by name."""


class _Ids:
    """Gives each request its id and each answer its headers, errors included."""

    def __init__(self, new_id: Callable[[], str]) -> None:
        self._new_id = new_id

    def process_request(self, req: falcon.Request, resp: falcon.Response) -> None:
        """Choose the id; every answer carries it."""
        req.context.request_id = f"req-{self._new_id()}"
        req.context.user = None
        resp.set_headers({"x-openstack-request-id": req.context.request_id,
                          "x-compute-request-id": req.context.request_id, "Cache-Control": "no-store"})
        req.context.version = microversion.LOWEST
        if _speaks_nova(req):
            req.context.version = microversion.asked(req.headers)

    def process_response(self, req: falcon.Request, resp: falcon.Response, resource: object,
                         succeeded: bool) -> None:
        """Say which microversion was served, and log one line."""
        if _speaks_nova(req):
            resp.set_headers(microversion.headers(req.context.version))
        LOG.info("%s %r answered %s", req.method, req.path[:300], resp.status_code,
                 extra={"request_id": req.context.request_id, "user": req.context.user})


def _responder(route: Route, door: _Door) -> Callable[..., None]:
    """Return what falcon calls for ``route``: who, may he, check, one call, put into form."""
    body, query = route.body_checker, route.query_checker
    is_public = (route.method, route.url) in policy.PUBLIC
    has_actions = policy.has_actions(route.method, route.url)
    actions = (route.body or {}).get("properties", {}) if has_actions else {}

    def respond(req: falcon.Request, resp: falcon.Response, **path: str) -> None:
        who = _ANYBODY if is_public else door.auth.identify(req.env)
        req.context.user = who.user
        if not is_public and not has_actions:
            allow(who, None)
        key = reading.key_of(req)
        if route.method != "GET":
            # so that a call whose reply was lost can be sent again and happens once
            key = key or f"api-{door.new_id()}"
        request = Request(
            door.conductor, {"request_id": req.context.request_id, "user": who.user, "idempotency_key": key,
                             **{name: who.credentials.get(name) for name in ("user_id", "project_id")}},
            door.public_url or req.prefix, req.context.version,
            path=reading.path_of(path),
            query={} if query is None else reading.query_of(req, query),
            body={} if body is None else _checked(reading.body_of(req), body, actions))
        if has_actions:
            allow(who, next(iter(request.body), None))
        _send(resp, route.function(request))

    def allow(who: Identity, action: str | None) -> None:
        door.policy.check(route.method, route.url, action, {**who.credentials, "roles": sorted(who.roles)})
    return respond


def _checked(body: Json, checker: check.Checker, actions: Json) -> Json:
    unknown = next((name for name in body if actions and name not in actions), None)
    if unknown is not None:
        raise errors.Invalid(f"There is no such action: {unknown[:50]}")
    check.check(checker, body)
    return body


def _send(resp: falcon.Response, answer: Answer) -> None:
    resp.status = answer.status
    resp.set_headers(answer.headers)
    if answer.body is not None:
        resp.content_type = "application/json"
        resp.data = json.dumps(answer.body).encode()


def _speaks_nova(req: falcon.Request) -> bool:
    return req.path == "/" or req.path.startswith("/v2")


def status_of(error: errors.Error) -> int:
    """Return the HTTP number of ``error``."""
    return next(STATUS[kind] for kind in type(error).__mro__ if kind in STATUS)


def _refused(req: falcon.Request, resp: falcon.Response, error: errors.Error, params: Json) -> None:
    status = status_of(error)
    if status >= 500:
        LOG.warning("%s %r: %s (%s)", req.method, req.path[:300], error.message, error.code,
                    extra={"request_id": req.context.request_id})
    if status == 503:
        resp.set_header("Retry-After", str(RETRY_AFTER_S))
    if isinstance(error, reading.Unreadable):
        resp.set_header("Connection", "close")
    if isinstance(error, Unauthenticated) and error.challenge:
        resp.set_header("WWW-Authenticate", error.challenge)
    _fail(req, resp, status, error.code, error.message, error.details)


def _refused_by_framework(req: falcon.Request, resp: falcon.Response, error: falcon.HTTPError,
                          params: Json) -> None:
    status = error.status_code
    allowed = dict(error.headers or ()).get("Allow")
    if allowed:
        resp.set_header("Allow", allowed)
    messages = {404: "The resource could not be found.",
                405: f"{req.method[:20]} is not possible here. What is: {allowed}"}
    _fail(req, resp, status, _OWN_CODES.get(status, "invalid"),
          messages.get(status) or error.description or error.title, {})


def _unexpected(req: falcon.Request, resp: falcon.Response, error: Exception, params: Json) -> None:
    """Answer whatever nobody thought of: the log has the traceback, the client an id to ask for."""
    LOG.error("%s %r failed", req.method, req.path[:300], exc_info=error,
              extra={"request_id": req.context.request_id})
    _fail(req, resp, 500, errors.Bug.code, "Something unexpected happened; the log of the API has it under "
          f"{req.context.request_id}", {})


def _fail(req: falcon.Request, resp: falcon.Response, status: int, code: str, message: str,
          details: Json) -> None:
    resp.set_header("Corral-Error", re.sub("[^A-Za-z0-9_]", "_", code)[:100])
    body = error_body(_speaks_nova(req), status, code, message, details, req.context.request_id)
    _send(resp, Answer(body, status))


def error_body(as_nova: bool, status: int, code: str, message: str, details: Json, request_id: str) -> Json:
    """Return what the body of a refusal says, as Nova would or in our own form."""
    if as_nova:
        return {NOVA_NAMES.get(status, "computeFault"): {"code": status, "message": message}}
    return {"error": {"code": code, "message": message, "details": details, "request_id": request_id}}

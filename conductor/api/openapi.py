"""The OpenAPI document, made from the table of routes and the very schemas that judge requests.

It holds how a route becomes a part of the document, and knows no route.
"""

import functools
import inspect
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

from conductor.api.exchange import Answer, Json, Request
from conductor.api.schemas import answers_nova, answers_v1
from conductor.api.schemas.answers import ref
from conductor.api.schemas.fields import END, HOST_PATTERN, ID_PATTERN, Schema

#: of the document, raised when what it describes changes
VERSION = "1.1"

_ERRORS = {400: "The request is malformed", 401: "Say who you are", 403: "Not allowed", 404: "There is no such thing",
           405: "Not possible here", 409: "It contradicts what is there", 413: "The body is too large",
           415: "The body is no JSON", 503: "What is needed is away; try again later"}
_MICROVERSION_ERROR = {406: "This microversion is not served"}
_NOT_THERE = {501: "This version of Corral can't do it"}

_MICROVERSION: Json = {
    "name": "OpenStack-API-Version", "in": "header", "required": False,
    "description": "\"compute 2.42\"; without it the answer is that of 2.1",
    "schema": {"type": "string", "pattern": r"^compute (2\.([1-9]|[1-3][0-9]|4[0-2])|latest)$"}}
_KEY: Json = {
    "name": "Idempotency-Key", "in": "header", "required": False,
    "description": "However often it is sent with this key, it happens once",
    "schema": {"type": "string", "pattern": "^[!-~]([ -~]{0,253}[!-~])?$"}}


class Described(Protocol):
    """What is read of a route."""

    @property
    def method(self) -> str:
        """GET, POST, PUT or DELETE."""

    @property
    def url(self) -> str:
        """With the names of variables in braces."""

    @property
    def function(self) -> Callable[[Request], Answer]:
        """Its docstring says what is done."""

    @property
    def body(self) -> Schema | None:
        """Of the request; None when none is read."""

    @property
    def query(self) -> Schema | None:
        """None when none is read."""

    @property
    def answers(self) -> Mapping[int, Schema | None]:
        """What a success looks like, by status; None: no body."""


def serving(routes: Iterable[Described]) -> Callable[[Request], Answer]:
    """Return the function that answers with the document of these routes and of itself."""
    known = tuple(routes)
    whole = functools.cache(lambda: document(known))

    def show(request: Request) -> Answer:
        """Show this document."""
        return Answer({**whole(), "servers": [{"url": request.url}]})
    return show


def document(routes: Iterable[Described]) -> Json:
    """Return the OpenAPI document of the routes."""
    paths: dict[str, Json] = {}
    for route in routes:
        paths.setdefault(route.url, {})[route.method.lower()] = _operation(route)
    found: Json = _for_readers({
        "openapi": "3.1.0",
        "info": {"title": "Corral", "version": VERSION, "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
                 "description": "Host aggregates backed by resource pools, and maintenance without downtime: /v1 is "
                                "Corral's own form, /v2.1 is Nova's."},
        "paths": paths,
        "components": {
            "schemas": {**answers_v1.SHAPES, **answers_nova.SHAPES},
            "securitySchemes": {"token": {"type": "apiKey", "in": "header", "name": "X-Auth-Token"},
                                "basic": {"type": "http", "scheme": "basic"}}},
        "security": [{}, {"token": []}, {"basic": []}]})
    return found


def _for_readers(value: Any) -> Any:
    """Write the end of a text as JSON Schema's own expressions have it: there, ``$`` means just that."""
    if isinstance(value, dict):
        return {key.replace(END, "$"): _for_readers(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_for_readers(one) for one in value]
    return value.replace(END, "$") if isinstance(value, str) else value


def _operation(route: Described) -> Json:
    found: Json = {
        "operationId": re.sub("[^a-z0-9]+", "_", f"{route.method} {route.url}".lower()).strip("_"),
        "summary": (inspect.getdoc(route.function) or "").partition("\n\n")[0].replace("\n", " "),
        "parameters": _parameters(route), "responses": _responses(route)}
    if route.body is not None:
        found["requestBody"] = {"required": bool(route.body.get("required") or route.body.get("minProperties")),
                                "content": _json(route.body)}
    return found


def _parameters(route: Described) -> list[Json]:
    found = [{"name": name, "in": "path", "required": True, "schema": _path_schema(name)}
             for name in re.findall("{([a-z]+)}", route.url)]
    found += [{"name": name, "in": "query", "required": name in (route.query or {}).get("required", ()),
               "schema": schema} for name, schema in (route.query or {}).get("properties", {}).items()]
    if _is_nova(route):
        found.append(_MICROVERSION)
    if route.method != "GET":
        found.append(_KEY)
    return found


def _path_schema(name: str) -> Schema:
    if name == "aggregate":
        return {"type": "integer"}
    return {"type": "string", "pattern": ID_PATTERN if name in ("operation", "plan") else HOST_PATTERN}


def _responses(route: Described) -> Json:
    nova = _is_nova(route)
    error = ref("NovaError" if nova else "Error")
    described = {**_ERRORS, **(_MICROVERSION_ERROR if nova else {}), **_NOT_THERE}
    found: dict[str, Any] = {}
    for status, schema in route.answers.items():
        if status < 400:
            found[str(status)] = {"description": "Accepted; Corral-Operation names the operation" if status == 202
                                  else "Done", **({} if schema is None else {"content": _json(schema)})}
    for status, words in described.items():
        if status != 501 or 501 in route.answers:
            found[str(status)] = {"description": words, "content": _json(error)}
    return found


def _is_nova(route: Described) -> bool:
    return route.url == "/" or route.url.startswith("/v2")


def _json(schema: Schema) -> Json:
    return {"application/json": {"schema": schema}}

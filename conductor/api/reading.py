"""From bytes to checked values: bodies, queries, names in URLs, the Idempotency-Key.

Everything here refuses with an error of ours and touches nothing.
"""

import json
import re
from contextlib import suppress
from typing import Any

import falcon
from cheroot.errors import MaxSizeExceeded

from common import errors
from conductor.api.exchange import Json
from conductor.api.schemas import check
from conductor.api.schemas.fields import HOST_PATTERN, ID_PATTERN

LARGEST_BODY_BYTES = 64 * 1024
#: levels of objects and lists; our deepest body has four
DEEPEST = 16
#: the database's integers
LARGEST_ID = 2 ** 31 - 1

_JSON_TYPES = ("application/json", "application/vnd.openstack.compute+json")


class TooLarge(errors.Invalid):
    """The body is larger than 64 KiB."""

    code = "body_too_large"


class Unreadable(errors.Invalid):
    """The body broke off, or is not in chunks as announced; the connection is of no more use."""

    code = "body_unreadable"


class WrongMediaType(errors.Invalid):
    """The body must be sent as application/json."""

    code = "media_type_not_supported"


def body_of(req: falcon.Request) -> Json:
    """Return the request's body, {} when there is none.

    Raises TooLarge, Unreadable, WrongMediaType, Invalid.
    """
    data = _bytes_of(req)
    if not data:
        return {}
    if req.get_header("Content-Encoding", default="identity").lower() != "identity":
        raise WrongMediaType("The body must not be compressed")
    if req.content_type and req.content_type.partition(";")[0].strip().lower() not in _JSON_TYPES:
        raise WrongMediaType()
    value = _parsed(data)
    if not isinstance(value, dict):
        raise errors.Invalid("The body must be a JSON object")
    return value


def _bytes_of(req: falcon.Request) -> bytes:
    # without a length the body is chunked, and the server's own stream knows its end
    chunked = req.get_header("Transfer-Encoding") is not None
    stream = req.stream if chunked else req.bounded_stream
    try:
        data = stream.read(LARGEST_BODY_BYTES + 1)
    except MaxSizeExceeded as exc:
        raise TooLarge() from exc
    except (ValueError, OSError) as exc:
        raise Unreadable() from exc
    if len(data) <= LARGEST_BODY_BYTES:
        # half of what was meant may be good JSON, and nothing at all is
        if not chunked and len(data) < (req.content_length or 0):
            raise Unreadable()
        return bytes(data)
    # read to the end, if there is one: a client that is still sending would not see the answer
    with suppress(ValueError, OSError, MaxSizeExceeded):
        while stream.read(LARGEST_BODY_BYTES):
            pass
    raise TooLarge()


def _parsed(data: bytes) -> Any:
    try:
        value = json.loads(data.decode(), parse_constant=_no_constant, object_pairs_hook=_no_twins)
    except RecursionError:
        raise errors.Invalid("The body is nested too deeply") from None
    except ValueError as exc:
        raise errors.Invalid(f"The body is no JSON: {str(exc)[:200]}") from None
    _look_through(value)
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _no_twins(pairs: list[tuple[str, Any]]) -> Json:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a member is given twice")
    return found


def _look_through(value: Any) -> None:
    """Raise Invalid for too deep nesting and for text that no database can store."""
    level = [value]
    for _ in range(DEEPEST):
        texts = [text for one in level for text in ([one] if isinstance(one, str) else
                                                    one if isinstance(one, dict) else ())]
        if any(re.search("[\0\ud800-\udfff]", text) for text in texts):
            raise errors.Invalid("There is a NUL or half a character in the body")
        level = [inner for one in level if isinstance(one, dict | list)
                 for inner in (one.values() if isinstance(one, dict) else one)]
        if not level:
            return
    raise errors.Invalid("The body is nested too deeply")


def query_of(req: falcon.Request, checker: check.Checker) -> Json:
    """Return the request's query, typed and checked.  Raises Invalid."""
    query = check.numbers(checker.schema, req.params)  # type: ignore[arg-type]
    check.check(checker, query)
    return query


def path_of(params: dict[str, str]) -> Json:
    """Return the names that stand in the URL.  Raises Invalid, NotFound."""
    return {name: number("aggregate", value, "aggregate_not_found") if name == "aggregate" else _name(name, value)
            for name, value in params.items()}


def number(what: str, value: str, code: str, of_text: type[errors.Error] = errors.Invalid) -> int:
    """Return the number by which the URL calls a ``what``.

    Raises ``of_text`` for what is no number, NotFound with ``code`` for one that nothing can have.
    """
    if not re.fullmatch("-?[0-9]{1,30}", value):
        raise of_text(f"The {what}'s id must be an integer, not {value[:50]!r}")
    if not 0 <= int(value) <= LARGEST_ID:
        raise errors.NotFound(f"{what.capitalize()} {value} could not be found.", code=code)
    return int(value)


def _name(what: str, value: str) -> str:
    if not re.match(ID_PATTERN if what in ("operation", "plan") else HOST_PATTERN, value):
        # Nova's clients try whether a name is an id, and go on when there is no such thing.
        refuse = errors.NotFound if what in ("server", "hypervisor", "migration") else errors.Invalid
        raise refuse(f"{value[:50]!r} names no {what}: letters, digits and . _ - are possible")
    return value


def key_of(req: falcon.Request) -> str | None:
    """Return the client's Idempotency-Key, None when it sent none.  Raises Invalid."""
    key = req.get_header("Idempotency-Key")
    if key is not None and not re.fullmatch("[!-~]([ -~]{0,253}[!-~])?", key):
        raise errors.Invalid("An Idempotency-Key has 1 to 255 printable ASCII characters",
                             code="bad_idempotency_key")
    return key

"""XML-RPC as xapi writes and reads it: bare strings, integers as text, map keys *not* escaped.

Knows values only: no methods, no sessions.
"""

import xmlrpc.client
from typing import Any
from xml.parsers.expat import ExpatError
from xml.sax.saxutils import escape

from agent.simulator.table import Moment

HEAD = '<?xml version="1.0"?><methodResponse><params><param>'
TAIL = "</param></params></methodResponse>"


class RealInt(int):
    """An integer that goes out as `<i4>`; xapi does so only in valid_ref_counts."""


class BadRequest(ValueError):
    """The body is not a method call; xapi answers HTTP 500."""


def encode_value(value: Any) -> str:
    """Return one `<value>` element."""
    parts: list[str] = []
    _encode(value, parts)
    return "".join(parts)


def _encode(value: Any, parts: list[str]) -> None:
    if isinstance(value, Moment):
        parts.append(f"<value><dateTime.iso8601>{value}</dateTime.iso8601></value>")
    elif isinstance(value, str):
        text = escape(value, {'"': "&quot;"}) if not value.isalnum() else value
        parts.append(f"<value>{text}</value>")
    elif isinstance(value, bool):
        parts.append("<value><boolean>1</boolean></value>" if value else "<value><boolean>0</boolean></value>")
    elif isinstance(value, RealInt):
        parts.append(f"<value><i4>{value}</i4></value>")
    elif isinstance(value, int):
        parts.append(f"<value>{value}</value>")
    elif isinstance(value, float):
        parts.append(f"<value><double>{value:.15g}</double></value>")
    elif value is None:
        parts.append("<value></value>")
    elif isinstance(value, dict):
        parts.append("<value><struct>")
        for key, item in value.items():
            parts.append(f"<member><name>{key}</name>")  # xapi does not escape here; neither do we
            _encode(item, parts)
            parts.append("</member>")
        parts.append("</struct></value>")
    else:
        parts.append("<value><array><data>")
        for item in value:
            _encode(item, parts)
        parts.append("</data></array></value>")


def encode_success(value: Any) -> bytes:
    """Return the body of a successful reply."""
    return _reply("Success", "Value", value)


def encode_failure(description: list[str]) -> bytes:
    """Return the body of an API failure."""
    return _reply("Failure", "ErrorDescription", description)


def _reply(status: str, name: str, value: Any) -> bytes:
    text = (f"{HEAD}<value><struct><member><name>Status</name><value>{status}</value></member>"
            f"<member><name>{name}</name>{encode_value(value)}</member></struct></value>{TAIL}")
    return text.encode("utf-8")


def decode_call(body: bytes) -> tuple[str, list[Any]]:
    """Return (method, parameters) of a request body."""
    try:
        params, method = xmlrpc.client.loads(body, use_builtin_types=False)
        plain = [_plain(param) for param in params]
    except (ExpatError, ValueError, TypeError, KeyError, IndexError, AttributeError,
            RecursionError, xmlrpc.client.Error) as exc:
        # the standard unmarshaller answers odd nesting with whatever its stack gives
        raise BadRequest(str(exc)) from exc
    if not method:
        raise BadRequest("not a methodCall")
    return method, plain


def _plain(value: Any) -> Any:
    if isinstance(value, xmlrpc.client.DateTime):
        return Moment(value.value)
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return value

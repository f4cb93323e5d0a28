"""XML-RPC as xapi writes and reads it: bare strings, integers as text, map keys *not* escaped.

Knows values only: no methods, no sessions.
"""

import xmlrpc.client
from collections.abc import Callable, Iterable
from typing import Any
from xml.parsers.expat import ExpatError

from agent.simulator.table import Moment

HEAD = '<?xml version="1.0"?><methodResponse><params><param>'
TAIL = "</param></params></methodResponse>"


class RealInt(int):
    """An integer that goes out as `<i4>`; xapi does so only in valid_ref_counts."""


class BadRequest(ValueError):
    """The body is not a method call; xapi answers HTTP 500."""


def encode_value(value: Any) -> str:
    """Return one `<value>` element."""
    encoder = ENCODERS.get(type(value))
    return encoder(value) if encoder else _array(value)


def _text(value: str) -> str:
    escaped = value.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace('"', "&quot;")
    return f"<value>{escaped}</value>"


def _struct(value: dict[str, Any]) -> str:
    # xapi does not escape names; neither do we
    members = [f"<member><name>{key}</name>{encode_value(item)}</member>" for key, item in value.items()]
    return f"<value><struct>{''.join(members)}</struct></value>"


def _array(value: Iterable[Any]) -> str:
    return f"<value><array><data>{''.join(map(encode_value, value))}</data></array></value>"


ENCODERS: dict[type, Callable[[Any], str]] = {
    str: _text, dict: _struct, list: _array,
    Moment: lambda value: f"<value><dateTime.iso8601>{value}</dateTime.iso8601></value>",
    bool: lambda value: "<value><boolean>1</boolean></value>" if value else "<value><boolean>0</boolean></value>",
    RealInt: lambda value: f"<value><i4>{int(value)}</i4></value>",
    int: lambda value: f"<value>{value}</value>",
    float: lambda value: f"<value><double>{value:.15g}</double></value>",
    type(None): lambda _value: "<value></value>"}


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

"""What xapi's answers are made of: XML or JSON, read within limits and into plain values.

It takes nothing for granted about the bytes, and knows no connection.
"""

import json
import re
import xml.parsers.expat
import xmlrpc.client
from typing import Any, NoReturn

#: xapi's own answers are less than ten deep
DEEPEST = 100
#: the key of a map as xapi writes it, which does not escape it (OBSERVED-2 §10)
_KEY = re.compile(rb"<name>((?:(?!</?name>|</?value>).)*)</name>", re.DOTALL)
_ENTITY = re.compile(rb"&(?:amp|lt|gt|quot|apos|#\d+|#x[0-9a-fA-F]+);")
_NEAR_BYTES = 2000
#: of which object and which map it is: what was begun last before it
_REF = re.compile(rb"(?:<name>|<name>ref</name><value>)(OpaqueRef:[^<]*)<")
_FIELD = re.compile(rb"<name>(\w+)</name>\s*<value>\s*<struct>")
_RECORD_BYTES = 200_000


class BadAnswer(Exception):
    """What came back is not an answer of xapi."""


class Poisoned(BadAnswer):
    """A key of a map holds ``<`` or ``&``, which xapi's XML does not survive."""


class _Shallow(xmlrpc.client.Unmarshaller):
    """Builds values, not too deep ones."""

    def __init__(self) -> None:
        super().__init__()
        self._depth = 0

    def start(self, tag: str, attrs: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > 3 * DEEPEST:
            raise BadAnswer("an answer that is too deep")
        super().start(tag, attrs)

    def end(self, tag: str) -> None:
        self._depth -= 1
        super().end(tag)


def xml_value(body: bytes) -> Any:
    """Return what an XML-RPC answer holds.  Raises BadAnswer, and xmlrpc.client.Fault."""
    target = _Shallow()
    target.xml("", None)  # it is handed text
    parser = xml.parsers.expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = target.start
    parser.EndElementHandler = target.end
    parser.CharacterDataHandler = target.data
    # Entities grow and reach for files; xapi declares none.
    parser.StartDoctypeDeclHandler = _no_doctype
    try:
        parser.Parse(body, True)
        values = target.close()
    except xml.parsers.expat.ExpatError as exc:
        where = _poisoned_at(body, parser.ErrorByteIndex)
        if where is not None:
            raise Poisoned(poisoned(*where)) from exc
        raise BadAnswer(f"an answer that is not XML: {exc}") from exc
    except xmlrpc.client.ResponseError as exc:
        raise BadAnswer("not an answer to an XML-RPC call") from exc
    except (ValueError, TypeError, LookupError, AttributeError, OverflowError) as exc:
        # What the standard library's reader makes of tags in the wrong places and of numbers that are none.
        raise BadAnswer(f"an answer that is not XML-RPC: {exc}") from exc
    if len(values) != 1:
        raise BadAnswer("an XML-RPC answer without its one value")
    return values[0]


def json_value(body: bytes) -> Any:
    """Return what a JSON text holds.  Raises BadAnswer."""
    try:
        return json.loads(body)
    except ValueError as exc:
        raise BadAnswer(f"an answer that is not JSON: {exc}") from exc
    except RecursionError as exc:
        raise BadAnswer("an answer that is too deep") from exc


def _no_doctype(*_: Any) -> NoReturn:
    raise BadAnswer("an answer with a document type of its own")


def poisoned(ref: str, field: str, key: str) -> str:
    """Return the sentence about a key that makes XML unreadable: which, where, and what helps."""
    return (f"the key {key[:200]!r} in {field[:100]} of {ref[:100]} holds < or &, which makes xapi's XML-RPC "
            f"unreadable to all who ask for that object; remove it with remove_from_{field[:100]} and exactly this key "
            "(xe: ...-param-remove with param-key)")


def _poisoned_at(body: bytes, at: int) -> tuple[str, str, str] | None:
    """Return object, field and key of the unescaped key near the place where the parser stopped, if one is there."""
    for one in _KEY.finditer(body, max(0, at - _NEAR_BYTES), at + _NEAR_BYTES):
        rest = _ENTITY.sub(b"", one[1])
        if b"<" in rest or b"&" in rest:
            before = body[:one.start()]
            key = one[1].decode("utf-8", "replace")
            return _last(_REF, before) or "an object", _last(_FIELD, before) or "a map", key
    return None


def _last(pattern: re.Pattern[bytes], text: bytes) -> str:
    found = pattern.findall(text, max(0, len(text) - _RECORD_BYTES))
    return found[-1].decode("utf-8", "replace") if found else ""

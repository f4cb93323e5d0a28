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


class BadAnswer(Exception):
    """What came back is not an answer of xapi."""


class Poisoned(BadAnswer):
    """A key of a map holds ``<`` or ``&``, which xapi's XML does not survive."""

    def __init__(self, key: str) -> None:
        super().__init__(f"the map key {key!r} holds < or &, which makes xapi's XML-RPC unreadable to all of its "
                         "clients; remove it from that map (other_config, most likely) with exactly this name")
        self.key = key


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
        key = _poisoned_key(body, parser.ErrorByteIndex)
        if key is not None:
            raise Poisoned(key) from exc
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


def _poisoned_key(body: bytes, at: int) -> str | None:
    """Return the key with unescaped text near the place where the parser stopped, if one is there."""
    begin = max(0, at - _NEAR_BYTES)
    for one in _KEY.finditer(body, begin, at + _NEAR_BYTES):
        rest = _ENTITY.sub(b"", one[1])
        if b"<" in rest or b"&" in rest:
            return one[1].decode("utf-8", "replace")
    return None

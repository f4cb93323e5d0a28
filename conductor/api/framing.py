"""Where a request ends: its headers and its chunks, read as RFC 9112 has them and in no other way.

A proxy in front and the server behind it have to agree on that: whatever two readers
could take for two things is refused.  It knows no connection and nothing of what is asked.
"""

import re
from typing import Protocol

from cheroot.errors import MaxSizeExceeded

Headers = dict[bytes, bytes]

MOST_HEADERS = 200
#: of the line with a chunk's size
_LONGEST_LINE_BYTES = 256
_MOST_TRAILERS = 20

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CONTROL = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_HOST = re.compile(rb"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(:[0-9]{1,5})?")
_CHUNK = re.compile(rb"([0-9A-Fa-f]{1,8})([ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?\r\n")

#: those of which two would contradict each other
_ONLY_ONE = frozenset({b"Authorization", b"Content-Encoding", b"Content-Length", b"Content-Type", b"Expect", b"Host",
                       b"Idempotency-Key", b"Transfer-Encoding", b"X-Auth-Token", b"X-Openstack-Nova-Api-Version",
                       b"X-Service-Token"})


class Source(Protocol):
    """What bytes come from."""

    def read(self, size: int | None = None) -> bytes:
        """Return so many, fewer only at the end."""

    def readline(self, size: int = -1) -> bytes:
        """Return what goes up to a line feed."""


class _Lines(Protocol):
    def readline(self) -> bytes:
        """Return what goes up to a line feed."""


def read_headers(lines: _Lines, found: Headers) -> None:
    """Put the headers that follow into ``found``.  Raises ValueError, MaxSizeExceeded.

    Names with an underscore are left out: to the application they would look like others.
    """
    for _ in range(MOST_HEADERS + 1):
        line = lines.readline()
        if line == b"\r\n":
            return
        if not line.endswith(b"\r\n"):
            raise ValueError("HTTP requires CRLF terminators")
        name, colon, value = line[:-2].partition(b":")
        value = value.strip(b" \t")
        if not colon or not _NAME.fullmatch(name):
            raise ValueError("Illegal header line.")
        if _CONTROL.search(value):
            raise ValueError("A header has a control character in it.")
        name = name.title()
        if b"_" in name:
            continue
        if name in found and name in _ONLY_ONE:
            raise ValueError(f"There is more than one header {name.decode()}.")
        found[name] = b", ".join((found[name], value)) if name in found else value
    raise MaxSizeExceeded


def check_headers(found: Headers, is_1_1: bool) -> None:
    """Raise ValueError for headers that leave open whom the request is for, or how long it is."""
    if not re.fullmatch(rb"[0-9]*", found.get(b"Content-Length", b"")):
        raise ValueError("Malformed Content-Length Header.")
    if b"Transfer-Encoding" in found:
        if b"Content-Length" in found:
            raise ValueError("Content-Length and Transfer-Encoding exclude each other.")
        if not is_1_1 or not found[b"Transfer-Encoding"].strip(b", \t"):
            raise ValueError("Malformed Transfer-Encoding Header.")
        if found[b"Transfer-Encoding"].lower().count(b"chunked") > 1:
            raise ValueError("A body is in chunks once.")
    if b"Host" in found:
        if not _HOST.fullmatch(found[b"Host"]):
            raise ValueError("Malformed Host Header.")
    elif is_1_1:
        raise ValueError("The header Host is missing.")


class Chunks:
    """A body that comes in chunks, as a file; ``closed`` once its end has been read."""

    def __init__(self, source: Source, most_bytes: int) -> None:
        self._source = source
        self._left_over = most_bytes      #: of the body's bound
        self._left = 0                    #: of the chunk at hand
        self.closed = False

    def read(self, size: int | None = None) -> bytes:
        """Return so many bytes, fewer only at the end.  Raises ValueError, MaxSizeExceeded, OSError."""
        pieces, missing = [], self._left_over if size is None or size < 0 else size
        while missing > 0 and not self.closed:
            if not self._left:
                self._begin()
                continue
            piece = self._source.read(min(self._left, missing))
            if not piece:
                raise ValueError("The body broke off.")
            pieces.append(piece)
            missing -= len(piece)
            self._left -= len(piece)
            if not self._left and self._source.read(2) != b"\r\n":
                raise ValueError("A chunk is not as long as it says.")
        return b"".join(pieces)

    def _begin(self) -> None:
        found = _CHUNK.fullmatch(self._source.readline(_LONGEST_LINE_BYTES))
        if found is None:
            raise ValueError("A chunk begins with its size.")
        self._left = int(found[1], 16)
        self._left_over -= self._left
        if self._left_over < 0:
            raise MaxSizeExceeded
        if not self._left:
            self._end()

    def _end(self) -> None:
        """Read the trailers, which nobody looks at, up to the body's end."""
        for _ in range(_MOST_TRAILERS):
            line = self._source.readline(_LONGEST_LINE_BYTES)
            if line == b"\r\n":
                self.closed = True
                return
            if not line.endswith(b"\r\n"):
                break
        raise ValueError("What follows the last chunk is no end.")

"""The two directions of a connection: what has come is gathered without a thread, what goes out has an end.

It knows how far a request has arrived, and nothing of what it asks.
"""

import re
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from common.clock import Clock

#: the application refuses far smaller bodies; this bounds what it reads to be able to say so
LARGEST_BODY_BYTES = 16 * 1024 * 1024
LARGEST_HEADER_BYTES = 64 * 1024
#: bodies up to this length are awaited before a thread is given to them
_AWAITED_BODY_BYTES = 64 * 1024
_PIECE_BYTES = 64 * 1024

_FIRST_LINE = re.compile(rb"[A-Z]+ [^ ]+ HTTP/1\.[01]\r\n")
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*([0-9]{1,8})[ \t]*\r\n", re.IGNORECASE)
#: whoever sends these is read from as he is: the length says nothing, or the body comes only when asked for
_NOT_AWAITED = re.compile(rb"\r\n(transfer-encoding|expect):", re.IGNORECASE)


class Patience:
    """How many threads may wait for clients at once; the others stay free for those that are quick."""

    def __init__(self, most: int, clock: Clock) -> None:
        self._free, self._clock = threading.BoundedSemaphore(most), clock

    def deadline(self, within_s: float) -> float:
        """Return the moment that is so far away."""
        return self._clock.monotonic() + within_s

    @contextmanager
    def wait(self, connected: socket.socket, deadline: float) -> Iterator[None]:
        """Let one call wait for the other side, up to ``deadline``.  Raises TimeoutError, also when too many wait."""
        left_s = deadline - self._clock.monotonic()
        if left_s <= 0 or not self._free.acquire(blocking=False):
            # the words by which cheroot knows it
            raise TimeoutError("timed out")
        try:
            connected.settimeout(left_s)
            yield
        finally:
            self._free.release()


class Intake:
    """What a client sends; the file that requests are read from."""

    def __init__(self, connected: socket.socket, patience: Patience) -> None:
        self._socket, self._patience = connected, patience
        self._held = bytearray()
        self._ended = self._looked_at = False
        #: the length of the request at the front, once its head is there
        self._wanted: int | None = None
        self._deadline = 0.0
        self.closed = False
        self.bytes_read = 0

    def gather(self) -> bool:
        """Take what has arrived, without waiting; return whether anything has, or the end."""
        self._socket.settimeout(0)
        try:
            self._take()
        except BlockingIOError:
            return False
        except OSError:
            # whoever reads on meets the end
            self._ended = True
        return True

    def is_over(self) -> bool:
        """Return whether nothing is here and nothing will come."""
        return self._ended and not self._held

    def has_begun(self) -> bool:
        """Return whether there is at least a piece of a request."""
        return bool(self._held)

    def has_data(self) -> bool:
        """Return whether there is something of which nobody has seen yet how far it goes."""
        return bool(self._held) and not self._looked_at

    def is_whole(self) -> bool:
        """Return whether a thread could read a request now and hardly wait for the rest.

        That is so, too, of what will never become a request: then it can be refused.
        """
        self._looked_at = True
        if self._ended:
            return True
        if self._wanted is None:
            self._wanted = self._length()
        return self._wanted is not None and len(self._held) >= self._wanted

    def _length(self) -> int | None:
        line = self._held.find(b"\n", self._held.startswith(b"\r\n") * 2)
        if line >= 0 and not _FIRST_LINE.fullmatch(self._held[:line + 1].removeprefix(b"\r\n")):
            return 0
        head = self._held.find(b"\r\n\r\n", 2)
        if head < 0:
            return 0 if len(self._held) > LARGEST_HEADER_BYTES else None
        lines = bytes(self._held[:head + 2])
        length = _LENGTH.search(lines)
        awaited = int(length[1]) if length and not _NOT_AWAITED.search(lines) else 0
        return head + 4 + (awaited if awaited <= _AWAITED_BODY_BYTES else 0)

    def begin(self, within_s: float) -> None:
        """Let the next request be read; what is not here yet has to come within so long."""
        self._deadline = self._patience.deadline(within_s)
        self._wanted, self._looked_at = None, False

    def hurry(self, within_s: float) -> None:
        """Wait no longer than so long for the rest."""
        self._deadline = min(self._deadline, self._patience.deadline(within_s))

    def read(self, size: int | None = None) -> bytes:
        """Return ``size`` bytes, fewer only at the end.  Raises TimeoutError."""
        while (size is None or len(self._held) < size) and not self._ended:
            self._wait()
        return self._cut(len(self._held) if size is None else size)

    def readline(self, size: int = -1) -> bytes:
        """Return what goes up to a line feed, at most ``size`` bytes.  Raises TimeoutError."""
        most, seen = (size if size >= 0 else LARGEST_HEADER_BYTES), 0
        while (end := self._held.find(b"\n", seen, most)) < 0 and len(self._held) < most and not self._ended:
            seen = len(self._held)
            self._wait()
        return self._cut(most if end < 0 else end + 1)

    def close(self) -> None:
        """Forget what is left."""
        self.closed = True
        self._held.clear()

    def _cut(self, size: int) -> bytes:
        data = bytes(self._held[:size])
        del self._held[:size]
        self.bytes_read += len(data)
        return data

    def _wait(self) -> None:
        if not self.gather():
            with self._patience.wait(self._socket, self._deadline):
                self._take()

    def _take(self) -> None:
        data = self._socket.recv(_PIECE_BYTES)
        self._held += data
        self._ended = not data


class Outlet:
    """What a client is sent."""

    def __init__(self, connected: socket.socket, patience: Patience) -> None:
        self._socket, self._patience = connected, patience
        self._within_s = 0.0
        self._deadline: float | None = None
        self.bytes_written = 0

    def begin(self, within_s: float) -> None:
        """Give an answer so long, from its first byte on."""
        self._within_s, self._deadline = within_s, None

    def write(self, data: bytes) -> int:
        """Send all of it.  Raises TimeoutError when the client takes it too slowly."""
        if self._deadline is None:
            self._deadline = self._patience.deadline(self._within_s)
        rest = memoryview(data)
        while rest:
            rest = rest[self._send(rest, self._deadline):]
        self.bytes_written += len(data)
        return len(data)

    def _send(self, data: memoryview, deadline: float) -> int:
        self._socket.settimeout(0)
        try:
            return self._socket.send(data)
        except BlockingIOError:
            with self._patience.wait(self._socket, deadline):
                return self._socket.send(data)

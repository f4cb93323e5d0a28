"""HTTP to one xapi: one request is sent once, within time and size limits.

The standard library's transport sends a call a second time when the connection drops
(two ``pool.join`` for one call were seen: XENAPI §2); this one never does, and it follows
no redirection.  It knows no session and no failure codes.
"""

import http.client
import io
import json
import select
import socket
import ssl
import time
import xmlrpc.client
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from agent.xenapi.answers import BadAnswer, json_value, xml_value
from agent.xenapi.trust import Trust, Untrusted

#: more is an attack or an accident: all that is read of a pool of 2,000 VMs has 11 MiB over JSON, 31 MiB over XML
LARGEST_ANSWER_BYTES = 64 * 1024 * 1024
#: for status line and headers, and whatever comes before them; xapi's have some hundred bytes
LARGEST_HEAD_BYTES = 64 * 1024
_PIECE_BYTES = 256 * 1024
#: of what a failure says so many characters are passed on
LONGEST_DETAIL = 2000


class NotSent(OSError):
    """No connection could be made, so nothing was sent."""


@dataclass(frozen=True)
class Limits:
    """How long to wait for a connection and for a whole answer, and whom to trust if it is HTTPS."""

    connect_s: float = 5.0
    read_s: float = 60.0
    trust: Trust = field(default_factory=Trust)
    tls: ssl.SSLContext | None = None      #: made of ``trust`` once, for all connections
    answer_bytes: int = LARGEST_ANSWER_BYTES
    now: Callable[[], float] = time.monotonic


class _Bounded:
    """A socket as http.client uses it, that ends all waiting at one deadline and all reading at an allowance."""

    def __init__(self, sock: socket.socket, limits: Limits) -> None:
        self.sock = sock
        self.largest_bytes = limits.answer_bytes
        self._now = limits.now
        self._deadline = 0.0
        self._allowance = 0

    def begin(self, timeout_s: float) -> None:
        """Begin a request, whose answer has to be there after ``timeout_s``."""
        self._deadline = self._now() + timeout_s
        self._allowance = LARGEST_HEAD_BYTES

    def allow_body(self) -> None:
        """Let the answer's body come; so far only its head might."""
        self._allowance += self.largest_bytes

    def limit(self) -> None:
        """Let the next wait end at the deadline.  Raises TimeoutError when that is over."""
        left_s = self._deadline - self._now()
        if left_s <= 0:
            raise TimeoutError
        self.sock.settimeout(left_s)

    def count(self, size: int) -> None:
        """Count what has come.  Raises BadAnswer when it is too much."""
        self._allowance -= size
        if self._allowance < 0:
            raise BadAnswer("an answer that does not end where xapi's do")

    def sendall(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            self.limit()
            view = view[self.sock.send(view):]

    def makefile(self, _mode: str) -> io.BufferedReader:
        return io.BufferedReader(_Answer(self))

    def close(self) -> None:
        self.sock.close()


class _Answer(io.RawIOBase):
    """The bytes that come in answer to one request."""

    def __init__(self, bounded: _Bounded) -> None:
        self._bounded = bounded
        # The socket lives until this is closed, as http.client expects.
        self._stream = bounded.sock.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        self._bounded.limit()
        size = self._stream.readinto(buffer)
        self._bounded.count(size or 0)
        return size

    def close(self) -> None:
        self._stream.close()
        super().close()


class Line:
    """One keep-alive connection to the host of ``url``; ``abort`` alone is for other threads."""

    def __init__(self, url: str, limits: Limits) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._limits = limits
        self._tls = parts.scheme == "https"
        self._connection: http.client.HTTPConnection | None = None
        self._bounded: _Bounded | None = None

    def connected(self, timeout_s: float) -> tuple[http.client.HTTPConnection, _Bounded]:
        """Return the connection, a new one if the server has left the old; its time runs from now.

        Raises NotSent.
        """
        connection, bounded = self._connection, self._bounded
        if connection is None or bounded is None or connection.sock is None or _left(bounded.sock):
            self.close()
            connection, bounded = self._connect()
        bounded.begin(timeout_s)
        return connection, bounded

    def _connect(self) -> tuple[http.client.HTTPConnection, _Bounded]:
        limits, place = self._limits, (self._host, self._port)
        try:
            sock = socket.create_connection(place, limits.connect_s)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self._tls:
                sock = limits.trust.secured(sock, limits.tls or limits.trust.context(), self._host)
        except Untrusted as exc:
            raise NotSent(str(exc)) from exc
        except OSError as exc:
            raise NotSent(f"{self._host}:{self._port}: {exc}") from exc
        connection = (http.client.HTTPSConnection if self._tls else http.client.HTTPConnection)(*place)
        connection.auto_open = 0  # it would connect by itself, to whomever it finds
        bounded = _Bounded(sock, limits)
        connection.sock = bounded
        self._connection, self._bounded = connection, bounded
        return connection, bounded

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        connection, self._connection = self._connection, None
        bounded, self._bounded = self._bounded, None
        if connection is not None:
            connection.close()
        if bounded is not None:
            bounded.close()

    def abort(self) -> None:
        """Make a request that waits for its answer fail now."""
        bounded = self._bounded
        if bounded is not None:
            with suppress(OSError):  # it was closed in the same moment
                bounded.sock.shutdown(socket.SHUT_RDWR)


def _left(sock: socket.socket) -> bool:
    """Return whether an idle connection has something to read: its end, or an answer to nothing."""
    waiting = isinstance(sock, ssl.SSLSocket) and sock.pending()
    return bool(waiting or select.select([sock], [], [], 0)[0])


def exchange(line: Line, path: str, body: bytes, headers: dict[str, str], timeout_s: float) -> bytes:
    """Send one request once and return the body of its answer; any failure closes the connection.

    ``timeout_s`` is for all of it but the connecting, however the answer drips in.
    Raises NotSent, OSError, http.client.HTTPException, BadAnswer.
    """
    connection, bounded = line.connected(timeout_s)
    try:
        connection.request("POST", path, body, headers)
        response = connection.getresponse()
        if response.status != 200:
            raise BadAnswer(f"HTTP status {response.status}")
        bounded.allow_body()
        return _body(response, bounded.largest_bytes)
    except TimeoutError as exc:
        line.close()
        raise TimeoutError(f"no whole answer within {timeout_s:g} s") from exc
    except (ValueError, OverflowError) as exc:
        line.close()
        raise BadAnswer(f"no HTTP: {exc}") from exc
    except BaseException:
        # Also when the thread is being ended: a connection with half an answer on it is of no use.
        line.close()
        raise


def _body(response: http.client.HTTPResponse, largest_bytes: int) -> bytes:
    """Return the whole body.  Raises BadAnswer, ConnectionError."""
    if response.getheader("Content-Encoding", "identity") != "identity":
        raise BadAnswer("a compressed answer, which nobody asked for")
    if (response.length or 0) > largest_bytes:
        raise BadAnswer(f"an answer of {response.length} bytes")
    pieces = []
    while piece := response.read(_PIECE_BYTES):
        pieces.append(piece)
    if response.length:
        raise ConnectionResetError("the answer was cut short")
    return b"".join(pieces)


class XmlTransport(xmlrpc.client.Transport):
    """The transport that the XenAPI package is given."""

    user_agent = "corral-agent"
    accept_gzip_encoding = False  # xapi has none, and a compressed answer has no honest size

    def __init__(self, line: Line, limits: Limits) -> None:
        super().__init__()
        self._line = line
        self.read_s = limits.read_s
        #: for the next request only: the task that what it begins becomes part of
        self.subtask_of: str | None = None

    def request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:
        """Send once; the base class would send again after a dropped connection."""
        return self.single_request(host, handler, request_body, verbose)

    def single_request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:
        """Send ``request_body`` and return xapi's answer, which has a Status and what belongs to it.

        Raises NotSent, OSError, http.client.HTTPException, BadAnswer.
        """
        headers = {"Content-Type": "text/xml", "User-Agent": self.user_agent}
        if self.subtask_of is not None:
            headers["Subtask-of"] = self.subtask_of
            self.subtask_of = None
        body = exchange(self._line, handler, request_body, headers, self.read_s)
        try:
            answer = xml_value(body)
        except xmlrpc.client.Fault as exc:
            raise BadAnswer(f"a fault: {str(exc.faultString)[:LONGEST_DETAIL]}") from exc
        status = answer.get("Status") if isinstance(answer, dict) else None
        if status == "Failure":
            return ({"Status": status, "ErrorDescription": _details(answer.get("ErrorDescription"))},)
        if status != "Success" or "Value" not in answer:
            raise BadAnswer("an answer without Status or Value")
        return (answer,)

    def close(self) -> None:
        """Close the connection."""
        self._line.close()


class JsonRefused(Exception):
    """xapi's failure over JSON-RPC: code and parameters."""

    def __init__(self, details: list[str]) -> None:
        super().__init__(str(details))
        self.details = details


def json_call(line: Line, method: str, params: list[Any], timeout_s: float) -> Any:
    """Call ``method`` over JSON-RPC 2.0.  Raises as ``exchange``, and JsonRefused."""
    request = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).encode()
    body = exchange(line, "/jsonrpc", request, {"Content-Type": "application/json"}, timeout_s)
    answer = json_value(body)
    if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
        raise BadAnswer("not an answer to a JSON-RPC call")
    error = answer.get("error")
    if error is None:
        return answer.get("result")
    if not isinstance(error, dict) or not isinstance(error.get("data") or [], list):
        raise BadAnswer("a JSON-RPC error of an unknown form")
    raise JsonRefused(_details([error.get("message"), *(error.get("data") or [])]))


def _details(found: Any) -> list[str]:
    """Return a failure's code and parameters, each of bounded length.  Raises BadAnswer."""
    if not isinstance(found, list) or not found or not all(isinstance(one, str) for one in found):
        raise BadAnswer("a failure without its code")
    return [one[:LONGEST_DETAIL] for one in found[:20]]


def tls_context(ca_file: str | None, verify: bool) -> ssl.SSLContext:
    """Return a context that verifies certificates and names, against ``ca_file`` if given.

    ``verify`` false trusts anybody; only for a laboratory.
    """
    return Trust(ca_file, verify).context()

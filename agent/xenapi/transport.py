"""HTTP to one xapi: one request is sent once, within time and size limits.

The standard library's transport sends a call a second time when the connection drops
(two ``pool.join`` for one call were seen: XENAPI §2); this one never does.  It knows no
session and no failure codes.
"""

import http.client
import json
import select
import socket
import ssl
import xmlrpc.client
from contextlib import suppress
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

#: no answer of a pool of some thousand VMs comes near it; more is an attack or an accident
LARGEST_ANSWER_BYTES = 64 * 1024 * 1024


class NotSent(OSError):
    """No connection could be made, so nothing was sent."""


class BadAnswer(Exception):
    """What came back is not an answer of xapi."""


@dataclass(frozen=True)
class Limits:
    """How long to wait for a connection and for an answer, and whom to trust (None: plain HTTP)."""

    connect_s: float = 5.0
    read_s: float = 60.0
    tls: ssl.SSLContext | None = None


class Line:
    """One keep-alive connection to the host of ``url``; ``abort`` alone is for other threads."""

    def __init__(self, url: str, limits: Limits) -> None:
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._limits = limits
        self._tls = parts.scheme == "https"
        self._connection: http.client.HTTPConnection | None = None

    def connected(self, read_s: float) -> http.client.HTTPConnection:
        """Return the connection, a new one if the server has left the old.  Raises NotSent."""
        connection = self._connection
        if connection is not None and (connection.sock is None or _left(connection.sock)):
            self.close()
            connection = None
        if connection is None:
            connection = self._connect()
        connection.sock.settimeout(read_s)
        return connection

    def _connect(self) -> http.client.HTTPConnection:
        connect_s = self._limits.connect_s
        host, port, tls = self._host, self._port, self._limits.tls
        connection = (
            http.client.HTTPSConnection(host, port, timeout=connect_s, context=tls)
            if self._tls
            else http.client.HTTPConnection(host, port, timeout=connect_s)
        )
        try:
            connection.connect()
        except OSError as exc:
            connection.close()
            raise NotSent(f"{self._host}:{self._port}: {exc}") from exc
        self._connection = connection
        return connection

    def close(self) -> None:
        """Close the connection; the next request makes a new one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def abort(self) -> None:
        """Make a request that waits for its answer fail now."""
        connection = self._connection
        if connection is not None and connection.sock is not None:
            with suppress(OSError):  # it was closed in the same moment
                connection.sock.shutdown(socket.SHUT_RDWR)


def _left(sock: socket.socket) -> bool:
    """Return whether an idle connection has something to read: its end, or an answer to nothing."""
    return bool(select.select([sock], [], [], 0)[0])


def read_bounded(response: http.client.HTTPResponse) -> bytes:
    """Return the body.  Raises BadAnswer when it is too long or the status is not 200."""
    body = response.read(LARGEST_ANSWER_BYTES + 1)
    if len(body) > LARGEST_ANSWER_BYTES:
        raise BadAnswer(f"an answer of more than {LARGEST_ANSWER_BYTES} bytes")
    if response.status != 200:
        raise BadAnswer(f"HTTP status {response.status}")
    return body


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
        """Send ``request_body`` and return the parsed answer.

        Raises NotSent, OSError, BadAnswer and what the parser raises.
        """
        headers = {"Content-Type": "text/xml", "User-Agent": self.user_agent}
        if self.subtask_of is not None:
            headers["Subtask-of"] = self.subtask_of
            self.subtask_of = None
        body = exchange(self._line, handler, request_body, headers, self.read_s)
        parser, unmarshaller = self.getparser()
        parser.feed(body)
        parser.close()
        return unmarshaller.close()

    def close(self) -> None:
        """Close the connection."""
        self._line.close()


def exchange(line: Line, path: str, body: bytes, headers: dict[str, str], read_s: float) -> bytes:
    """Send one request once and return the body of its answer; any failure closes the connection.

    Raises NotSent, OSError, http.client.HTTPException, BadAnswer.
    """
    connection = line.connected(read_s)
    try:
        connection.request("POST", path, body, headers)
        return read_bounded(connection.getresponse())
    except BaseException:
        # Also when the thread is being ended: a connection with half an answer on it is of no use.
        line.close()
        raise


class JsonRefused(Exception):
    """xapi's failure over JSON-RPC: code and parameters."""

    def __init__(self, details: list[str]) -> None:
        super().__init__(str(details))
        self.details = details


def json_call(line: Line, method: str, params: list[Any], read_s: float) -> Any:
    """Call ``method`` over JSON-RPC 2.0.  Raises as ``exchange``, and JsonRefused."""
    request = json.dumps({"jsonrpc": "2.0", "method": method, "params": params, "id": 1}).encode()
    body = exchange(line, "/jsonrpc", request, {"Content-Type": "application/json"}, read_s)
    try:
        answer = json.loads(body)
    except ValueError as exc:
        raise BadAnswer("not JSON") from exc
    if not isinstance(answer, dict) or ("result" not in answer and "error" not in answer):
        raise BadAnswer("not an answer to a JSON-RPC call")
    error = answer.get("error")
    if error is not None:
        if not isinstance(error, dict):
            raise BadAnswer("a JSON-RPC error of an unknown form")
        raise JsonRefused([str(error.get("message")), *(str(p) for p in error.get("data") or ())])
    return answer.get("result")


def tls_context(ca_file: str | None, verify: bool) -> ssl.SSLContext:
    """Return a context that verifies certificates and names, against ``ca_file`` if given.

    ``verify`` false trusts anybody; only for a laboratory.
    """
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

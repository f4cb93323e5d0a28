"""One session with one xapi over the XenAPI package, a request sent once, and what comes of a call as a value.

Unlike the package's own way to call, a session that has ended is not replaced silently.  Knows no cases.
"""

import contextlib
import functools
import http.client
import select
import socket
import ssl
import xml.parsers.expat
import xmlrpc.client
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import XenAPI

ORIGINATOR = "contract cases"


@dataclass(frozen=True)
class Outcome:
    """What came of a call: `gives` a value, `fails` with code and parameters, `drops` the connection unanswered,
    or `garbles` the answer."""

    kind: str
    value: Any = None


class Transport(xmlrpc.client.Transport):
    """Sends each request once, with headers of the caller's, over one connection that is kept."""

    user_agent = "corral-contract"
    accept_gzip_encoding = False

    def __init__(self, url: str, read_s: float) -> None:
        super().__init__()
        self._url, self._read_s = url, read_s
        self._kept: http.client.HTTPConnection | None = None
        self.headers: dict[str, str] = {}

    def request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:
        """Send once and return the parsed answer; the base class would send again."""
        return self.single_request(host, handler, request_body, verbose)

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        """Return the connection, a new one if the server has left the old."""
        kept = self._kept
        if kept is None or kept.sock is None or select.select([kept.sock], [], [], 0)[0]:
            self.close()
            kept = self._kept = connection_to(self._url, self._read_s)
        return kept

    def send_headers(self, connection: http.client.HTTPConnection, headers: list[tuple[str, str]]) -> None:
        """Send the caller's headers too."""
        super().send_headers(connection, [*headers, *self.headers.items()])

    def close(self) -> None:
        """Close the connection."""
        kept, self._kept = self._kept, None
        if kept is not None:
            kept.close()

    def abort(self) -> None:
        """Close the connection under a call that another thread waits for."""
        kept = self._kept
        if kept is not None and kept.sock is not None:
            with contextlib.suppress(OSError):  # it ended in the same moment
                kept.sock.shutdown(socket.SHUT_RDWR)


def connection_to(url: str, read_s: float) -> http.client.HTTPConnection:
    """Return a connection to be; whatever certificate the server has is taken."""
    parts = urlsplit(url)
    host = str(parts.hostname)
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, parts.port or 80, timeout=read_s)
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return http.client.HTTPSConnection(host, parts.port or 443, timeout=read_s, context=context)


class Client:
    """A connection of its own to the xapi at `url`, and at most one session there; for one thread."""

    def __init__(self, url: str, read_s: float, session: str = "") -> None:
        self.url, self.session, self._read_s = url, session, read_s
        self._transport = Transport(url, read_s)
        self._proxy = XenAPI.Session(url, transport=self._transport)

    def twin(self) -> "Client":
        """Return a client with the same session on another connection."""
        return Client(self.url, self._read_s, self.session)

    def login(self, user: str, password: str) -> Outcome:
        """Open a session; it is kept when there is one."""
        outcome = self.ask("session.login_with_password", [user, password, "1.0", ORIGINATOR])
        if outcome.kind == "gives":
            self.session = outcome.value
        return outcome

    def call(self, method: str, *args: Any) -> Any:
        """Return what a call in this session gives.  Raises XenAPI.Failure, OSError."""
        outcome = self.ask(method, [self.session, *args])
        if outcome.kind == "fails":
            raise XenAPI.Failure(outcome.value)
        if outcome.kind != "gives":
            raise OSError(f"{method} at {self.url}: {outcome.kind}, {outcome.value}")
        return outcome.value

    def ask(self, method: str, params: list[Any], headers: dict[str, str] | None = None) -> Outcome:
        """Make a call with all its parameters, the session if it needs one among them."""
        self._transport.headers = headers or {}
        try:
            answer = functools.reduce(getattr, method.split("."), self._proxy)(*params)
        except (xmlrpc.client.Fault, xml.parsers.expat.ExpatError, xmlrpc.client.ProtocolError) as exc:
            return Outcome("garbles", str(exc))
        except (OSError, http.client.HTTPException) as exc:
            return Outcome("drops", f"{type(exc).__name__}")
        if answer["Status"] == "Success":
            return Outcome("gives", plain(answer["Value"]))
        return Outcome("fails", answer["ErrorDescription"])

    def abort(self) -> None:
        """Close the connection under a call that another thread waits for."""
        self._transport.abort()

    def close(self) -> None:
        """Close the connection; the session stays."""
        self._transport.close()


def plain(value: Any) -> Any:
    """Return a value of the wire with its dates as texts."""
    if isinstance(value, xmlrpc.client.DateTime):
        return str(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


@dataclass(frozen=True)
class HttpAnswer:
    """What came back for a request that need not be a call."""

    status: int
    headers: dict[str, str]
    body: str


def http_request(url: str, method: str, path: str, body: bytes | None, headers: dict[str, str],
                 read_s: float) -> HttpAnswer:
    """Send one request on a connection of its own.  Raises OSError, http.client.HTTPException."""
    connection = connection_to(url, read_s)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return HttpAnswer(response.status, names, response.read().decode("utf-8", "replace"))

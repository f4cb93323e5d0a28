"""One session with one xapi over the XenAPI package, a request sent once, and what comes of a call as a value.

Unlike the package's own way to call, a session that has ended is not replaced silently.  Knows no cases.
"""

import functools
import http.client
import xml.parsers.expat
import xmlrpc.client
from dataclasses import dataclass, replace
from typing import Any

import XenAPI

from agent.xenapi.transport import BadAnswer, Limits, Line, exchange, tls_context

ORIGINATOR = "contract cases"


@dataclass(frozen=True)
class Outcome:
    """What came of a call: `gives` a value, `fails` with code and parameters, `drops` the connection unanswered,
    or `garbles` the answer."""

    kind: str
    value: Any = None


class Transport(xmlrpc.client.Transport):
    """Sends each request once, with headers of the caller's."""

    def __init__(self, line: Line, read_s: float) -> None:
        super().__init__()
        self._line, self._read_s = line, read_s
        self.headers: dict[str, str] = {}

    def request(self, host: Any, handler: str, request_body: Any, verbose: bool = False) -> Any:
        """Send once and return the parsed answer."""
        headers = {"Content-Type": "text/xml", "User-Agent": "corral-contract", **self.headers}
        body = exchange(self._line, handler, request_body, headers, self._read_s)
        parser, unmarshaller = self.getparser()
        parser.feed(body)
        parser.close()
        return unmarshaller.close()

    def close(self) -> None:
        """Close the connection."""
        self._line.close()


class Client:
    """A connection of its own to the xapi at `url`, and at most one session there; for one thread."""

    def __init__(self, url: str, read_s: float, session: str = "") -> None:
        self.url, self.session, self._read_s = url, session, read_s
        tls = tls_context(None, verify=False) if url.startswith("https:") else None
        self._transport = Transport(Line(url, Limits(read_s=read_s, tls=tls)), read_s)
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
        except (xmlrpc.client.Fault, xml.parsers.expat.ExpatError, BadAnswer) as exc:
            return Outcome("garbles", str(exc))
        except (OSError, http.client.HTTPException) as exc:
            return Outcome("drops", f"{type(exc).__name__}")
        if answer["Status"] == "Success":
            return Outcome("gives", plain(answer["Value"]))
        return Outcome("fails", answer["ErrorDescription"])

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
    limits = Limits(read_s=read_s, tls=tls_context(None, verify=False) if url.startswith("https:") else None)
    line = Line(url, replace(limits, read_s=read_s))
    try:
        connection = line.connected(read_s)
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        return HttpAnswer(response.status, names, response.read().decode("utf-8", "replace"))
    finally:
        line.close()

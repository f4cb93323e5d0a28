"""Connections and their requests, up to where the application begins; what is no request is refused here.

The application never sees these: a malformed request line, headers without end, a length that
is none.  They are answered in the same form as everywhere, with an id.  It knows of the APIs
only whose error form is read where.
"""

import json
import logging
import re
import socket
import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import Any

from cheroot import server

from common import errors
from conductor.api import framing
from conductor.api.app import error_body
from conductor.api.intake import Intake, Outlet

LOG = logging.getLogger(__name__)

#: what is left of a body that nobody read is awaited so long: a client that is still sending would not see the answer
_REST_S = 2.0
#: an answer has to be taken within so long
_ANSWER_S = 60.0


_CODES = {500: errors.Bug.code, 503: errors.Unavailable.code}


class Request(server.HTTPRequest):
    """cheroot's request, which would answer in plain text."""

    #: as it was sent; empty while it is not known
    uri = b""

    def read_request_line(self) -> bool:
        """Read it; refuse addresses that only turn out to be none when they are taken apart."""
        try:
            if not super().read_request_line():  # type: ignore[no-untyped-call]
                return False
        except ValueError as exc:
            self.simple_response("400 Bad Request", f"Malformed Request-URI: {exc}")
            return False
        if not re.fullmatch(rb"HTTP/[0-9][.][0-9]", self.request_protocol):
            self.simple_response("400 Bad Request", "Malformed Request-Line: bad version")
        elif self.method == b"OPTIONS" and not re.match(rb"[*]$|/(?!/)", self.uri):
            # of all other methods cheroot refuses it
            self.simple_response("400 Bad Request", "Absolute URI not allowed if server is not a proxy.")
        else:
            return True
        return False

    def header_reader(self, lines: Any, found: framing.Headers) -> None:
        """Read the headers, more strictly than cheroot's own.  Raises ValueError, MaxSizeExceeded."""
        framing.read_headers(lines, found)
        framing.check_headers(found, is_1_1=self.response_protocol == "HTTP/1.1")
        if b"Host" not in found:
            host, port = self.conn.socket.getsockname()[:2]
            found[b"Host"] = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}").encode()

    def respond(self) -> None:
        """Answer it."""
        most = self.server.max_request_body_size
        if self.chunked_read:
            self.rfile = framing.Chunks(self.conn.rfile, most)
        else:
            self.rfile = server.KnownLengthRFile(self.conn.rfile, int(self.inheaders.get(b"Content-Length") or 0))
        self.server.gateway(self).respond()
        if self.ready:
            self.ensure_headers_sent()
        if self.chunked_write:
            self.conn.wfile.write(b"0\r\n\r\n")

    def send_headers(self) -> None:
        """Send them; the connection ends when what is left of the body could be taken for the next request."""
        says_so = (b"connection", b"close") in [(name.lower(), value) for name, value in self.outheaders]
        if says_so or (self.chunked_read and not self.rfile.closed) or self._rest_of_body():
            self.close_connection = True
        super().send_headers()

    def _rest_of_body(self) -> int:
        """Return how many bytes of the body have not come; those that have are thrown away."""
        if self.chunked_read or not self.rfile.remaining:
            return 0
        self.conn.rfile.hurry(_REST_S)
        with suppress(OSError):
            while self.rfile.read(64 * 1024):
                pass
        return int(self.rfile.remaining)

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer with an error, and end the connection."""
        code = int(status[:3])
        request_id = f"req-{uuid.uuid4()}"
        words = msg or HTTPStatus(code).phrase
        error = _CODES.get(code, errors.Invalid.code)
        LOG.info("A request that could not be read was answered %s: %r", code, words, extra={"request_id": request_id})
        # Of an address that is not known yet, most are Nova's.
        as_nova = not self.uri.startswith(b"/v1")
        data = json.dumps(error_body(as_nova, code, error, words, {}, request_id)).encode()
        self.close_connection = True
        head = [f"{self.server.protocol} {code} {HTTPStatus(code).phrase}", f"Content-Length: {len(data)}",
                "Content-Type: application/json", "Connection: close", f"Corral-Error: {error}",
                f"x-openstack-request-id: {request_id}", f"x-compute-request-id: {request_id}", "", ""]
        try:
            self.conn.wfile.write("\r\n".join(head).encode() + data)
        except OSError as exc:
            LOG.info("Nobody reads the answer %s: %s", code, exc)


class Connection(server.HTTPConnection):
    """A connection with requests of ours; while one arrives it holds no thread."""

    RequestHandlerClass = Request

    def __init__(self, owner: Any, connected: socket.socket, makefile: Any = None) -> None:
        super().__init__(owner, connected, lambda one, mode, size: Intake(one, owner.patience) if "r" in mode
                         else Outlet(one, owner.patience))
        self._has_begun = False
        self._last_used = 0.0

    @property
    def last_used(self) -> float:
        """When it was last heard of: when what is arriving began, by which cheroot ends it."""
        return self._last_used

    @last_used.setter
    def last_used(self, value: float | None) -> None:
        if not self._has_begun:
            self._last_used = value or 0.0
        self._has_begun = self.rfile.has_begun()

    def has_request(self) -> bool:
        """Return whether a thread should have it; False while not enough has arrived."""
        self.rfile.gather()
        return bool(self.rfile.is_whole())

    def is_over(self) -> bool:
        """Return whether nothing will come any more."""
        return bool(self.rfile.is_over())

    def communicate(self) -> bool:
        """Read one request and answer it; return whether the connection stays."""
        self._has_begun = False
        self._begin()
        return bool(super().communicate())  # type: ignore[no-untyped-call]

    def _begin(self) -> None:
        self.rfile.begin(self.server.timeout)
        self.wfile.begin(_ANSWER_S)

    def refuse(self, status: str, words: str) -> None:
        """Answer with an error before there is a request, and end it."""
        self._begin()
        Request(self.server, self).simple_response(status, words)
        self.end()

    def hang_up(self) -> None:
        """Let whoever watches it see that it is over."""
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """End it; of a request that did not arrive in time it is said."""
        if self._has_begun:
            self._has_begun = False
            self.refuse("408 Request Timeout", "The request did not arrive in time.")
        else:
            self.end()

    def end(self) -> None:
        """End it without a word."""
        self._has_begun = False
        self.server.forget(self)
        super().close()

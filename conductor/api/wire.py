"""What is answered to bytes that are no proper request: the same form as everywhere, with an id.

The application never sees these: a malformed request line, headers without end, a length that
is none.  It knows of the APIs only whose error form is read where.
"""

import json
import logging
import re
import uuid
from http import HTTPStatus

from cheroot import server

from common import errors
from conductor.api.app import error_body

LOG = logging.getLogger(__name__)


class Request(server.HTTPRequest):
    """cheroot's request, which would answer in plain text."""

    #: as it was sent; empty while it is not known
    uri = b""

    def read_request_line(self) -> bool:
        """Read it; refuse addresses that only turn out to be none when they are taken apart."""
        try:
            return bool(super().read_request_line())  # type: ignore[no-untyped-call]
        except ValueError as exc:
            self.simple_response("400 Bad Request", f"Malformed Request-URI: {exc}")
            return False

    def read_request_headers(self) -> bool:
        """Read them; refuse a length that is no number of bytes, of which cheroot takes some."""
        if not super().read_request_headers():  # type: ignore[no-untyped-call]
            return False
        if re.fullmatch(rb"[0-9]*", self.inheaders.get(b"Content-Length", b"")):
            return True
        self.simple_response("400 Bad Request", "Malformed Content-Length Header.")
        return False

    def send_headers(self) -> None:
        """Send them; the connection ends when what is left of the body could be taken for the next request."""
        says_so = (b"connection", b"close") in [(name.lower(), value) for name, value in self.outheaders]
        if says_so or (self.chunked_read and not self.rfile.closed):
            self.close_connection = True
        super().send_headers()

    def simple_response(self, status: str, msg: str = "") -> None:
        """Answer with an error, and end the connection."""
        code = int(status[:3])
        request_id = f"req-{uuid.uuid4()}"
        words = msg or HTTPStatus(code).phrase
        error = errors.Bug.code if code == HTTPStatus.INTERNAL_SERVER_ERROR else errors.Invalid.code
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
    """A connection with requests of ours."""

    RequestHandlerClass = Request

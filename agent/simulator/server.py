"""HTTP/1.1 for many loopback addresses at once: one accepting thread, one thread per connection.

Where an address has a TLS context its port takes both: a connection's first byte tells which it is.

Knows requests and replies as bytes; what they mean is for the function handed in.
"""

import contextlib
import selectors
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass

BACKLOG = 256  # 5, Python's default, made connections fail under 20 parallel calls
BODY_LIMIT = 300 * 1024  # xapi's http_limit_max_rpc_size
BODY_CUT_OFF = 400_000  # seen: who announces that much is not even refused
HEADER_LIMIT = 64 * 1024
TLS_HANDSHAKE = 0x16  # the first byte of a connection that wants TLS; no method begins with it
HANDSHAKE_S = 60.0
REASONS = {200: "OK", 400: "Bad Request", 403: "Forbidden", 404: "Not Found", 405: "Method Not Allowed",
           500: "Internal Error", 501: "Method Not Implemented"}
CACHE = "cache-control: no-cache, no-store\r\n"
CORS = "Access-Control-Allow-Origin: *\r\nAccess-Control-Allow-Headers: X-Requested-With\r\n"


class Hangup(Exception):
    """The connection is to be closed without an answer."""


@dataclass(frozen=True)
class Request:
    """One request as it came."""

    address: str  # the local address that was called
    incarnation: int  # of the machine when the connection was accepted
    method: str
    path: str
    headers: dict[str, str]  # names in lower case
    body: bytes | None  # None when no length was told, or too great a one
    too_long: bool = False


@dataclass(frozen=True)
class Response:
    """What to send back."""

    status: int
    content_type: str
    body: bytes
    close: bool = False


class Server:
    """Listeners, one for each address, all on one port."""

    def __init__(self, listeners: dict[str, socket.socket], answer: Callable[[Request], Response],
                 incarnation_of: Callable[[str], int], tls: Mapping[str, ssl.SSLContext] | None = None) -> None:
        self._listeners, self._answer, self._incarnation_of = listeners, answer, incarnation_of
        self._tls = dict(tls or {})
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._stopping = False
        self._wake, self._waker = socket.socketpair()
        self._thread = threading.Thread(target=self._accept, name="simulator-accept", daemon=True)

    def start(self) -> None:
        """Begin to accept."""
        self._thread.start()

    def stop(self) -> None:
        """Close everything; connections end unanswered."""
        with self._lock:
            self._stopping = True
            connections = list(self._connections)
        self._waker.send(b"x")
        self._thread.join()
        for connection in connections:
            hang_up(connection)
        for one in (*self._listeners.values(), self._wake, self._waker):
            one.close()

    def _accept(self) -> None:
        with selectors.DefaultSelector() as selector:
            selector.register(self._wake, selectors.EVENT_READ)
            for address, listener in self._listeners.items():
                listener.setblocking(False)
                selector.register(listener, selectors.EVENT_READ, address)
            while not self._stopping:
                for key, _events in selector.select():
                    if key.data is not None:
                        self._accept_one(key.data)

    def _accept_one(self, address: str) -> None:
        try:
            connection, _peer = self._listeners[address].accept()
        except OSError:
            return  # the client was faster in leaving
        connection.setblocking(True)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            if self._stopping:
                connection.close()
                return
            self._connections.add(connection)
        threading.Thread(target=self._serve, args=(connection, address), name=f"simulator-{address}",
                         daemon=True).start()

    def _serve(self, connection: socket.socket, address: str) -> None:
        incarnation = self._incarnation_of(address)
        try:
            connection = self._secured(connection, address)
            with connection.makefile("rb", buffering=65536) as stream:
                while self._serve_one(connection, stream, address, incarnation):
                    pass
        except (OSError, Hangup, ValueError):
            pass  # the client went away, or is to be left without an answer
        finally:
            with self._lock:
                self._connections.discard(connection)
            connection.close()

    def _secured(self, connection: socket.socket, address: str) -> socket.socket:
        context = self._tls.get(address)
        if context is None or connection.recv(1, socket.MSG_PEEK)[:1] != bytes([TLS_HANDSHAKE]):
            return connection
        with self._lock:
            self._connections.discard(connection)
            if self._stopping:
                raise Hangup
            secure = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
            self._connections.add(secure)
        secure.settimeout(HANDSHAKE_S)
        secure.do_handshake()
        secure.settimeout(None)
        return secure

    def _serve_one(self, connection: socket.socket, stream: "socket.SocketIO | object", address: str,
                   incarnation: int) -> bool:
        line = _line(stream)
        if not line:
            return False
        method, path, version = line.split(" ", 2)
        headers: dict[str, str] = {}
        while text := _line(stream):
            name, _, value = text.partition(":")
            headers[name.strip().lower()] = value.strip()
        response = self._answer(self._read(stream, method, path, headers, address, incarnation))
        asked = headers.get("connection", "").lower()
        keep = not response.close and asked != "close" and (version != "HTTP/1.0" or asked == "keep-alive")
        head = f"HTTP/1.{0 if version == 'HTTP/1.0' else 1} {response.status} {REASONS[response.status]}\r\n"
        kind = f"content-type: {response.content_type}\r\n"
        held = f"connection: {'keep-alive' if keep else 'close'}\r\n"
        head += f"content-length: {len(response.body)}\r\n"  # then in the order seen, which differs for errors
        head += (held + CACHE + kind + CORS) if response.status == 200 else (kind + held + CACHE)
        connection.sendall(head.encode("ascii") + b"\r\n" + (b"" if method == "HEAD" else response.body))
        return keep

    def _read(self, stream: object, method: str, path: str, headers: dict[str, str], address: str,
              incarnation: int) -> Request:
        size = headers.get("content-length", "")
        length = int(size) if size.isdigit() else -1
        if length >= BODY_CUT_OFF:
            raise Hangup
        if length < 0:
            return Request(address, incarnation, method, path, headers, None)
        body: bytes = stream.read(length)  # type: ignore[attr-defined]
        if len(body) < length:
            raise Hangup
        if length > BODY_LIMIT:     # read all the same: who is still sending sees no answer
            return Request(address, incarnation, method, path, headers, None, too_long=True)
        return Request(address, incarnation, method, path, headers, body)


def _line(stream: object) -> str:
    text: bytes = stream.readline(HEADER_LIMIT)  # type: ignore[attr-defined]
    return text.decode("latin-1").rstrip("\r\n")


def hang_up(connection: socket.socket) -> None:
    """End a connection that another thread may be reading."""
    with contextlib.suppress(OSError):  # it may be closed already
        connection.shutdown(socket.SHUT_RDWR)


def listen(addresses: list[str], port: int) -> dict[str, socket.socket]:
    """Return a listener for each address, all on one port; 0 takes one that is free on all of them.

    Raises OSError when an address or the port is taken.
    """
    attempts = 1 if port else 20
    for attempt in range(attempts):
        listeners: dict[str, socket.socket] = {}
        wanted = port
        try:
            for address in addresses:
                listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                listeners[address] = listener
                listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                listener.bind((address, wanted))
                listener.listen(BACKLOG)
                wanted = listener.getsockname()[1]
        except OSError:
            for listener in listeners.values():
                listener.close()
            if attempt == attempts - 1:
                raise
        else:
            return listeners
    raise OSError("no attempt was made")

"""A host that answers as a simulated one, until it is told to answer as nobody should.

It stands before a simulator and hands every request on. While armed it answers requests of one method by what it was
armed with: a function that writes to the connection. It knows no agent.
"""

import contextlib
import http.client
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PATIENCE_S = 20.0


@dataclass
class Caller:
    """Who has asked, and what they sent."""

    connection: socket.socket
    path: str
    body: bytes
    #: set when the host ends
    ended: threading.Event

    @property
    def is_json(self) -> bool:
        return self.path == "/jsonrpc"

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, body: bytes, *headers: str, status: str = "200 OK") -> None:
        """Send an answer with an honest length."""
        lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers]
        self.send("\r\n".join(lines).encode() + b"\r\n\r\n" + body)

    def forever(self, *pieces: bytes, pause_s: float = 0.0) -> None:
        """Send the pieces over and over, until the host ends or the caller goes."""
        while not self.ended.wait(pause_s):
            for piece in pieces:
                self.send(piece)


Attack = Callable[[Caller], None]


@dataclass
class HostileHost:
    """`url` is answered as `target` is, but for what `arm` said; without `json` as by a xapi that has no JSON-RPC."""

    target: str
    json: bool = True
    #: methods that were asked while armed, in order
    attacked: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._armed: tuple[str, Attack] | None = None
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    @contextlib.contextmanager
    def armed(self, attack: Attack, method: str = "") -> Iterator[None]:
        """Answer requests whose body names `method` by `attack` while the block runs."""
        self._armed = method, attack
        try:
            yield
        finally:
            self._armed = None

    @contextlib.contextmanager
    def serving(self) -> Iterator["HostileHost"]:
        """Serve while the block runs."""
        threading.Thread(target=self._accept, daemon=True).start()
        try:
            yield self
        finally:
            self._ended.set()
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._serve, args=(self._listener.accept()[0],), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while first := stream.readline().split():
                length = 0
                while line := stream.readline().strip():
                    name, _, value = line.partition(b":")
                    length = int(value) if name.lower() == b"content-length" else length
                caller = Caller(connection, first[1].decode(), stream.read(length), self._ended)
                armed = self._armed
                if armed is not None and armed[0].encode() in caller.body:
                    self.attacked.append(armed[0])
                    armed[1](caller)
                    return
                self._hand_on(caller)

    def _hand_on(self, caller: Caller) -> None:
        if caller.is_json and not self.json:
            caller.answer(b"<html>", status="404 Not Found")
            return
        parts = urlsplit(self.target)
        ahead = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=PATIENCE_S)
        with contextlib.closing(ahead):
            ahead.request("POST", caller.path, caller.body)
            caller.answer(ahead.getresponse().read())

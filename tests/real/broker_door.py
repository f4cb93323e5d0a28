"""A port in front of a broker, where a test cuts, delays or forges what passes."""

import contextlib
import socket
import struct
import threading


class Door:
    """A port in front of the broker that can be shut, and through which nothing need come though it is open."""

    def __init__(self, port: int) -> None:
        self._inside = port
        self._passing = threading.Event()
        self._passing.set()
        self._open: list[socket.socket] = []
        self._entrance: socket.socket | None = None
        self.port = 0
        self.open()

    def open(self) -> None:
        """Take connections, at the same port as before."""
        self._entrance = socket.create_server(("127.0.0.1", self.port), backlog=200)
        self.port = self._entrance.getsockname()[1]
        threading.Thread(target=self._welcome, args=(self._entrance,), daemon=True).start()

    def shut(self) -> None:
        """Cut all connections, and refuse new ones."""
        assert self._entrance is not None
        with contextlib.suppress(OSError):
            self._entrance.shutdown(socket.SHUT_RDWR)
        self._entrance.close()
        self.cut()

    def cut(self) -> None:
        """Cut all connections; new ones are taken."""
        cut, self._open = self._open, []
        for one in cut:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def freeze(self) -> None:
        """Take connections and let nothing through."""
        self._passing.clear()

    def thaw(self) -> None:
        """Let everything through."""
        self._passing.set()

    def lose(self) -> None:
        """Let nothing through any more on the connections that there are, without a word; new ones are taken."""
        self._passing.clear()
        self._passing = threading.Event()
        self._passing.set()

    def end(self, code: int, reason: str) -> None:
        """Say on all connections, which have to be idle, what a broker says when it ends them (AMQP 0-9-1, 4.2.3)."""
        text = reason.encode()
        body = struct.pack(">HHHB", 10, 50, code, len(text)) + text + struct.pack(">HH", 0, 0)
        for client in self._open[::2]:
            with contextlib.suppress(OSError):
                client.sendall(struct.pack(">BHI", 1, 0, len(body)) + body + b"\xce")

    def _welcome(self, entrance: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                outer = entrance.accept()[0]
                try:
                    inner = socket.create_connection(("127.0.0.1", self._inside))
                except ConnectionRefusedError:
                    outer.close()
                    continue
                self._open += [outer, inner]
                for source, target in ((outer, inner), (inner, outer)):
                    threading.Thread(target=self._pump, args=(source, target, self._passing), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, passing: threading.Event) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                passing.wait()
                target.sendall(data)
        for one in (source, target):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

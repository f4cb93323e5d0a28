"""An oslo.messaging driver within one process, for the embedded mode and for tests.

URL ``corral-inproc://NAME/``: drivers with the same NAME share one exchange.  It
behaves as the real broker does where that matters: every message and reply makes a
JSON round trip, a message that nobody listens for raises MessageUndeliverable when
``at_least_once`` is asked and is dropped otherwise.  It waits on queues and never
polls.  It knows nothing of Corral's messages.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import oslo_messaging
from oslo_messaging._drivers import base
from oslo_serialization import jsonutils

Callback = Callable[[list["Incoming"]], None]


class Incoming(base.RpcIncomingMessage):  # type: ignore[misc]
    """One message on its way to a server, with the queue that its reply goes to."""

    def __init__(self, ctxt: dict[str, Any], message: dict[str, Any],
                 replies: "queue.SimpleQueue[tuple[str, str | None]] | None") -> None:
        super().__init__(ctxt, message)
        self._replies = replies

    def reply(self, reply: Any = None, failure: Any = None) -> None:
        """Send the answer, or the name and text of the failure."""
        if self._replies is None:
            return
        if failure:
            self._replies.put(("", f"{type(failure[1]).__name__}: {failure[1]}"))
        else:
            self._replies.put((jsonutils.dumps(reply), None))

    def requeue(self) -> None:
        """Not supported, as with the real RPC servers."""

    def heartbeat(self) -> None:
        """Nothing to do: a caller in this process can't lose its connection."""


class Exchange:
    """Who listens to what, under one name, in this process."""

    _named: ClassVar[dict[str, "Exchange"]] = {}
    _naming = threading.Lock()

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._listeners: dict[tuple[str | None, str], list[Listener]] = {}
        self._turn = 0

    @classmethod
    def named(cls, name: str) -> "Exchange":
        """Return the exchange of that name, made at the first call."""
        with cls._naming:
            return cls._named.setdefault(name, cls())

    def add(self, listener: "Listener") -> None:
        """Deliver to ``listener`` from now on."""
        with self._lock:
            for key in listener.keys:
                self._listeners.setdefault(key, []).append(listener)

    def remove(self, listener: "Listener") -> None:
        """Deliver nothing more to ``listener``."""
        with self._lock:
            for key in listener.keys:
                self._listeners[key] = [other for other in self._listeners[key] if other is not listener]

    def deliver(self, exchange: str | None, topic: str, fanout: bool, incoming: Incoming) -> bool:
        """Hand ``incoming`` to one listener in turn (all with ``fanout``); return whether there was any."""
        with self._lock:
            found = list(self._listeners.get((exchange, topic), ()))
            if found and not fanout:
                self._turn += 1
                found = [found[self._turn % len(found)]]
            for listener in found:
                listener.queue.put(incoming)
        return bool(found)


class Listener(base.Listener):  # type: ignore[misc]
    """One consumer: a thread that waits on its own queue."""

    def __init__(self, exchange: Exchange, keys: Sequence[tuple[str | None, str]]) -> None:
        super().__init__(1, None)
        self.keys = list(keys)
        self.queue: queue.SimpleQueue[Incoming | None] = queue.SimpleQueue()
        self._exchange = exchange
        self._thread: threading.Thread | None = None
        exchange.add(self)

    def start(self, on_incoming_callback: Callback) -> None:
        """Hand each message to the callback, in order of arrival."""
        super().start(on_incoming_callback)
        self._thread = threading.Thread(target=self._run, args=(on_incoming_callback,), daemon=True,
                                        name=f"inproc-{self.keys[0][1]}")
        self._thread.start()

    def _run(self, callback: Callback) -> None:
        while (incoming := self.queue.get()) is not None:
            callback([incoming])

    def stop(self) -> None:
        """Stop taking messages; what was delivered before is still handed over."""
        self._exchange.remove(self)
        self.queue.put(None)
        if self._thread is not None:
            self._thread.join()
        super().stop()

    def cleanup(self) -> None:
        """Nothing is held."""


class InProcessDriver(base.BaseDriver):  # type: ignore[misc]
    """The driver behind ``corral-inproc://``."""

    def __init__(self, conf: Any, url: Any, default_exchange: str | None = None,
                 allowed_remote_exmods: Any = None) -> None:
        super().__init__(conf, url, default_exchange, allowed_remote_exmods)
        name = url.hosts[0].hostname if url.hosts else ""
        self._exchange = Exchange.named(f"{name}/{url.virtual_host or ''}")

    def require_features(self, requeue: bool = False) -> None:
        """Refuse what is not supported, as the base does."""
        super().require_features(requeue=requeue)

    def send(self, target: Any, ctxt: dict[str, Any], message: dict[str, Any], wait_for_reply: bool | None = None,
             timeout: float | None = None, call_monitor_timeout: float | None = None, retry: int | None = None,
             transport_options: Any = None) -> Any:
        """Deliver ``message``; with ``wait_for_reply`` return the reply.

        Raises MessageUndeliverable (nobody listens and ``at_least_once`` was asked),
        MessagingTimeout, RemoteError (the other side raised what is no answer).
        """
        replies: queue.SimpleQueue[tuple[str, str | None]] | None = queue.SimpleQueue() if wait_for_reply else None
        incoming = Incoming(_copy(ctxt), _copy(message), replies)
        topic = f"{target.topic}.{target.server}" if target.server and not target.fanout else target.topic
        delivered = self._exchange.deliver(target.exchange or self._default_exchange, topic,
                                           bool(target.fanout), incoming)
        if not delivered and transport_options is not None and transport_options.at_least_once:
            raise oslo_messaging.exceptions.MessageUndeliverable(
                Exception("no listener"), target.exchange, topic, message)
        if replies is None:
            return None
        try:
            text, failure = replies.get(timeout=timeout)
        except queue.Empty:
            raise oslo_messaging.MessagingTimeout(f"no reply on topic {topic} in {timeout} s") from None
        if failure is not None:
            raise oslo_messaging.RemoteError(*failure.split(": ", 1))
        return jsonutils.loads(text)

    def send_notification(self, target: Any, ctxt: dict[str, Any], message: dict[str, Any], version: float,
                          retry: int | None = None) -> None:
        """Hand a notification to whoever listens; nobody listening is no error."""
        self.send(target, ctxt, message)

    def listen(self, target: Any, batch_size: int, batch_timeout: float | None) -> Listener:
        """Return a listener for the topic and for the topic at this server."""
        exchange = target.exchange or self._default_exchange
        return Listener(self._exchange, [(exchange, target.topic), (exchange, f"{target.topic}.{target.server}")])

    def listen_for_notifications(self, targets_and_priorities: Any, pool: str | None, batch_size: int,
                                 batch_timeout: float | None) -> Listener:
        """Return a listener for the given topics and priorities."""
        return Listener(self._exchange, [(target.exchange or self._default_exchange, f"{target.topic}.{priority}")
                                         for target, priority in targets_and_priorities])

    def cleanup(self) -> None:
        """Nothing is held by the driver itself."""


def _copy(value: dict[str, Any]) -> dict[str, Any]:
    copied: dict[str, Any] = jsonutils.loads(jsonutils.dumps(value))
    return copied

"""The edge to oslo.messaging: transports, clients, servers; third-party errors end here.

Errors of ours cross as data: a server answers ``{"result": ...}`` or ``{"error":
{...}}``, and the client raises the error again.  An exception never crosses.

Over RabbitMQ every wait has a bound, by the driver in ``common/rabbit.py``.
"""

import logging
import threading
from collections.abc import Callable, Iterable
from typing import Any

# isort: off
from common import concurrency  # noqa: F401  it has to come before oslo_messaging
# isort: on
import oslo_messaging
from oslo_config import cfg
from oslo_messaging import dispatcher as oslo_dispatcher
from oslo_messaging import transport as oslo_transport
from oslo_messaging._metrics import client as oslo_metrics
from oslo_messaging._tracing import client as oslo_tracing
from oslo_messaging.rpc import server as oslo_server

from common import errors, quiet, rabbit, shipped
from common.answering import Desk
from common.trouble import TROUBLE, Away, Refused

LOG = logging.getLogger(__name__)

EXCHANGE = "corral"
TOPIC_AGENT = "corral.agent"           #: conductor -> one agent, casts only
TOPIC_AGENTS = "corral.agents"         #: agents -> conductors
TOPIC_CONDUCTOR = "corral.conductor"   #: API and other services -> conductors

#: what messages go through, by the beginning of its URL
_BROKER, _IN_PROCESS = "rabbit", "corral-inproc"
#: topics whose messages always name their server, so that no queue is shared
_NAMED_ONLY = frozenset({TOPIC_AGENT})

Context = dict[str, Any]
Transport = oslo_messaging.Transport


def transport(url: str | None, conf: Any = None, process: str | None = None, password: str | None = None) -> Any:
    """Return an RPC transport for ``url``, or for the configured one.

    ``process`` names this process among those of its machine (queues are named after
    it); ``password`` is for the hosts in the URL that have none.  The broker need not be
    there.  Raises Invalid.
    """
    conf = conf or cfg.CONF
    # oslo.messaging registers these two on the global configuration only; without them it drops every message.
    conf.register_opts(oslo_metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
    conf.register_opts(oslo_tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")
    oslo_messaging.set_transport_defaults(control_exchange=EXCHANGE)
    parsed = address(url, conf, password)
    if parsed.transport not in (_BROKER, _IN_PROCESS):
        raise errors.Invalid(f"The transport URL begins with {_BROKER}://, and not with {parsed.transport}://",
                             code="bad_transport_url")
    try:
        if parsed.transport != _BROKER:
            return oslo_messaging.get_rpc_transport(conf, url=parsed)
        rabbit.register_options(conf)
        shipped.set_defaults(conf, process)
        quiet.quieten(("oslo.messaging", "oslo_messaging", "kombu", "amqp", __name__), alike=quiet.broker_trouble)
        return oslo_transport.RPCTransport(rabbit.Driver(conf, parsed, EXCHANGE, _NAMED_ONLY))
    except (oslo_messaging.DriverLoadFailure, RuntimeError, ValueError) as exc:
        raise errors.Invalid(f"The transport URL can't be used: {exc}", code="bad_transport_url") from exc


def address(url: str | None, conf: Any = None, password: str | None = None) -> Any:
    """Return ``url``, or the configured one, as oslo.messaging reads it.  Raises Invalid."""
    try:
        parsed = oslo_messaging.TransportURL.parse(conf or cfg.CONF, url)
    except (oslo_messaging.InvalidTransportURL, ValueError) as exc:
        raise errors.Invalid(f"The transport URL can't be used: {exc}", code="bad_transport_url") from exc
    for host in parsed.hosts:
        host.password = host.password or password
    return parsed


class Client:
    """Calls and casts to one topic.  ``retry``: how often a broken connection is replaced while sending."""

    def __init__(self, transport: Any, topic: str, version: str, timeout_s: float = 60.0, retry: int = 2) -> None:
        self._client = oslo_messaging.get_rpc_client(
            transport, oslo_messaging.Target(exchange=EXCHANGE, topic=topic, version=version),
            timeout=timeout_s, retry=retry,
            transport_options=oslo_messaging.TransportOptions(at_least_once=True))

    def call(self, context: Context, method: str, timeout_s: float | None = None, version: str | None = None,
             **arguments: Any) -> Any:
        """Return what the other side answers; ``version`` is the one in which the method last changed.

        Raises the error it answered with; Unavailable when nobody listens or the broker
        is away or refuses us, OutcomeUnknown when no reply came in time; that one says
        with code ``nobody_listens`` that there is nobody who could have answered.
        """
        changed = {"timeout": timeout_s, "version": version}
        client = self._client.prepare(**{name: value for name, value in changed.items() if value is not None})
        try:
            answer = sent(lambda: client.call(context, method, **arguments), method)
        except errors.OutcomeUnknown as exc:
            if not self._is_heard():
                raise errors.OutcomeUnknown(f"Nobody listens for {method} any more; is the service running?",
                                            code="nobody_listens") from exc
            raise
        if "error" in answer:
            raise errors.from_wire(answer["error"])
        return answer["result"]

    def _is_heard(self) -> bool:
        """Return whether somebody listens, as far as the broker says."""
        driver = self._client.transport._driver
        try:
            return not isinstance(driver, rabbit.Driver) or driver.listeners(self._client.target.topic) > 0
        except Away as exc:
            LOG.debug("The broker does not say who listens: %s", exc)
            return True

    def cast(self, context: Context, method: str, server: str, version: str | None = None, **arguments: Any) -> None:
        """Send without waiting for an answer.  Raises Unavailable, as ``call``."""
        client = self._client.prepare(server=server, **({} if version is None else {"version": version}))
        sent(lambda: client.cast(context, method, **arguments), method)


def sent(send: Callable[[], Any], method: str) -> Any:
    """Return ``send()``, which sends ``method``, with the messaging library's errors translated into ours."""
    try:
        return send()
    except oslo_messaging.exceptions.MessageUndeliverable as exc:
        raise errors.Unavailable(f"Nobody listens for {method}; is the service running?",
                                 code="nobody_listens") from exc
    except oslo_messaging.MessagingTimeout as exc:
        raise errors.OutcomeUnknown(f"No answer to {method} in time") from exc
    except Refused as exc:
        raise errors.Unavailable(f"The message broker refuses this service: {exc}", code="broker_refused") from exc
    except (oslo_messaging.MessageDeliveryFailure, *TROUBLE) as exc:
        unknown = {"effect": "unknown"} if getattr(exc, "sent", False) else {}
        raise errors.Unavailable("The message broker can't be reached", code="broker_unavailable", **unknown) from exc
    except oslo_messaging.MessagingException as exc:
        raise errors.Error(f"{method} was refused: {exc}", code="rpc_refused") from exc


class _Dispatcher(oslo_dispatcher.DispatcherBase):  # type: ignore[misc]
    """Hands every message to the desk, whatever it says."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def dispatch(self, incoming: Any) -> dict[str, Any]:
        """Return the answer."""
        return self._desk.answer(incoming.ctxt, incoming.message)


class Server:
    """One listening topic; ``start`` may be called once, ``stop`` at any time and again."""

    def __init__(self, transport: Any, topic: str, server: str, version: str,
                 methods: dict[str, Callable[..., Any]], workers: int = 16) -> None:
        self._transport = transport
        self._target = oslo_messaging.Target(exchange=EXCHANGE, topic=topic, server=server)
        self._dispatcher = _Dispatcher(Desk(topic, version, methods))
        self._workers = workers
        self._server: Any = None
        self._listening, self._ended = threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to handle messages, with at most ``workers`` at once; returns at once also without a broker.

        Over a broker, ``listening`` says when; it is tried until ``stop``.
        """
        if not isinstance(self._transport._driver, rabbit.Driver):
            self._listen()
            return
        self._thread = threading.Thread(target=self._keep_trying, daemon=True, name=f"rpc-{self._target.topic}")
        self._thread.start()

    def listening(self, timeout_s: float = 0.0) -> bool:
        """Return whether it has begun to listen, waiting for that so long."""
        return self._listening.wait(timeout_s)

    def stop(self) -> None:
        """Take no more messages and wait for those being handled."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        server, self._server = self._server, None
        if server is None:
            return
        if isinstance(self._transport._driver, rabbit.Driver):
            self._transport._driver.hurry.set()
        server.stop()
        server.wait()

    def _listen(self) -> None:
        # Each attempt needs a new one: the library's can't be started again after a failure.
        server = oslo_server.RPCServer(self._transport, self._target, self._dispatcher)
        server.start(override_pool_size=self._workers)
        self._server = server
        self._listening.set()

    def _keep_trying(self) -> None:
        while not self._ended.is_set():
            try:
                self._listen()
                return
            except (oslo_messaging.MessagingException, *TROUBLE) as exc:
                LOG.warning("Can't listen on %s at the message broker yet: %s", self._target.topic, exc)
            self._ended.wait(rabbit.RETRY_S)


def methods_of(obj: object, names: Iterable[str]) -> dict[str, Callable[..., Any]]:
    """Return the named methods of ``obj``, to be served."""
    return {name: getattr(obj, name) for name in names}

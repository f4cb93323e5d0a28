"""The edge to oslo.messaging: transports, clients, servers; third-party errors end here.

Errors of ours cross as data: a server answers ``{"result": ...}`` or ``{"error":
{...}}``, and the client raises the error again.  An exception never crosses.
"""

import logging
from collections.abc import Callable, Iterable
from typing import Any

# isort: off
from common import concurrency  # noqa: F401  it has to come before oslo_messaging
# isort: on
import kombu.exceptions
import oslo_messaging
from oslo_config import cfg

from common import errors

LOG = logging.getLogger(__name__)

EXCHANGE = "corral"
TOPIC_AGENT = "corral.agent"           #: conductor -> one agent, casts only
TOPIC_AGENTS = "corral.agents"         #: agents -> conductors
TOPIC_CONDUCTOR = "corral.conductor"   #: API and other services -> conductors

Context = dict[str, Any]
Transport = oslo_messaging.Transport


def transport(url: str | None, conf: Any = None) -> Any:
    """Return an RPC transport for ``url``, or for the configured one.

    Uses the global configuration unless told otherwise: oslo.messaging registers two
    of its groups there only, and drops every message without them.
    """
    conf = conf or cfg.CONF
    oslo_messaging.set_transport_defaults(control_exchange=EXCHANGE)
    try:
        return oslo_messaging.get_rpc_transport(conf, url=url)
    except (oslo_messaging.DriverLoadFailure, oslo_messaging.InvalidTransportURL) as exc:
        raise errors.Invalid(f"The transport URL can't be used: {exc}", code="bad_transport_url") from exc


class Client:
    """Calls and casts to one topic."""

    def __init__(self, transport: Any, topic: str, version: str, timeout_s: float = 60.0, retry: int = 2) -> None:
        self._client = oslo_messaging.get_rpc_client(
            transport, oslo_messaging.Target(exchange=EXCHANGE, topic=topic, version=version),
            timeout=timeout_s, retry=retry,
            transport_options=oslo_messaging.TransportOptions(at_least_once=True))

    def call(self, context: Context, method: str, timeout_s: float | None = None, **arguments: Any) -> Any:
        """Return what the other side answers.

        Raises the error it answered with; Unavailable when nobody listens or the broker
        is away (nothing was done), OutcomeUnknown when no reply came in time.
        """
        client = self._client if timeout_s is None else self._client.prepare(timeout=timeout_s)
        answer = _sent(lambda: client.call(context, method, **arguments), method)
        if "error" in answer:
            raise errors.from_wire(answer["error"])
        return answer["result"]

    def cast(self, context: Context, method: str, server: str, **arguments: Any) -> None:
        """Send without waiting for an answer.  Raises Unavailable when nobody listens or the broker is away."""
        client = self._client.prepare(server=server)
        _sent(lambda: client.cast(context, method, **arguments), method)


def _sent(send: Callable[[], Any], method: str) -> Any:
    """Return ``send()`` with the messaging library's errors translated into ours."""
    try:
        return send()
    except oslo_messaging.exceptions.MessageUndeliverable as exc:
        raise errors.Unavailable(f"Nobody listens for {method}; is the service running?",
                                 code="nobody_listens") from exc
    except oslo_messaging.MessagingTimeout as exc:
        raise errors.OutcomeUnknown(f"No answer to {method} in time") from exc
    except (oslo_messaging.MessageDeliveryFailure, kombu.exceptions.OperationalError, OSError) as exc:
        raise errors.Unavailable("The message broker can't be reached", code="broker_unavailable") from exc
    except oslo_messaging.MessagingException as exc:
        raise errors.Error(f"{method} was refused: {exc}", code="rpc_refused") from exc


class _Endpoint:
    """The methods of one object as an RPC endpoint; errors become data here."""

    def __init__(self, methods: dict[str, Callable[..., Any]], version: str) -> None:
        self.target = oslo_messaging.Target(version=version)
        for name, method in methods.items():
            setattr(self, name, _answering(name, method))


def _answering(name: str, method: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    def answer(context: Context, **arguments: Any) -> dict[str, Any]:
        try:
            return {"result": method(context, **arguments)}
        except errors.Error as exc:
            return {"error": exc.to_wire()}
        except Exception as exc:
            # The outermost loop of an RPC worker: it must answer whatever happens.
            LOG.exception("The call %s failed", name)
            return {"error": errors.Bug(f"{name} could not be carried out: {type(exc).__name__}").to_wire()}
    return answer


class Server:
    """One listening topic; ``start`` and ``stop`` may each be called once."""

    def __init__(self, transport: Any, topic: str, server: str, version: str,
                 methods: dict[str, Callable[..., Any]], workers: int = 16) -> None:
        self._workers = workers
        self._server = oslo_messaging.get_rpc_server(
            transport, oslo_messaging.Target(exchange=EXCHANGE, topic=topic, server=server),
            [_Endpoint(methods, version)], executor="threading",
            access_policy=oslo_messaging.rpc.dispatcher.DefaultRPCAccessPolicy)

    def start(self) -> None:
        """Begin to handle messages, with at most ``workers`` at once."""
        self._server.start(override_pool_size=self._workers)

    def stop(self) -> None:
        """Take no more messages and wait for those being handled."""
        self._server.stop()
        self._server.wait()


def methods_of(obj: object, names: Iterable[str]) -> dict[str, Callable[..., Any]]:
    """Return the named methods of ``obj``, to be served."""
    return {name: getattr(obj, name) for name in names}

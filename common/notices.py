"""The edge to oslo.messaging's notifier: what other services are told, over the broker or as configured.

It knows no event of ours.  The library logs a notification that it could not send and
forgets it; here that is an error, so that whoever tells can tell it again.
"""

from typing import Any

# isort: off
from common import concurrency  # noqa: F401  it has to come before oslo_messaging
# isort: on
import oslo_messaging
from oslo_messaging import transport as oslo_transport
from oslo_messaging.notify import notifier as oslo_notifier

from common import errors, rpc
from common.trouble import TROUBLE

#: where other services listen, unless [oslo_messaging_notifications] topics says otherwise
TOPIC = "corral_notifications"
GROUP = "oslo_messaging_notifications"
#: how often a broken connection is replaced while one notification is sent; the library's default is for ever
_RETRY = 1


class _Carrier(oslo_transport.NotificationTransport):  # type: ignore[misc]
    """A transport that keeps what went wrong, where the library would log it with the whole payload and go on."""

    trouble: Exception | None = None
    #: what was begun and not done; more than zero without trouble: the library has logged why
    undone = 0

    def _send_notification(self, target: Any, ctxt: Any, message: Any, version: float,
                           retry: int | None = None) -> None:
        self.undone += 1
        try:
            super()._send_notification(target, ctxt, message, version, retry)
        except (oslo_messaging.MessagingException, *TROUBLE) as exc:
            self.trouble = exc
            return
        self.undone -= 1


class Notices:
    """Tells others what happened; for one thread."""

    def __init__(self, conf: Any, transport: Any, publisher: str) -> None:
        """Send as [oslo_messaging_notifications] of ``conf`` says, over ``transport`` unless an URL stands there.

        Raises Invalid when a driver named there does not exist.
        """
        options = _options(conf)
        own = rpc.transport(options.transport_url, conf) if options.transport_url else transport
        self._carrier = _Carrier(own._driver)
        self._notifier = oslo_messaging.Notifier(self._carrier, publisher_id=publisher, retry=_RETRY)
        known = set(self._notifier._driver_mgr.names())
        if missing := sorted(set(options.driver) - known):
            raise errors.Invalid(f"[{GROUP}] driver: there is no {', '.join(missing)}", code="bad_configuration")

    def tell(self, event_type: str, payload: dict[str, Any]) -> None:
        """Tell one thing.  Raises Unavailable when it may not have been heard; told again, it may be heard twice."""
        self._carrier.trouble, self._carrier.undone = None, 0
        self._notifier.info({}, event_type, payload)
        rpc.sent(self._raise, event_type)
        if self._carrier.undone:
            raise errors.Unavailable(f"{event_type} could not be told; the log says why", code="broker_unavailable")

    def _raise(self) -> None:
        if self._carrier.trouble is not None:
            raise self._carrier.trouble


def wanted(conf: Any) -> bool:
    """Return whether anything is to be told at all: whether a driver is configured."""
    return bool(_options(conf).driver)


def _options(conf: Any) -> Any:
    conf.register_opts(oslo_notifier._notifier_opts, group=GROUP)
    conf.set_default("topics", [TOPIC], group=GROUP)
    return conf[GROUP]

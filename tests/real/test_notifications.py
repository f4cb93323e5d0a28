"""Other services hear over RabbitMQ what a conductor did, by oslo.messaging's own listener, as ``doc/rpc.md`` says."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# isort: off
from common import errors, notices, rpc  # they have to come before oslo_messaging
# isort: on
import oslo_messaging
import pytest
import requests
from oslo_config import cfg
from oslo_messaging._metrics import client as oslo_metrics
from oslo_messaging._tracing import client as oslo_tracing

from common.clock import SystemClock
from common.conductor_api import ConductorAPI
from conductor.build import Service
from conductor.db.session import Database
from conductor.operations.settings import Settings
from tests.functional.allinone_world import Parts, guest, pool_world
from tools.deployment import Deployment
from tools.servers import rabbitmq

#: seconds for what takes milliseconds on a machine that is not busy
LONG_S = 60.0
#: seconds that a request may take while the broker is silent: far less than one attempt to send takes
SOON_S = 2.0
#: what is described of them
NOTIFICATIONS = (Path(__file__).parents[2] / "doc" / "rpc.md").read_text(encoding="utf-8").split(
    "\n## Notifications\n")[1].split("\n## ")[0]

Json = dict[str, Any]


class Ears:
    """Another service that listens, by the plain library."""

    def __init__(self, url: str) -> None:
        conf = cfg.ConfigOpts()
        conf([], project="other", default_config_files=[])
        # The library registers these two on the global configuration only.
        conf.register_opts(oslo_metrics.oslo_messaging_metrics, group="oslo_messaging_metrics")
        conf.register_opts(oslo_tracing.oslo_messaging_tracing, group="oslo_messaging_tracing")
        transport = oslo_messaging.get_notification_transport(conf, url=url)
        conf.set_override("rabbit_quorum_queue", True, group="oslo_messaging_rabbit")
        self.heard: list[tuple[str, str, Json]] = []
        self._changed = threading.Condition()
        target = oslo_messaging.Target(exchange="corral", topic="corral_notifications")
        self._transport = transport
        self._listener = oslo_messaging.get_notification_listener(transport, [target], [self], executor="threading")
        self._listener.start()

    def info(self, ctxt: Json, publisher_id: str, event_type: str, payload: Json, metadata: Json) -> None:
        """Keep what was heard."""
        with self._changed:
            self.heard.append((publisher_id, event_type, payload))
            self._changed.notify_all()

    def until(self, what: Callable[[list[str]], bool]) -> list[str]:
        """Return the types heard, once ``what`` is true of them."""
        with self._changed:
            assert self._changed.wait_for(lambda: what(self.types()), LONG_S), self.types()
            return self.types()

    def types(self) -> list[str]:
        """Return the types heard, in order."""
        return [kind for _, kind, _ in self.heard]

    def close(self) -> None:
        """Listen no more."""
        self._listener.stop()
        self._listener.wait()
        self._transport.cleanup()


@contextmanager
def conductor(folder: Path, url: str) -> Iterator[ConductorAPI]:
    """A conductor that tells others over the broker at ``url``; requests reach it within this process."""
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[])
    assert not notices.wanted(conf), "off by default"
    conf.set_override("driver", ["messagingv2"], group=notices.GROUP)
    conf.set_override("transport_url", url, group=notices.GROUP)
    transport = rpc.transport(f"corral-inproc://{folder.name}/")
    database = Database(f"sqlite:///{folder}/corral.sqlite")
    database.upgrade()
    running = Service(database, transport, SystemClock(), Settings(), "c1",
                      tell=notices.Notices(conf, transport, "corral-conductor.c1").tell)
    running.start()
    try:
        yield ConductorAPI(transport)
    finally:
        running.stop()


def create(api: ConductorAPI, name: str) -> Json:
    """Create an aggregate."""
    made: Json = api.call({"user": "ann", "idempotency_key": name}, "aggregate_create", name=name)
    return made


def test_a_listener_of_the_plain_library_hears_what_was_committed(tmp_path: Path, vhost: str) -> None:
    ears = Ears(vhost)
    try:
        with conductor(tmp_path, vhost) as api:
            made = create(api, "rack1")
            api.call({"user": "ann"}, "aggregate_delete", id=made["id"])
            assert ears.until(lambda types: len(types) >= 2) == ["aggregate.create", "aggregate.delete"]
        publisher, kind, payload = ears.heard[0]
        assert publisher == "corral-conductor.c1" and payload["version"] == "1.0"
        assert payload["aggregate"] == made
        assert f"`{kind}`" in NOTIFICATIONS and all(f"`{name}`" in NOTIFICATIONS for name in payload)
    finally:
        ears.close()


def test_a_maintenance_is_heard_from_its_acceptance_to_the_hosts_return(tmp_path: Path, vhost: str) -> None:
    ears = Ears(vhost)
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[])
    notices.wanted(conf)
    conf.set_override("driver", ["messagingv2"], group=notices.GROUP)
    try:
        tell = notices.Notices(conf, rpc.transport(vhost, conf), "corral-conductor.parts").tell
        with Parts(tmp_path / "corral", pool_world(2, [guest("web1", "h1")]), "h1", "h2", tell=tell) as running:
            running.corral.adopt("h1", "h2")
            for wanted in ("enable", "disable"):
                running.corral.ask(f"host-update --maintenance {wanted} h1 --wait")
            types = ears.until(lambda types: "host.maintenance.end" in types and types.count("operation.end") >= 4)
        drain = types[types.index("host.maintenance.start"):]
        assert {"aggregate.create", "aggregate.add_host"} <= set(types) - set(drain)
        assert {"operation.progress", "move.start", "move.end", "operation.end", "host.update"} <= set(drain)
        assert types.count("operation.start") == types.count("operation.end") == 4
        told = [payload for _, kind, payload in ears.heard if kind == "move.end"]
        assert [(one["migration"]["vm_name"], one["migration"]["source"], one["migration"]["destination"])
                for one in told] == [("web1", "h1", "h2"), ("web1", "h2", "h1")]
        assert all(f"`{kind}`" in NOTIFICATIONS for kind in types)
    finally:
        ears.close()


def test_a_broker_that_is_away_holds_no_request_and_loses_nothing(tmp_path: Path) -> None:
    with rabbitmq.Broker() as own:
        url = own.vhost("told")
        ears = Ears(url)
        try:
            with conductor(tmp_path, url) as api:
                create(api, "before")
                ears.until(lambda types: len(types) == 1)
                # RabbitMQ writes the names of new quorum queues late; a younger one would be dead afterwards.
                threading.Event().wait(3.0)
                own.kill()
                for number in range(5):
                    began = time.monotonic()
                    create(api, f"away{number}")
                    assert time.monotonic() - began < SOON_S
                own.start()
                ears.until(lambda types: len(types) >= 6)
            names = [payload["aggregate"]["name"] for _, _, payload in ears.heard]
            assert list(dict.fromkeys(names)) == ["before", *(f"away{number}" for number in range(5))]
        finally:
            ears.close()


def test_a_driver_that_does_not_exist_is_a_sentence(vhost: str) -> None:
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[])
    notices.wanted(conf)
    conf.set_override("driver", ["pigeon"], group=notices.GROUP)
    with pytest.raises(errors.Invalid, match="there is no pigeon"):
        notices.Notices(conf, rpc.transport(vhost), "corral-conductor.c1")


class Telling(Deployment):
    """Processes of which the conductors tell others, as an operator turns it on."""

    def prepare(self) -> None:
        """Write it into the conductors' file."""
        super().prepare()
        with (self.folder / "corral-conductor.conf").open("a") as file:
            file.write("[oslo_messaging_notifications]\ndriver = messagingv2\n")


def test_of_two_conductors_each_tells_and_nothing_comes_twice(tmp_path: Path, vhost: str, postgresql_url: str) -> None:
    ears = Ears(vhost)
    try:
        with Telling(tmp_path, vhost, postgresql_url, conductors=2, hosts=1, vms=0) as running:
            for number in range(20):
                body = {"aggregate": {"name": f"rack{number}", "availability_zone": None}}
                requests.post(f"{running.url}/v2.1/os-aggregates", json=body, timeout=LONG_S).raise_for_status()
            ears.until(lambda types: types.count("aggregate.create") >= 20 and "host.create" in types)
        assert len({payload["id"] for _, _, payload in ears.heard}) == len(ears.heard) == 21
        assert {publisher for publisher, _, _ in ears.heard} <= {"corral-conductor.c1", "corral-conductor.c2"}
    finally:
        ears.close()

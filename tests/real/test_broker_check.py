"""What is wrong with a broker is found at the start and said in a sentence that names it."""

import logging
import socket
import threading
import time
import uuid
from collections.abc import Iterator

import amqp
import pytest
from oslo_config import cfg

from common import broker as checks
from common import rpc
from tools.servers import rabbitmq

AGENT = ("corral.agent.h1",)
CONDUCTOR = (rpc.TOPIC_CONDUCTOR, rpc.TOPIC_AGENTS)


@pytest.fixture
def conf() -> cfg.ConfigOpts:
    """A configuration of its own."""
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[])
    return conf


@pytest.fixture
def user(broker: rabbitmq.Access) -> Iterator[str]:
    """The name of a user who is gone afterwards."""
    name = f"user-{uuid.uuid4().hex[:8]}"
    broker.ask("PUT", f"users/{name}", {"password": "pw", "tags": ""})
    yield name
    broker.drop_user(name)


def found(conf: cfg.ConfigOpts, url: str, topics: tuple[str, ...] = CONDUCTOR) -> dict[str, str]:
    """Return the sentences by code; that it took a few seconds at most."""
    begin = time.monotonic()
    findings = checks.check(conf, url, topics)
    assert time.monotonic() - begin < 3 * checks.ANSWER_S
    return {one.code: one.sentence for one in findings}


def test_nothing_is_wrong_with_a_broker_as_it_should_be(
        conf: cfg.ConfigOpts, vhost: str, broker: rabbitmq.Access, vhost_name: str) -> None:
    assert found(conf, vhost) == {}
    assert found(conf, vhost) == {}
    server = rpc.Server(rpc.transport(vhost, conf), rpc.TOPIC_CONDUCTOR, "c1", "1.0", {"echo": lambda context: 1})
    server.start()
    try:
        assert server.listening(30)
        assert rpc.Client(rpc.transport(vhost, conf), rpc.TOPIC_CONDUCTOR, "1.0", 30).call({}, "echo") == 1
        assert found(conf, vhost) == {}
    finally:
        server.stop()
    assert all(queue["messages"] == 0 for queue in broker.queues(vhost_name))


def test_other_transports_are_not_looked_at(conf: cfg.ConfigOpts) -> None:
    assert found(conf, "corral-inproc://x/") == {}


def test_a_broker_that_is_away_or_silent_is_said_in_time(conf: cfg.ConfigOpts) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        assert "timed out" in found(conf, f"rabbit://ann:pw@127.0.0.1:{port}/v")["broker_unavailable"]
    assert f"127.0.0.1:{port} can't be reached" in found(
        conf, f"rabbit://ann:pw@127.0.0.1:{port}/v")["broker_unavailable"]


def test_login_and_vhost_are_told_apart(
        conf: cfg.ConfigOpts, broker: rabbitmq.Access, vhost_name: str, user: str) -> None:
    assert user in found(conf, broker.url(vhost_name, user, "wrong"))["broker_login"]
    assert "not found" in found(conf, broker.url("nowhere"))["broker_vhost"]
    assert user in found(conf, broker.url(vhost_name, user, "pw"))["broker_vhost"]


def test_the_password_is_never_shown(conf: cfg.ConfigOpts, broker: rabbitmq.Access, vhost_name: str) -> None:
    sentences = found(conf, broker.url(vhost_name, "nobody", "hunter2"))
    assert sentences and "hunter2" not in str(sentences)


@pytest.mark.parametrize("rights, sentence", [
    ((".*", ".*", "corral"), "to read for the queue corral.agent.h1"),
    ((".*", "corral|amq.default", ".*"), "to write for the queue corral.agent.h1"),
    ((".*", ".*", "corral.agent.h1"), "to read for the exchange corral"),
    (("corral", ".*", ".*"), "to configure for the queue corral.agent.h1"),
    (("corral.agent.h1", ".*", ".*"), "to configure for the exchange corral"),
    ((".*", "corral.agent.h1", ".*"), "to write for the exchange corral"),
])
def test_a_missing_permission_is_named(conf: cfg.ConfigOpts, broker: rabbitmq.Access, vhost_name: str, vhost: str,
                                       user: str, rights: tuple[str, str, str], sentence: str) -> None:
    found(conf, vhost, AGENT)      # declares them
    url = broker.user(user, "pw", vhost_name, *(f"^({right})$" for right in rights))
    assert sentence in found(conf, url, AGENT)["broker_permission"]


def test_an_agent_that_could_write_to_all_queues_is_told_and_a_conductor_has_to(
        conf: cfg.ConfigOpts, broker: rabbitmq.Access, vhost_name: str, user: str) -> None:
    narrow = "corral|corral.agent.h1"
    url = broker.user(user, "pw", vhost_name, ".*", narrow, ".*", topics={"corral": ("^corral.agents$", ".*")})
    assert found(conf, url, AGENT) == {}
    url = broker.user(user, "pw", vhost_name, ".*", ".*", ".*")
    assert list(found(conf, url, AGENT)) == ["broker_default_exchange"]
    assert found(conf, url, CONDUCTOR) == {}
    url = broker.user(user, "pw", vhost_name, ".*", "corral.*", ".*")
    assert "exchange amq.default" in found(conf, url, CONDUCTOR)["broker_permission"]


def test_an_exchange_or_queue_of_another_kind_is_named_with_what_to_do(
        conf: cfg.ConfigOpts, broker: rabbitmq.Access, vhost_name: str, vhost: str) -> None:
    broker.ask("PUT", f"exchanges/{vhost_name}/corral", {"type": "topic", "durable": False})
    sentence = found(conf, vhost)["broker_differs"]
    assert "The exchange corral exists already, and its durable differs" in sentence
    assert "rabbitmqadmin delete exchange name=corral" in sentence
    broker.ask("DELETE", f"exchanges/{vhost_name}/corral")
    broker.ask("PUT", f"exchanges/{vhost_name}/corral", {"type": "fanout", "durable": True})
    assert "its type differs" in found(conf, vhost)["broker_differs"]
    broker.ask("DELETE", f"exchanges/{vhost_name}/corral")
    broker.ask("DELETE", f"queues/{vhost_name}/corral.agents")
    broker.ask("PUT", f"queues/{vhost_name}/corral.agents", {"durable": True})
    sentence = found(conf, vhost)["broker_differs"]
    assert "The queue corral.agents exists already, and its x-queue-type differs" in sentence
    assert "'quorum'" in sentence and "rabbitmqctl delete_queue corral.agents" in sentence


def test_what_the_address_itself_gives_away_is_found_without_a_broker(conf: cfg.ConfigOpts) -> None:
    codes = found(conf, "rabbit://guest:guest@192.0.2.1/")
    assert {"broker_plain", "broker_guest", "broker_shared_vhost"} <= set(codes)
    assert not {"broker_plain", "broker_guest"} & set(found(conf, "rabbit://guest:guest@127.0.0.1:1/v"))
    assert "broker_plain" not in found(conf, "rabbit://ann:pw@192.0.2.1/v?ssl=true")


def test_a_message_that_waits_in_a_queue_is_left_there(conf: cfg.ConfigOpts, vhost_name: str, vhost: str) -> None:
    found(conf, vhost)
    host = rpc.address(vhost).hosts[0]
    with amqp.Connection(f"{host.hostname}:{host.port}", host.username, host.password, virtual_host=vhost_name,
                         confirm_publish=True) as connection:
        channel = connection.channel()
        channel.basic_publish(amqp.Message("x"), "corral", rpc.TOPIC_AGENTS)
        assert found(conf, vhost) == {}
        for _ in range(50):
            if message := channel.basic_get(rpc.TOPIC_AGENTS, no_ack=True):
                assert message.body == "x"
                return
            threading.Event().wait(0.1)
    raise AssertionError("the message is gone")


@pytest.mark.parametrize("version, old", [("3.7.28", True), ("3.8.0", False), ("3.10.8", False), ("4.3.0", False),
                                          ("2.9", True), ("", False), ("unknown", False)])
def test_a_broker_without_quorum_queues_is_too_old(version: str, old: bool) -> None:
    assert checks.is_too_old(version) is old


def test_each_finding_is_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        checks.warn([checks.Finding("broker_plain", "100 % plain"), checks.Finding("broker_guest", "guest")])
    assert [record.getMessage() for record in caplog.records] == ["100 % plain", "guest"]

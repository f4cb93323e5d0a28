"""Calls and casts over a real RabbitMQ: answers, refusals, versions, and the queues that come of it."""

import threading
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from oslo_config import cfg

from common import broker as checks
from common import errors, rpc
from common.agent_api import AgentAPI
from tools.servers import rabbitmq

#: seconds for what takes milliseconds on a machine that is not busy
LONG_S = 30.0


class Desk:
    """Servers and clients of one vhost; everything is stopped at the end."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._servers: list[rpc.Server] = []
        self._transports: list[Any] = []

    def transport(self, url: str | None = None, process: str | None = None, password: str | None = None) -> Any:
        """Return a transport with a configuration of its own."""
        conf = cfg.ConfigOpts()
        conf([], project="corral", default_config_files=[])
        made = rpc.transport(url or self.url, conf, process=process, password=password)
        self._transports.append(made)
        return made

    def serve(self, methods: dict[str, Callable[..., Any]], topic: str = "test", server: str = "s1",
              version: str = "1.1") -> rpc.Server:
        """Serve, and wait until it listens."""
        one = rpc.Server(self.transport(), topic, server, version, methods, workers=30)
        self._servers.append(one)
        one.start()
        assert one.listening(LONG_S)
        return one

    def client(self, timeout_s: float = LONG_S, topic: str = "test", version: str = "1.0") -> rpc.Client:
        """Return a client with a transport of its own, as another process has it."""
        return rpc.Client(self.transport(), topic, version, timeout_s)

    def close(self) -> None:
        """Stop all at once."""
        with ThreadPoolExecutor(16) as together:
            list(together.map(lambda one: one.stop(), self._servers))
            list(together.map(lambda one: one.cleanup(), self._transports))


@pytest.fixture
def desk(vhost: str) -> Iterator[Desk]:
    """A desk in a vhost of its own."""
    desk = Desk(vhost)
    yield desk
    desk.close()


def test_answers_and_refusals_cross_as_they_do_in_process(desk: Desk) -> None:
    def refuse(context: dict[str, Any]) -> None:
        raise errors.WrongState("Host h1 is busy", code="host_busy", operation="o1")
    desk.serve({"echo": lambda context, value: [context["user"], value], "refuse": refuse})
    client = desk.client()
    assert client.call({"user": "ann"}, "echo", value={"text": "ü<&>"}) == ["ann", {"text": "ü<&>"}]
    with pytest.raises(errors.WrongState) as refusal:
        client.call({}, "refuse")
    assert (refusal.value.code, refusal.value.details) == ("host_busy", {"operation": "o1"})


def test_other_versions_and_unknown_methods_are_refused_with_a_sentence(desk: Desk) -> None:
    desk.serve({"echo": lambda context: 1})
    client = desk.client(version="1.1")
    assert client.call({}, "echo") == client.call({}, "echo", version="1.0") == 1
    for version, whom in (("1.2", "answers here"), ("2.0", "answers here"), ("0.1", "that asks")):
        with pytest.raises(errors.Error, match=whom) as refusal:
            client.call({}, "echo", version=version)
        assert refusal.value.code == "version_not_supported"
    with pytest.raises(errors.Error) as refusal:
        client.call({}, "__init__")
    assert refusal.value.code == "no_such_method"


def test_what_nobody_listens_for_is_said_at_once(desk: Desk) -> None:
    with pytest.raises(errors.Unavailable) as refusal:
        desk.client().call({}, "echo")
    assert refusal.value.code == "nobody_listens"
    with pytest.raises(errors.Unavailable) as refusal:
        AgentAPI(desk.transport()).ring("h9", "t1", 1)
    assert refusal.value.code == "nobody_listens"


def test_a_call_without_an_answer_in_time_has_an_unknown_outcome(desk: Desk) -> None:
    go_on = threading.Event()
    desk.serve({"wait": lambda context: go_on.wait(LONG_S)})
    try:
        with pytest.raises(errors.OutcomeUnknown):
            desk.client(timeout_s=0.3).call({}, "wait")
    finally:
        go_on.set()


def test_all_queues_outlive_a_node_and_there_are_none_for_fanout(
        desk: Desk, broker: rabbitmq.Access, vhost_name: str) -> None:
    desk.serve({"echo": lambda context: 1}, rpc.TOPIC_CONDUCTOR, "c1")
    heard = threading.Event()
    desk.serve({"ring": lambda context, task, attempt: heard.set()}, rpc.TOPIC_AGENT, "h1")
    process = f"corral-test-{uuid.uuid4().hex[:8]}"
    client = rpc.Client(desk.transport(process=process), rpc.TOPIC_CONDUCTOR, "1.0", LONG_S)
    assert client.call({}, "echo") == 1
    AgentAPI(desk.transport()).ring("h1", "t1", 1)
    assert heard.wait(LONG_S)
    queues = broker.queues(vhost_name)
    names = [queue["name"] for queue in queues]
    assert names[:3] == ["corral.agent.h1", "corral.conductor", "corral.conductor.c1"]
    assert len(names) == 4 and names[3].startswith("reply_") and names[3].endswith(f":{process}")
    assert all(queue["type"] == "quorum" and queue["durable"] for queue in queues)
    exchanges = {one["name"]: one for one in broker.ask("GET", f"exchanges/{vhost_name}")}
    assert exchanges["corral"]["durable"] and exchanges["corral"]["type"] == "topic"
    assert not [name for name in exchanges if "fanout" in name and not name.startswith("amq.")]


def test_two_processes_of_one_name_do_not_take_each_others_answers(desk: Desk) -> None:
    desk.serve({"echo": lambda context, value: value})
    process = f"corral-test-{uuid.uuid4().hex[:8]}"
    clients = [rpc.Client(desk.transport(process=process), "test", "1.0", LONG_S) for _ in range(2)]
    for number in range(10):
        assert [client.call({}, "echo", value=number) for client in clients] == [number, number]


def test_a_password_of_any_characters_reaches_the_broker(
        desk: Desk, broker: rabbitmq.Access, vhost_name: str) -> None:
    user, word = f"ann-{uuid.uuid4().hex[:8]}", "s/e:c@r%e?t#ü"
    broker.user(user, word, vhost_name, ".*", ".*", ".*")
    try:
        desk.serve({"echo": lambda context: 1})
        bare = rpc.address(desk.url).hosts[0]
        url = f"rabbit://{user}@{bare.hostname}:{bare.port}/{vhost_name}"
        client = rpc.Client(desk.transport(url, password=word), "test", "1.0", LONG_S)
        assert client.call({}, "echo") == 1
    finally:
        broker.drop_user(user)


def test_a_queue_that_is_deleted_under_its_listener_is_made_anew(
        desk: Desk, broker: rabbitmq.Access, vhost_name: str) -> None:
    desk.serve({"echo": lambda context: 1})
    client = desk.client()
    assert client.call({}, "echo") == 1
    broker.ask("DELETE", f"queues/{vhost_name}/test")
    for _ in range(20):
        try:
            assert client.call({}, "echo") == 1
            return
        except errors.Unavailable as exc:
            assert exc.code == "nobody_listens"
            threading.Event().wait(0.5)
    raise AssertionError("it does not listen any more")


@pytest.mark.parametrize("missing", ["password", "vhost", "rights"])
def test_a_refusal_of_the_broker_is_told_in_its_own_words_and_tried_again(
        desk: Desk, broker: rabbitmq.Access, vhost_name: str, missing: str) -> None:
    user = f"ann-{uuid.uuid4().hex[:8]}"
    server = None
    try:
        desk.serve({"echo": lambda context: 1})
        if missing != "vhost":
            url = broker.user(user, "right", vhost_name, "", "", "")
        else:
            broker.ask("PUT", f"users/{user}", {"password": "right", "tags": ""})
            url = broker.url(vhost_name, user, "right")
        if missing == "password":
            broker.ask("PUT", f"users/{user}", {"password": "other", "tags": ""})
        client = rpc.Client(desk.transport(url), "test", "1.0", LONG_S)
        with pytest.raises(errors.Unavailable, match="refuse") as refusal:
            client.call({}, "echo")
        assert refusal.value.code == "broker_refused"
        server = rpc.Server(desk.transport(url), "test.other", "s1", "1.0", {"echo": lambda context: 2})
        server.start()
        assert not server.listening(0.5)
        broker.user(user, "right", vhost_name, ".*", ".*", ".*")
        assert client.call({}, "echo") == 1
        assert server.listening(LONG_S)
    finally:
        if server is not None:
            server.stop()
        broker.drop_user(user)


def test_one_of_two_hosts_that_is_away_is_passed_over(desk: Desk) -> None:
    there = desk.url.removeprefix("rabbit://").partition("/")[0]
    url = desk.url.replace(there, f"{there},{there.partition('@')[0]}@127.0.0.1:1")
    server = rpc.Server(desk.transport(url), "test", "s1", "1.0", {"echo": lambda context: 1})
    server.start()
    try:
        assert server.listening(LONG_S)
        # which of them is tried first is left to chance
        for _ in range(4):
            assert rpc.Client(desk.transport(url), "test", "1.0", LONG_S).call({}, "echo") == 1
    finally:
        server.stop()
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[])
    codes = [one.code for one in checks.check(conf, url, ["test"])]
    assert codes in ([], ["broker_unavailable"])


def test_a_time_out_says_whether_nobody_listens_any_more_or_somebody_does_not_answer(desk: Desk) -> None:
    held = threading.Event()
    server = desk.serve({"slow": lambda context: held.wait(LONG_S)})
    client = desk.client(timeout_s=0.5)
    with pytest.raises(errors.OutcomeUnknown) as silent:
        client.call({}, "slow")
    held.set()
    server.stop()
    with pytest.raises(errors.OutcomeUnknown) as empty:
        client.call({}, "slow")
    assert (silent.value.code, empty.value.code) == ("outcome_unknown", "nobody_listens")
    assert errors.is_silence(silent.value)
    assert not errors.is_silence(empty.value)

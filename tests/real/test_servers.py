"""The private servers themselves: they answer, come back with their data, and are gone afterwards."""

import os
import queue
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import kombu
import psycopg
import pytest

from tools.servers import guard, mariadb, postgresql, rabbitmq
from tools.servers.install import Machine, Missing, ensure

PATIENCE_S = 60.0


def amqp(url: str) -> kombu.Connection:
    return kombu.Connection(f"amqp{url.removeprefix('rabbit')}")


def declare(url: str, queue: str) -> None:
    with amqp(url) as connection:
        kombu.Queue(queue, durable=True)(connection.channel()).declare()


def become(done: Callable[[], bool]) -> None:
    """Look until it is so; the look itself asks a server and takes its time."""
    end = time.monotonic() + PATIENCE_S
    while not done():
        assert time.monotonic() < end


def test_a_vhost_carries_messages_and_tells_its_queues_depths(broker: rabbitmq.Access, vhost: str,
                                                              vhost_name: str) -> None:
    connection = amqp(vhost)
    with pytest.raises(connection.connection_errors, match="CONNECTION_FORCED"), connection.channel() as channel:
        kombu.Queue("q", durable=True)(channel).declare()
        for n in (1, 2):
            kombu.Producer(channel).publish({"n": n}, routing_key="q")
        taken: queue.SimpleQueue[object] = queue.SimpleQueue()
        become(lambda: [row["messages"] for row in broker.queues(vhost_name)] == [2])
        kombu.Queue("q")(channel).consume(callback=taken.put, no_ack=True)
        become(lambda: [row["consumers"] for row in broker.queues(vhost_name)] == [1])
        assert [(row["name"], row["type"], row["durable"]) for row in broker.queues(vhost_name)] == [
            ("q", "classic", True)]
        # The broker lists a connection some time after it is there.
        become(lambda: broker.close_connections(vhost_name) == 1)
        while True:
            connection.drain_events(timeout=PATIENCE_S)
    assert [row["name"] for row in broker.queues(vhost_name)] == ["q"]


def test_a_user_may_do_what_it_was_given_and_nothing_else(broker: rabbitmq.Access, vhost_name: str) -> None:
    url = broker.user(f"{vhost_name}-bob", "secret", vhost_name, configure="mine", write="mine", read="mine",
                      topics={"amq.topic": ("a", "b")})
    declare(url, "mine")
    with amqp(url) as connection, pytest.raises(connection.channel_errors, match=r"ACCESS_REFUSED|access"):
        kombu.Queue("yours", durable=True)(connection.channel()).declare()
    assert [row["name"] for row in broker.queues(vhost_name)] == ["mine"]
    broker.drop_user(f"{vhost_name}-bob")


def test_a_broker_that_was_killed_comes_back_with_its_queues_at_the_same_port() -> None:
    with rabbitmq.Broker() as own:
        url = own.vhost("v")
        declare(url, "q")
        own.kill()
        assert not own.running
        own.start()
        assert own.url("v") == url and [row["name"] for row in own.queues("v")] == ["q"]
        own.stop()
        with pytest.raises(OSError, match="refused"):
            amqp(url).connect()
    assert not own.folder.exists()


@pytest.mark.parametrize("kind", [postgresql.Server, mariadb.Server])
def test_a_database_server_that_was_killed_has_all_that_was_committed(
        kind: type[postgresql.Server] | type[mariadb.Server]) -> None:
    with kind() as own:
        own.database("d")
        for end in (own.kill, own.stop):
            with own.connect() as connection:
                cursor = connection.cursor()
                cursor.execute(f"CREATE SCHEMA made_before_{end.__name__}")
            end()
            own.start()
            with own.connect() as connection:
                cursor = connection.cursor()
                cursor.execute("SELECT schema_name FROM information_schema.schemata")
                assert (f"made_before_{end.__name__}",) in [tuple(row) for row in cursor.fetchall()]
    assert not own.folder.exists()


def run(*only: str) -> tuple["subprocess.Popen[str]", dict[str, str]]:
    """Run ``tools.servers``; return it with the variables that it has told."""
    owner = subprocess.Popen([sys.executable, "-m", "tools.servers", "--only", ",".join(only)], text=True,
                             stdout=subprocess.PIPE, cwd=Path(__file__).parents[2])
    assert owner.stdout is not None
    told = dict(owner.stdout.readline().strip().split("=", 1) for _ in range(len(only) + ("rabbitmq" in only)))
    return owner, told


@pytest.mark.parametrize(("signal_sent", "servers"), [
    (signal.SIGKILL, ["rabbitmq", "postgresql", "mariadb"]), (signal.SIGINT, ["postgresql", "mariadb"]),
    (signal.SIGTERM, ["mariadb"])])
def test_no_process_and_no_folder_is_left_when_the_owner_has_gone(signal_sent: signal.Signals,
                                                                  servers: list[str],
                                                                  request: pytest.FixtureRequest) -> None:
    owner, _ = run(*servers)
    request.addfinalizer(owner.kill)
    left = {os.pidfd_open(pid) for pid in guard.descendants(owner.pid)}
    assert len(left) >= 2 * len(servers)
    folders = [Path(path) for line in Path("/proc").glob("[0-9]*/cmdline")
               for path in _words(line) if path.startswith("/tmp/corral-") and f"-{owner.pid}-" in path]
    assert len(folders) == len(servers)
    owner.send_signal(signal_sent)
    owner.wait(PATIENCE_S)
    end = time.monotonic() + PATIENCE_S
    while left:
        ready, _, _ = select.select(left, [], [], end - time.monotonic())
        assert ready, "the owner has gone, its servers have not"
        left -= set(ready)
        for process in ready:
            os.close(process)
    # The guard removes the folder before it ends, and was among those that we waited for.
    assert not [folder for folder in folders if folder.exists()]


def _words(cmdline: Path) -> list[str]:
    try:
        words = cmdline.read_text(encoding="utf-8", errors="replace").split("\0")
    except (FileNotFoundError, ProcessLookupError):
        return []
    return words[4:5] if len(words) > 4 and words[3].endswith("guard.py") else []


def test_the_command_gets_the_addresses_and_its_status_is_returned() -> None:
    words = [sys.executable, "-m", "tools.servers", "--only", "postgresql", "--", sys.executable, "-c",
             ("import os, psycopg, sys; url = os.environ['CORRAL_TEST_POSTGRESQL'].replace('+psycopg', '');"
              "sys.exit(psycopg.connect(url).execute('SELECT 17').fetchone()[0])")]
    assert subprocess.run(words, check=False, cwd=Path(__file__).parents[2], timeout=PATIENCE_S).returncode == 17


def test_a_server_that_can_not_start_says_why() -> None:
    class Bent(postgresql.Server):
        def command(self) -> list[str]:
            return [*super().command(), "-c", "no_such_setting=1"]
    with pytest.raises(Exception, match=r"did not start:(?s:.*)no_such_setting"):
        Bent().start()


# installing
def program(path: Path, text: str) -> str:
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


def test_who_may_not_install_is_told_what_to_install(tmp_path: Path) -> None:
    nobody = Machine(folders=(str(tmp_path),), uid=1000, policy=tmp_path / "policy", lock=tmp_path / "lock")
    with pytest.raises(Missing, match="RabbitMQ is missing; install it: apt-get install rabbitmq-server"):
        ensure(["rabbitmq"], nobody)
    with pytest.raises(Missing, match="PostgreSQL and MariaDB are missing; install them: "
                                      "apt-get install postgresql mariadb-server"):
        ensure(["postgresql", "mariadb"], nobody)
    for name in ("mariadbd", "mariadb-install-db"):
        program(tmp_path / name, "")
    ensure(["mariadb"], nobody)


@pytest.mark.parametrize("before", ["#!/bin/sh\nexit 0\n", None])
def test_while_packages_are_installed_no_service_starts_and_two_at_once_install_once(tmp_path: Path,
                                                                                    before: str | None) -> None:
    policy, log = tmp_path / "policy", tmp_path / "log"
    if before is not None:
        policy.write_text(before, encoding="utf-8")
    apt = program(tmp_path / "apt", f"""
        case "$*" in *update*) exit 100;; esac
        {policy}; echo "$? $*" >> {log}
        printf '#!/bin/sh\\n' > {tmp_path}/rabbitmq-server; chmod +x {tmp_path}/rabbitmq-server""")
    root = Machine(folders=(str(tmp_path),), uid=0, apt=apt, policy=policy, lock=tmp_path / "lock")
    threads = [threading.Thread(target=ensure, args=(["rabbitmq"], root)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S)
    said = log.read_text(encoding="utf-8").splitlines()
    assert len(said) == 1 and said[0].startswith("101 ") and said[0].endswith(" rabbitmq-server")
    assert (policy.read_text(encoding="utf-8") if policy.exists() else None) == before


def test_an_installation_that_fails_says_how_and_gives_the_machine_its_policy_back(tmp_path: Path) -> None:
    policy = tmp_path / "policy"
    policy.write_text("mine", encoding="utf-8")
    root = Machine(folders=(str(tmp_path),), uid=0, apt=program(tmp_path / "apt", "echo no space left; exit 100"),
                   policy=policy, lock=tmp_path / "lock")
    with pytest.raises(Missing, match=r"apt-get install postgresql(?s:.*)no space left"):
        ensure(["postgresql"], root)
    assert policy.read_text(encoding="utf-8") == "mine"


def test_connecting_to_nobody_is_an_error_of_the_driver() -> None:
    own = postgresql.Server()
    own.choose_ports()
    with pytest.raises(psycopg.OperationalError):
        own.connect()
    assert not own.answers()
    own.close()

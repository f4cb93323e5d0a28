"""Another service calls a conductor over RabbitMQ by the client of ``doc/rpc.md``, without Corral installed."""

import os
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from oslo_config import cfg

from common import errors, messages, rpc
from common.clock import SystemClock
from common.conductor_api import ConductorAPI
from conductor.build import Service
from conductor.db.session import Database
from conductor.operations.settings import Settings
from tools.clients import environments
from tools.servers.rabbitmq import Access

DOCUMENT = Path(__file__).parents[2] / "doc" / "rpc.md"
#: seconds that the client may take on a machine that is busy
PATIENCE_S = 90
#: configure, write, read
RIGHTS = ("^(corral|reply_.*)$", "^corral$", "^reply_.*$")


def program() -> str:
    """Return the client as it stands in the document."""
    found = re.findall(r"^```python\n(.*?)^```$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    assert len(found) == 1
    return str(found[0])


class Elsewhere:
    """Another service's virtual environment, which has oslo.messaging and nothing of Corral."""

    def __init__(self, url: str, folder: Path) -> None:
        self._url, self._folder = url, folder
        self.python = environments.built("oslomessaging") / "bin" / "python"

    def run(self, source: str, *words: str) -> "subprocess.CompletedProcess[str]":
        """Run a program there, with the broker's URL as its first word."""
        return subprocess.run([str(self.python), "-W", "ignore", "-c", source, self._url, *words], cwd=self._folder,
                              env={"PATH": os.defpath, "HOME": str(self._folder)}, text=True, capture_output=True,
                              timeout=PATIENCE_S, check=False)


@pytest.fixture
def elsewhere(vhost: str, tmp_path: Path) -> Iterator[Elsewhere]:
    """A conductor with one aggregate, and another service."""
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[])
    transport = rpc.transport(vhost, conf)
    database = Database(f"sqlite:///{tmp_path}/corral.sqlite")
    database.upgrade()
    conductor = Service(database, transport, SystemClock(), Settings(), "c1")
    conductor.start()
    try:
        api = ConductorAPI(transport, attempts=30)
        until_heard(api)
        api.call({"user": "ann", "idempotency_key": "k1"}, "aggregate_create", name="rack1")
        yield Elsewhere(vhost, tmp_path)
    finally:
        conductor.stop()
        transport.cleanup()


def until_heard(api: ConductorAPI) -> None:
    """Return when the conductor listens."""
    pause = threading.Event()
    for _ in range(10 * PATIENCE_S):
        try:
            api.call({}, "aggregate_list")
            return
        except errors.Unavailable as exc:
            assert exc.code in ("nobody_listens", "no_answer"), exc
            pause.wait(0.1)
    raise AssertionError("the conductor does not listen")


def test_the_client_of_the_document_has_fifteen_lines_and_gets_the_aggregates(elsewhere: Elsewhere) -> None:
    source = program()
    assert len([line for line in source.splitlines() if line.strip()]) <= 15
    done = elsewhere.run(source)
    assert (done.returncode, done.stdout) == (0, "rack1\n"), done.stderr


def test_corral_is_not_installed_where_the_client_runs(elsewhere: Elsewhere) -> None:
    for room in ("common", "conductor", "agent"):
        done = elsewhere.run(f"import {room}")
        assert done.returncode != 0 and "ModuleNotFoundError" in done.stderr


def test_every_version_up_to_the_spoken_one_works_and_others_are_refused_with_a_sentence(elsewhere: Elsewhere) -> None:
    major, minor = map(int, messages.CONDUCTOR_VERSION.split("."))
    assert 'version="1.0"' in program()

    def asked(version: str) -> "subprocess.CompletedProcess[str]":
        return elsewhere.run(program().replace('version="1.0"', f'version="{version}"'))

    for known in range(minor + 1):
        assert asked(f"{major}.{known}").stdout == "rack1\n"
    for version in (f"{major}.{minor + 1}", f"{major + 1}.0"):
        refused = asked(version)
        assert refused.returncode == 1 and refused.stdout == ""
        assert re.search(f"^version_not_supported: .*version {version} .* version {messages.CONDUCTOR_VERSION} is "
                         "spoken here; so upgrade the service that answers here$", refused.stderr, re.MULTILINE)


def test_the_rights_at_the_broker_that_the_document_names_are_enough(
        elsewhere: Elsewhere, broker: Access, vhost_name: str, tmp_path: Path) -> None:
    user = f"{vhost_name}-inventory"
    assert all(f"`{right}`" in DOCUMENT.read_text(encoding="utf-8") for right in RIGHTS)
    url = broker.user(user, "word", vhost_name, *RIGHTS, topics={"corral": ("^corral[.]conductor$", "^$")})
    try:
        done = Elsewhere(url, tmp_path).run(program())
        assert (done.returncode, done.stdout) == (0, "rack1\n"), done.stderr
        forged = Elsewhere(url, tmp_path).run(program().replace('"corral.conductor"', '"corral.agents"'))
        assert forged.returncode != 0 and "ACCESS_REFUSED" in forged.stderr, "the agents' door is not theirs"
    finally:
        broker.drop_user(user)


def test_a_refusal_reaches_the_client_as_code_and_sentence(elsewhere: Elsewhere) -> None:
    source = program().replace('"aggregate_list", availability_zone=None', '"aggregate_show", id=99')
    refused = elsewhere.run(source)
    assert refused.returncode == 1 and re.search("^aggregate_not_found: .*99", refused.stderr, re.MULTILINE)

"""corral-api as processes of its own, one behind Keystone and one with a file of passwords, and what their users see.

One Corral over RabbitMQ; its people are asked for by the installed ``corral`` and by OpenStack's client.
"""

import os
import re
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import bcrypt
import pytest
import requests

from tools.clients import client
from tools.clients.client import Client
from tools.deployment import BIN, Deployment, Process
from tools.independent import Pool
from tools.servers.keystone import PASSWORD, Server
from tools.servers.rabbitmq import Access as RabbitMQ

WORD = "w0rd"
REGION = "own-processes"
BEHIND_KEYSTONE = """\
[DEFAULT]
transport_url = {broker}
[api]
bind_port = 0
auth_strategy = keystone
authtoken_password_file = {folder}/authtoken
[keystone_authtoken]
www_authenticate_uri = {keystone}
auth_url = {keystone}
auth_type = password
username = corral
user_domain_id = default
project_name = service
project_domain_id = default
"""
WITH_PASSWORDS = """\
[DEFAULT]
transport_url = {broker}
[api]
bind_port = 0
auth_strategy = http_basic
htpasswd_file = {folder}/htpasswd
htpasswd_roles = alice:admin,bob:reader
htpasswd_default_role = none
"""


@dataclass(frozen=True)
class Place:
    """What runs, and where its APIs are."""

    keystone: Server
    deployment: Deployment
    guarded: str                #: the API behind Keystone
    basic: str                  #: the API with a file of passwords

    def corral(self, line: str, **environ: str) -> tuple[int, str, str]:
        """Run the installed command with nothing of the surroundings; return its exit status and what it printed."""
        done = subprocess.run([BIN / "corral", *line.split()], text=True, capture_output=True, timeout=180, check=False,
                              env={"PATH": os.defpath, "HOME": str(self.deployment.folder), "LANG": "C.UTF-8",
                                   "COLUMNS": "200", **environ})
        assert "Traceback" not in done.stdout + done.stderr
        return done.returncode, done.stdout, done.stderr

    def named(self, user: str, password: str = WORD) -> dict[str, str]:
        """Return the variables of a user of the API with passwords."""
        return {"CORRAL_ENDPOINT": self.basic, "CORRAL_USER": user, "CORRAL_PASSWORD": password}


def api(folder: Path, name: str, text: str) -> Iterator[str]:
    """Run one more corral-api; yield its address."""
    (folder / f"{name}.conf").write_text(text)
    # The same folder of locks as its neighbours: by that they find out that their names at the broker must differ.
    process = Process(name, [str(BIN / "corral-api"), "--config-file", str(folder / f"{name}.conf")], folder,
                      {"RUNTIME_DIRECTORY": str(folder)})
    process.start()
    try:
        process.wait_ready()
        found = re.search(r"^ready: (http\S+)$", process.log.read_text(), re.MULTILINE)
        assert found, process.words()
        yield found[1]
    finally:
        process.stop()


@pytest.fixture(scope="module")
def place(broker: RabbitMQ, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A Corral of two hosts and its two APIs, with an administrator and a reader at each."""
    folder, vhost = tmp_path_factory.mktemp("users"), f"test_{uuid.uuid4().hex[:12]}"
    hashed = bcrypt.hashpw(WORD.encode(), bcrypt.gensalt(4)).decode()
    (folder / "htpasswd").write_text("".join(f"{user}:{hashed}\n" for user in ("alice", "bob", "carol")))
    (folder / "authtoken").touch(mode=0o600)
    (folder / "authtoken").write_text("corral")
    with ExitStack() as stack:
        keystone = stack.enter_context(Server())
        keystone.user("corral", "corral", "service", "service")
        keystone.user("looker", WORD, "reader")
        broker.vhost(vhost)
        stack.callback(broker.drop_vhost, vhost)
        deployment = stack.enter_context(Deployment(folder, broker.url(vhost), f"sqlite:///{folder}/corral.sqlite",
                                                    hosts=2, vms=4))
        urls = []
        for name, text in (("guarded", BEHIND_KEYSTONE), ("basic", WITH_PASSWORDS)):
            running = api(folder, name, text.format(broker=broker.url(vhost), folder=folder, keystone=keystone.url))
            urls.append(next(running))
            stack.callback(next, running, None)
        keystone.endpoint("identity", REGION, keystone.url)
        keystone.endpoint("compute", REGION, f"{urls[0]}/v2.1", "corral")
        yield Place(keystone, deployment, *urls)


def test_the_commands_do_their_work_behind_keystone_and_it_is_known_for_whom(place: Place) -> None:
    admin = place.keystone.environ(REGION)
    for line in ("aggregate-create rack1", "aggregate-add-host 1 h1 --wait", "aggregate-add-host 1 h2 --wait",
                 "host-update --maintenance enable h2 --wait"):
        status, _, err = place.corral(line, **admin)
        assert status == 0, (line, err)
    pool = Pool(place.deployment.hosts["h1"], "root", place.deployment.password)
    assert not pool.running().get("h2") and not pool.enabled("h2")
    status, _, err = place.corral("host-update --maintenance disable h2 --wait", **place.named("alice"))
    assert status == 0, err
    listed = place.corral("operation-list -f value -c id", **place.named("bob"))[1].split()
    askers = [place.corral(f"operation-show {one} -f value -c user", **place.named("bob"))[1].strip() for one in listed]
    assert askers == ["alice", "admin@admin", "admin@admin", "admin@admin"]


def test_a_reader_looks_and_may_not_write_behind_either_api(place: Place) -> None:
    for environ in (place.keystone.environ(REGION, "looker", WORD), place.named("bob")):
        assert place.corral("host-list", **environ)[0] == 0
        for line in ("aggregate-create rack2", "host-update --maintenance enable h1"):
            status, out, err = place.corral(line, **environ)
            assert (status, out) == (3, "") and err.startswith("error: Policy doesn't allow corral:")
            assert err.endswith(" to be performed; your roles here: reader (not_allowed)\n")


def test_whoever_is_not_let_in_is_told_so_in_a_sentence_and_ends_with_3(place: Place) -> None:
    wrong = place.keystone.environ(REGION, "admin", PASSWORD + "x")
    for environ in (wrong, place.named("alice", "x"), {"CORRAL_ENDPOINT": place.basic},
                    {"CORRAL_ENDPOINT": place.guarded}):
        status, out, err = place.corral("host-list", **environ)
        assert (status, out) == (3, "") and "(unauthenticated)" in err.splitlines()[0]
    status, _, err = place.corral("host-list", **place.named("carol"))
    assert status == 3 and "your roles here: none (not_allowed)" in err


def test_a_token_that_ended_or_is_forged_is_401(place: Place) -> None:
    good = place.keystone.token("admin", PASSWORD)
    tokens = {good: 200, place.keystone.expired(good): 401, place.keystone.forged(good): 401}
    with requests.Session() as session:
        session.trust_env = False
        for token, status in tokens.items():
            answer = session.get(f"{place.guarded}/v2.1/os-aggregates", headers={"X-Auth-Token": token}, timeout=60)
            assert answer.status_code == status
    environ = {"OS_AUTH_TYPE": "admin_token", "OS_ENDPOINT": f"{place.guarded}/v2.1"}
    ends = [place.corral("host-list", **environ, OS_TOKEN=token)[0] for token in tokens]
    assert ends == [0, 3, 3]


def test_openstacks_client_works_with_both_and_says_refusals(place: Place) -> None:
    basic = {"OS_AUTH_TYPE": "http_basic", "OS_ENDPOINT": f"{place.basic}/v2.1", "OS_PASSWORD": WORD}
    with Client(client.OPENSTACKCLIENT, {}) as openstack:
        for number, admin in enumerate((place.keystone.environ(REGION), {**basic, "OS_USERNAME": "alice"})):
            listed = openstack.run("host", "list", **admin)
            assert listed.status == 0 and "| h1" in listed.out, listed.err
            made = openstack.run("aggregate", "create", "--zone", "z", f"label{number}", **admin)
            assert made.status == 0, made.err
            assert openstack.run("aggregate", "delete", f"label{number}", **admin).status == 0
        for reader in (place.keystone.environ(REGION, "looker", WORD), {**basic, "OS_USERNAME": "bob"}):
            assert openstack.run("aggregate", "list", **reader).status == 0
            refused = openstack.run("aggregate", "create", "mine", **reader)
            assert refused.status == 1 and "Policy doesn't allow corral:aggregates:create" in refused.err
            assert "403" in refused.err
        wrong = openstack.run("host", "list", **{**basic, "OS_USERNAME": "alice", "OS_PASSWORD": "x"})
        assert wrong.status == 1 and "401" in wrong.err


def test_two_users_who_choose_the_same_idempotency_key_do_not_meet(place: Place) -> None:
    token = {"X-Auth-Token": place.keystone.token("admin", PASSWORD)}
    with requests.Session() as session:
        session.trust_env = False

        def create(url: str, name: str) -> requests.Response:
            headers = {"Idempotency-Key": "the-same", **(token if url == place.guarded else {})}
            return session.post(f"{url}/v2.1/os-aggregates", json={"aggregate": {"name": name}}, headers=headers,
                                auth=None if url == place.guarded else ("alice", WORD), timeout=60)

        mine, hers = create(place.guarded, "mine"), create(place.basic, "hers")
        assert (mine.json()["aggregate"]["name"], hers.json()["aggregate"]["name"]) == ("mine", "hers")
        assert create(place.guarded, "mine").json() == mine.json()
        assert create(place.basic, "hers").json() == hers.json()
        assert create(place.basic, "mine").headers["Corral-Error"] == "idempotency_key_reused"

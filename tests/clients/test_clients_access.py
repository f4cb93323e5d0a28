"""Who is let in by a real Keystone, and how real clients get in without one."""

import logging
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bcrypt
import falcon.testing
import pytest
import requests

from conductor.api.app import make_app
from conductor.api.auth import HttpBasic, Keystone, NoAuth, Strategy
from conductor.api.serve import Service
from tests.clients.clients_world import configuration
from tests.unit.api_conductor import InMemory
from tools.clients import client
from tools.clients.client import Client
from tools.servers.keystone import ADMIN, PASSWORD, Access, Server

WORD = "w0rd"
#: user, role, project (None: the system), and what happens to a read, to a maintenance, to a new aggregate
PERSONAS: dict[str, tuple[str, str | None, tuple[int, int, int]]] = {
    "reader": ("reader", ADMIN, (200, 403, 403)),
    "manager": ("manager", ADMIN, (200, 202, 403)),
    "service": ("service", "service", (200, 403, 403)),
    "boss": ("admin", "elsewhere", (200, 202, 200)),
    "system-reader": ("reader", None, (200, 403, 403)),
    "system-manager": ("manager", None, (200, 202, 403)),
    "tenant-reader": ("reader", "tenant", (403, 403, 403)),
    "tenant-member": ("member", "tenant", (403, 403, 403)),
    "tenant-manager": ("manager", "tenant", (403, 403, 403)),
}


@pytest.fixture(scope="module")
def people(keystone: Server) -> Server:
    """The Keystone with a user of each kind."""
    for name, (role, project, _) in PERSONAS.items():
        keystone.user(name, WORD, role, project)
    return keystone


def asked(strategy: Strategy, token: str | None, conductor: InMemory | None = None) -> tuple[int, int, int]:
    """Return the statuses that a token gets for a read, a maintenance and a new aggregate."""
    api = falcon.testing.TestClient(make_app(conductor or InMemory(), auth=strategy))
    headers = {} if token is None else {"X-Auth-Token": token}
    return (api.simulate_get("/v2.1/os-hosts", headers=headers).status_code,
            api.simulate_put("/v2.1/os-hosts/h1", json={"maintenance_mode": "enable"}, headers=headers).status_code,
            api.simulate_post("/v2.1/os-aggregates", json={"aggregate": {"name": "a"}}, headers=headers).status_code)


def test_each_persona_may_what_its_role_says_and_stands_on_what_it_asked_for(people: Server,
                                                                             strategy: Strategy) -> None:
    found, users = {}, set()
    for name, (_, project, _) in PERSONAS.items():
        conductor = InMemory()
        found[name] = asked(strategy, people.token(name, WORD, project), conductor)
        users |= {context["user"] for context, _, _ in conductor.calls}
    assert found == {name: expected for name, (_, _, expected) in PERSONAS.items()}
    assert users == {"reader@admin", "manager@admin", "service@service", "boss@elsewhere", "system-reader@system",
                     "system-manager@system"}


def test_a_token_that_is_not_valid_is_401_as_nova_says_it_and_kept_nowhere(
        people: Server, strategy: Strategy, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    revoked = people.token("boss", WORD, "elsewhere")
    people.revoke(revoked)
    good = people.token("boss", WORD, "elsewhere")
    tokens = {"expired": people.expired(good), "forged": people.forged(good), "revoked": revoked,
              "cut off": good[:-10], "noise": "not-a-token", "a header's end": "x" * 5000}
    conductor = InMemory()
    api = falcon.testing.TestClient(make_app(conductor, auth=strategy))
    for what, token in tokens.items():
        for url, name in (("/v2.1/os-aggregates", "unauthorized"), ("/v1/hosts", "error")):
            result = api.simulate_get(url, headers={"X-Auth-Token": token, "X-Roles": "admin"})
            assert (what, result.status_code, list(result.json)) == (what, 401, [name])
            assert result.headers["WWW-Authenticate"] == f'Keystone uri="{people.url}"'
            assert result.headers["x-openstack-request-id"].startswith("req-")
    assert not conductor.calls
    assert asked(strategy, good) == (200, 202, 200)
    assert good not in caplog.text and revoked not in caplog.text
    assert asked(strategy, None) == (401, 401, 401)


def test_a_second_token_and_headers_of_the_client_lend_nobody_anything(people: Server, strategy: Strategy) -> None:
    api = falcon.testing.TestClient(make_app(InMemory(), auth=strategy))
    people.user("system-service", WORD, "service", None)
    lent = {"X-Service-Token": people.token("system-service", WORD, None)}
    forged = {"OpenStack-System-Scope": "all", "X-Roles": "admin", "X-Is-Admin-Project": "True", "X-Project-Id": "x",
              "X-Project-Name": ADMIN, "X-Project-Domain-Id": "default", "X-Identity-Status": "Confirmed"}
    for more in (lent, forged, lent | forged):
        headers = {"X-Auth-Token": people.token("tenant-manager", WORD, "tenant")} | more
        assert api.simulate_get("/v2.1/os-hosts", headers=headers).status_code == 403
    for headers in (forged, lent, lent | forged):
        assert api.simulate_get("/v2.1/os-hosts", headers=headers).status_code == 401
    headers = {"X-Auth-Token": people.token("system-manager", WORD, None),
               "X-Service-Token": people.token("service", WORD, "service")}
    assert api.simulate_get("/v2.1/os-hosts", headers=headers).status_code == 200


@pytest.mark.parametrize("token", ["x" * 60_000, "\xff\xfe", "..", "a/../b", "a b", "{}", "%00", "null"])
def test_a_token_of_any_form_is_just_not_valid(people: Server, strategy: Strategy, token: str) -> None:
    assert asked(strategy, token) == (401, 401, 401)


def test_while_keystone_is_away_the_answer_is_503_and_says_when_to_try_again() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        conf = configuration(Access(f"http://127.0.0.1:{nobody.getsockname()[1]}/v3"))
        conf.set_override("http_request_max_retries", 0, group="keystone_authtoken")
        api = falcon.testing.TestClient(make_app(InMemory(), auth=Keystone(conf)))
        result = api.simulate_get("/v2.1/os-hosts", headers={"X-Auth-Token": "abc"})
        assert (result.status_code, result.headers["Corral-Error"]) == (503, "keystone_unavailable")
        assert "Retry-After" in result.headers and list(result.json) == ["serviceUnavailable"]


@contextmanager
def served(strategy: Strategy, conductor: InMemory | None = None) -> Iterator[str]:
    """Run an API in front of a conductor in memory; yield its address for compute clients."""
    service = Service(make_app(conductor or InMemory(), auth=strategy), "127.0.0.1", 0, threads=4)
    service.start()
    yield f"{service.url}/v2.1"
    service.stop()


def test_clients_get_in_with_a_password_and_without_any(tmp_path: Path) -> None:
    hashed = bcrypt.hashpw(WORD.encode(), bcrypt.gensalt(4)).decode()
    (tmp_path / "htpasswd").write_text(f"alice:{hashed}\n")
    with served(HttpBasic(tmp_path / "htpasswd")) as guarded, served(NoAuth()) as free, \
            Client(client.OPENSTACKCLIENT, {}) as openstack, Client(client.OPENSTACKSDK, {}) as sdk:
        none = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": free}
        assert openstack.run("host", "list", **none).status == 0
        assert openstack.run("--os-auth-type", "none", "--os-endpoint", free, "aggregate", "list").status == 0
        assert "h1" in sdk.run("cloud.list_hypervisors", **none).out
        basic = {"OS_AUTH_TYPE": "http_basic", "OS_ENDPOINT": guarded, "OS_USERNAME": "alice"}
        assert "| h1" in openstack.run("host", "list", **basic, OS_PASSWORD=WORD).out
        wrong = openstack.run("host", "list", **basic, OS_PASSWORD="wrong")
        assert wrong.status == 1 and "401" in wrong.err


def test_clients_find_the_api_by_its_root_too(keystone: Server, strategy: Strategy) -> None:
    with served(NoAuth()) as url, Client(client.OPENSTACKCLIENT, {}) as openstack, \
            Client(client.OPENSTACKSDK, {}) as sdk:
        root = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": url.removesuffix("/v2.1")}
        assert "| h1" in openstack.run("host", "list", **root).out
        assert "h1" in sdk.run("hypervisors", **root).out
    with served(strategy) as url, Client(client.OPENSTACKCLIENT, keystone.environ("versions")) as openstack:
        keystone.endpoint("identity", "versions", keystone.url)
        keystone.endpoint("compute", "versions", url)
        shown = re.sub(" +", " ", openstack.run("versions", "show", "--service", "compute").out)
        assert f"| versions | compute | 2.0 | SUPPORTED | {url.removesuffix('.1')}/ |" in shown, shown
        assert f"| versions | compute | 2.1 | CURRENT | {url}/ | 2.1 | 2.42 |" in shown, shown


def test_a_service_that_is_down_is_deleted_by_each_kind_of_client(keystone: Server, strategy: Strategy) -> None:
    conductor = InMemory()
    for host in ("h2", "h3", "h4"):
        conductor.hosts[host]["agent"] = "down"
    with served(NoAuth(), conductor) as free, served(strategy, conductor) as guarded:
        none = {"OS_AUTH_TYPE": "none", "OS_ENDPOINT": free}
        with Client(client.OPENSTACKCLIENT, none) as openstack, Client(client.OPENSTACKSDK, none) as sdk, \
                Client(client.NOVACLIENT_9, keystone.environ("home")) as nova:
            done = [openstack.run("compute", "service", "delete", "8"), sdk.run("delete_service", "6"),
                    nova.run("--bypass-url", guarded, "service-delete", "4")]
    assert [one.status for one in done] == [0, 0, 0], done
    assert list(conductor.hosts) == ["h1"]


def test_nova_goes_past_the_catalogue_when_told_to(keystone: Server, strategy: Strategy) -> None:
    with served(strategy) as url, Client(client.NOVACLIENT_9, keystone.environ("home")) as nova:
        assert "| 1" in nova.run("--bypass-url", url, "aggregate-create", "rack1").out
        nobody = nova.run("--bypass-url", url, "aggregate-list", OS_PASSWORD=PASSWORD + "x")
        assert nobody.status == 1 and "(HTTP 401)" in nobody.err


def test_clients_say_a_refusal_with_its_reason_and_the_id_of_the_request(people: Server, strategy: Strategy) -> None:
    with served(strategy) as url, Client(client.NOVACLIENT_9, people.environ("home", "reader", WORD)) as nova:
        refused = nova.run("--bypass-url", url, "aggregate-create", "rack1")
    assert refused.status == 1 and "(HTTP 403) (Request-ID: req-" in refused.err
    assert "Policy doesn't allow corral:aggregates:create to be performed" in refused.err


def test_a_kept_connection_is_served_on_after_a_refusal(keystone: Server, strategy: Strategy) -> None:
    with served(strategy) as url, requests.Session() as session:
        session.trust_env = False
        for token, status in (("bad", 401), (keystone.token(ADMIN, PASSWORD), 200), ("bad", 401)):
            answer = session.post(f"{url}/os-aggregates", json={"aggregate": {"name": f"a{status}"}}, timeout=60,
                                  headers={"X-Auth-Token": token})
            assert answer.status_code == status

"""Who asks: names and passwords in a file, nobody at all, and what can't be used as configured."""

import base64
import logging
import os
from pathlib import Path
from typing import Any

import bcrypt
import falcon.testing
import pytest
from oslo_config import cfg

from common import config, errors
from conductor.api import auth
from conductor.api.app import make_app
from conductor.api.auth import HttpBasic, Unauthenticated
from tests.unit.api_conductor import InMemory

CHEAP = 4
PASSWORD = "correct horse: battery"


def hashed(password: str, kind: bytes = b"2b") -> str:
    """Return a password's hash, with the least work that bcrypt allows."""
    return bcrypt.hashpw(password.encode(), bcrypt.gensalt(CHEAP)).replace(b"$2b$", b"$" + kind + b"$").decode()


@pytest.fixture
def passwords(tmp_path: Path) -> Path:
    path = tmp_path / "htpasswd"
    path.write_text(f"# people\nalice:{hashed(PASSWORD)}\n\nbob:{hashed('b', b'2y')}\nzoë:{hashed('ü')}\n")
    return path


def basic(name: str, password: str) -> dict[str, str]:
    """Return the header with a name and a password."""
    return {"Authorization": "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()}


def client_of(strategy: auth.Strategy, conductor: InMemory | None = None) -> falcon.testing.TestClient:
    """Return a client of an API that lets in whom ``strategy`` finds."""
    return falcon.testing.TestClient(make_app(conductor or InMemory(), auth=strategy))


@pytest.mark.parametrize("name, password", [("alice", PASSWORD), ("bob", "b"), ("zoë", "ü")])
def test_whoever_knows_the_password_is_let_in_and_stands_on_what_he_asked_for(passwords: Path, name: str,
                                                                              password: str) -> None:
    conductor = InMemory()
    client = client_of(HttpBasic(passwords), conductor)
    for _ in range(2):
        assert client.simulate_get("/v1/hosts", headers=basic(name, password)).status_code == 200
    assert [context["user"] for context, _, _ in conductor.calls] == [name, name]


@pytest.mark.parametrize("headers", [
    {}, {"Authorization": ""}, {"Authorization": "Basic"}, {"Authorization": "Basic %%%"},
    {"Authorization": "Basic " + base64.b64encode(b"alice").decode()},
    {"Authorization": "Basic " + base64.b64encode(b"\xff\xfe:x").decode()},
    {"Authorization": "Bearer abc"}, {"X-Auth-Token": "abc"}, {"X-User-Name": "alice", "X-Roles": "admin"},
    basic("alice", "wrong"), basic("alice", ""), basic("nobody", PASSWORD), basic("# people", ""), basic("", ""),
    basic("bob", PASSWORD), basic("alice", PASSWORD + "\0"), basic("alice", PASSWORD * 20)])
@pytest.mark.parametrize("url, name", [("/v2.1/os-hosts", "unauthorized"), ("/v1/hosts", "error")])
def test_everybody_else_is_asked_for_a_password(passwords: Path, headers: dict[str, str], url: str,
                                                name: str) -> None:
    conductor = InMemory()
    result = client_of(HttpBasic(passwords), conductor).simulate_get(url, headers=headers)
    assert (result.status_code, list(result.json), conductor.calls) == (401, [name], [])
    assert result.headers["WWW-Authenticate"] == 'Basic realm="Corral", charset="UTF-8"'
    assert result.headers["x-openstack-request-id"].startswith("req-")
    assert result.headers["Corral-Error"] == "unauthenticated"


@pytest.mark.parametrize("url", ["/", "/v2", "/v2/", "/v2.1", "/v2.1/", "/healthcheck"])
def test_what_clients_need_before_they_can_have_a_token_is_for_everybody(passwords: Path, url: str) -> None:
    assert client_of(HttpBasic(passwords)).simulate_get(url).status_code == 200


def test_each_user_has_the_role_that_he_was_given(passwords: Path) -> None:
    client = client_of(HttpBasic(passwords, {"alice": "reader", "bob": "none"}, "manager"))
    asked = {name: [client.simulate_request(method, url, headers=basic(name, password), json=body).status_code
                    for method, url, body in (("GET", "/v1/hosts", None), ("POST", "/v1/plans", {
                        "host": "h1", "wanted": "enable"}), ("DELETE", "/v2.1/os-aggregates/1", None))]
             for name, password in (("alice", PASSWORD), ("bob", "b"), ("zoë", "ü"))}
    assert asked == {"alice": [200, 403, 403], "bob": [403, 403, 403], "zoë": [200, 201, 403]}


def test_a_changed_file_counts_at_once(passwords: Path) -> None:
    client = client_of(HttpBasic(passwords))
    assert client.simulate_get("/v1/hosts", headers=basic("alice", PASSWORD)).status_code == 200
    fresh = passwords.with_name("fresh")
    fresh.write_text(f"alice:{hashed('another')}\n")
    fresh.replace(passwords)
    assert client.simulate_get("/v1/hosts", headers=basic("alice", PASSWORD)).status_code == 401
    assert client.simulate_get("/v1/hosts", headers=basic("alice", "another")).status_code == 200
    assert client.simulate_get("/v1/hosts", headers=basic("bob", "b")).status_code == 401


@pytest.mark.parametrize("spoil", [lambda path: path.unlink(), lambda path: path.write_text("alice:plain\n")])
def test_a_file_that_breaks_later_lets_nobody_in(passwords: Path, spoil: Any) -> None:
    client = client_of(HttpBasic(passwords))
    spoil(passwords)
    result = client.simulate_get("/v1/hosts", headers=basic("alice", PASSWORD))
    assert (result.status_code, result.headers["Corral-Error"]) == (503, "passwords_unreadable")
    assert "Retry-After" in result.headers and "plain" not in result.text


@pytest.mark.parametrize("text", ["alice:plain", "alice:$apr1$abc$def", "alice", "alice:{SHA}abc="])
def test_a_file_without_bcrypt_is_refused_at_the_start_without_showing_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "htpasswd").write_text(f"bob:{hashed('b')}\n{text}\n")
    with pytest.raises(errors.Invalid, match="line 2 has no bcrypt hash") as seen:
        HttpBasic(tmp_path / "htpasswd")
    assert text not in seen.value.message


def test_a_file_that_is_not_there_is_refused_at_the_start(tmp_path: Path) -> None:
    with pytest.raises(errors.Invalid, match="htpasswd"):
        HttpBasic(tmp_path / "htpasswd")


def test_no_password_is_logged_or_kept(passwords: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    strategy, conductor = HttpBasic(passwords), InMemory()
    client = client_of(strategy, conductor)
    for password in (PASSWORD, "wrong-password"):
        client.simulate_get("/v1/hosts", headers=basic("alice", password))
    sent = base64.b64encode(f"alice:{PASSWORD}".encode()).decode()
    for secret in (PASSWORD, "wrong-password", sent):
        assert secret not in caplog.text + repr(vars(strategy)) + repr(conductor.calls)


def test_without_authentication_everybody_is_an_administrator() -> None:
    conductor = InMemory()
    client = falcon.testing.TestClient(make_app(conductor))
    assert client.simulate_post("/v2.1/os-aggregates", json={"aggregate": {"name": "a"}}).status_code == 200
    assert conductor.calls[0][0]["user"] == "noauth"


@pytest.mark.parametrize("name, stored", [("anna@admin", "anna@admin"), ("a\nb\x1b[31m\u202e", "a?b?[31m?"),
                                          ("n" * 300, "n" * 255)])
def test_a_users_name_is_stored_as_it_can_be_printed(name: str, stored: str) -> None:
    assert auth.shown(name) == stored


def settings(tmp_path: Path, text: str) -> Any:
    """Return the API's configuration."""
    path = tmp_path / "corral-api.conf"
    path.write_text(text)
    conf = cfg.ConfigOpts()
    config.load(conf, "corral-api", ["--config-file", str(path)], "api")
    return conf


def test_the_default_is_no_authentication(tmp_path: Path) -> None:
    assert isinstance(auth.strategy(settings(tmp_path, "")), auth.NoAuth)


def test_the_file_of_passwords_and_its_roles_come_from_the_configuration(tmp_path: Path, passwords: Path) -> None:
    conf = settings(tmp_path, f"[api]\nauth_strategy = http_basic\nhtpasswd_file = {passwords}\n"
                              "htpasswd_roles = alice:reader,bob:none\n")
    strategy = auth.strategy(conf)
    environ = {"HTTP_AUTHORIZATION": basic("alice", PASSWORD)["Authorization"]}
    assert strategy.identify(environ).roles == {"reader"}
    environ = {"HTTP_AUTHORIZATION": basic("zoë", "ü")["Authorization"]}
    assert strategy.identify(environ).roles == {"admin"}


@pytest.mark.parametrize("text, said", [
    ("auth_strategy = http_basic", "htpasswd_file"),
    ("auth_strategy = http_basic\nhtpasswd_file = /nowhere/htpasswd", "/nowhere/htpasswd"),
    ("auth_strategy = http_basic\nhtpasswd_file = " + os.devnull + "\nhtpasswd_roles = alice:king", "king"),
    ("auth_strategy = keystone", "auth_type"),
    ("auth_strategy = keystone\n[keystone_authtoken]\nauth_type = nosuch", "nosuch"),
    ("auth_strategy = keystone\n[keystone_authtoken]\nauth_type = password", "auth_url")])
def test_what_can_not_be_used_is_said_at_the_start(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(errors.Invalid, match=said):
        auth.strategy(settings(tmp_path, f"[api]\n{text}\n"))


def test_a_challenge_is_no_part_of_what_crosses_a_wire() -> None:
    assert "Basic" not in str(Unauthenticated("no", 'Basic realm="x"').to_wire())

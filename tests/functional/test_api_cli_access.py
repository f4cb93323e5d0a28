"""The commands against an API that wants to know who asks: let in, refused in a sentence, and sent nowhere else."""

import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import bcrypt
import pytest

from conductor.api.app import make_app
from conductor.api.auth import HttpBasic
from conductor.api.serve import Service
from conductor.cli.main import main
from tests.unit.api_conductor import InMemory

AWAY = {"OS_AUTH_URL": "http://127.0.0.1:9/v3", "OS_USERNAME": "alice", "OS_PASSWORD": "w", "OS_PROJECT_NAME": "p"}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """An API that knows alice, who may do all, and bob, who may read; both have the password "wörd"."""
    file = tmp_path_factory.mktemp("guarded") / "htpasswd"
    hashed = bcrypt.hashpw("wörd".encode(), bcrypt.gensalt(4)).decode()
    file.write_text(f"alice:{hashed}\nbob:{hashed}\n")
    service = Service(make_app(InMemory(), auth=HttpBasic(file, {"bob": "reader"})), "127.0.0.1", 0, threads=4)
    service.start()
    yield service.url
    service.stop()


def run(line: str, endpoint: str, **environ: str) -> tuple[int, str, str]:
    """Run one command; return its exit status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    status = main(line.split(), out, err, {"CORRAL_ENDPOINT": endpoint, **environ})
    return status, out.getvalue(), err.getvalue()


def test_a_user_with_a_password_is_let_in_by_variables_and_by_a_file(guarded: str, tmp_path: Path) -> None:
    assert run("host-list", guarded, CORRAL_USER="alice", CORRAL_PASSWORD="wörd")[0] == 0
    (tmp_path / "password").write_text("wörd\n")
    status, out, err = run(f"--user alice --password-file {tmp_path}/password host-update --maintenance enable h1 "
                           "--wait", guarded)
    assert (status, err) == (0, "operation op-1: succeeded\n") and "on_maintenance" in out


def test_openstacks_variables_for_a_password_do_as_well(guarded: str) -> None:
    environ = {"OS_AUTH_TYPE": "http_basic", "OS_USERNAME": "alice", "OS_PASSWORD": "wörd"}
    assert run("host-list", guarded, **environ)[0] == 0
    assert run("host-list", "", **environ, OS_ENDPOINT=f"{guarded}/v2.1")[0] == 0


def test_a_wrong_password_and_nobody_are_refused_with_what_helps(guarded: str) -> None:
    wrong = run("host-list", guarded, CORRAL_USER="alice", CORRAL_PASSWORD="word")
    assert wrong == (3, "", "error: Name or password is wrong (unauthenticated)\n")
    status, out, err = run("host-list", guarded)
    assert (status, out) == (3, "")
    assert err.splitlines() == [
        "error: Name and password are required (unauthenticated)",
        "  help: CORRAL_USER and CORRAL_PASSWORD, or --user and --password-file, say who you are"]


def test_a_reader_may_look_and_is_told_the_rule_that_keeps_him_from_more(guarded: str) -> None:
    bob = {"CORRAL_USER": "bob", "CORRAL_PASSWORD": "wörd"}
    assert run("aggregate-list", guarded, **bob)[0] == 0
    status, _, err = run("aggregate-create rack1", guarded, **bob)
    assert status == 3 and err == ("error: Policy doesn't allow corral:aggregates:create to be performed; your roles "
                                   "here: reader (not_allowed)\n")


def test_what_is_missing_is_said_before_anybody_is_asked() -> None:
    status, _, err = run("host-list", "http://127.0.0.1:9", CORRAL_USER="alice")
    assert status == 2 and err.startswith("error: There is no password for alice") and "(bad_credentials)" in err


def test_a_keystone_that_is_away_ends_with_5_like_an_api_that_is() -> None:
    status, _, err = run("host-list", "", **AWAY)
    assert status == 5 and err == ("error: Keystone at http://127.0.0.1:9/v3 can't be asked (connection refused) "
                                   "(keystone_unavailable)\n")


class _Onward(BaseHTTPRequestHandler):
    """Sends everybody on to another port, and takes note of what it was sent."""

    seen: list[str]

    def do_GET(self) -> None:
        """Answer."""
        self.seen.append(self.path)
        self.send_response(302)
        self.send_header("Location", f"http://{self.headers['Host']}/elsewhere")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""


def test_nothing_follows_a_redirection() -> None:
    _Onward.seen = []
    with ThreadingHTTPServer(("127.0.0.1", 0), _Onward) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        status, _, err = run("host-list", f"http://127.0.0.1:{server.server_address[1]}", CORRAL_USER="alice",
                             CORRAL_PASSWORD="w")
        server.shutdown()
    assert (status, _Onward.seen) == (2, ["/v1/hosts"])
    assert "/elsewhere; --endpoint has to be the API's own address (redirected)" in err

"""Our own commands behind a real Keystone: found by the catalogue, let in, refused, and let in anew."""

import io
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from conductor.api.app import make_app
from conductor.api.auth import Environ, Identity, Strategy, Unauthenticated
from conductor.api.serve import Service
from conductor.cli.main import main
from tests.unit.api_conductor import InMemory
from tools.servers.keystone import PASSWORD, Server

#: a region with a Corral beside something else of its type
REGION = "corrals"


class Forgetful:
    """Takes each token for a few requests and calls it ended after that."""

    def __init__(self, strategy: Strategy, requests: int) -> None:
        self.used: Counter[str] = Counter()
        self._strategy, self._requests = strategy, requests

    def identify(self, environ: Environ) -> Identity:
        """Return who sent a request."""
        token = environ["HTTP_X_AUTH_TOKEN"]
        self.used[token] += 1
        if self.used[token] > self._requests:
            raise Unauthenticated("The token has ended", 'Keystone uri="http://here"')
        return self._strategy.identify(environ)


@contextmanager
def served(strategy: Strategy) -> Iterator[str]:
    """Run an API in front of a conductor in memory; yield its address."""
    service = Service(make_app(InMemory(), auth=strategy), "127.0.0.1", 0, threads=4)
    service.start()
    yield service.url
    service.stop()


@pytest.fixture(scope="module")
def cloud(keystone: Server, strategy: Strategy) -> Iterator[Server]:
    """The Keystone with a Corral in the region, beside a Nova that nobody runs, and a user who may read."""
    with served(strategy) as url:
        keystone.endpoint("compute", REGION, f"{url}/v2.1", "corral")
        keystone.endpoint("compute", REGION, "http://127.0.0.1:9/v2.1", "nova")
        keystone.user("looker", "w0rd", "reader")
        yield keystone


def run(line: str, environ: dict[str, str], **more: str) -> tuple[int, str, str]:
    """Run one command; return its exit status and what it printed."""
    out, err = io.StringIO(), io.StringIO()
    status = main(line.split(), out, err, {**environ, **more})
    assert "Traceback" not in out.getvalue() + err.getvalue()
    return status, out.getvalue(), err.getvalue()


def test_the_catalogue_tells_corral_from_nova_by_the_name(cloud: Server) -> None:
    status, out, err = run("host-list", cloud.environ(REGION))
    assert (status, err) == (0, "") and "h1" in out
    assert run("host-list", cloud.environ(REGION), OS_COMPUTE_SERVICE_NAME="nova")[0] == 5


def test_a_region_without_corral_is_said_with_what_helps(cloud: Server) -> None:
    status, _, err = run("host-list", cloud.environ("home"))
    assert status == 2 and "The catalogue has no service corral of the type compute in the region home" in err
    assert "--endpoint" in err and "(not_in_catalogue)" in err


def test_a_cloud_of_openstacks_clients_is_enough(cloud: Server, tmp_path: Path) -> None:
    auth = {"auth_url": cloud.url, "username": "admin", "password": PASSWORD, "project_name": "admin"}
    (tmp_path / "clouds.yaml").write_text(yaml.safe_dump({"clouds": {"here": {"auth": auth, "region_name": REGION}}}))
    assert run("--os-cloud here aggregate-list", {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")})[0] == 0


def test_an_application_credential_needs_no_password_of_a_person(cloud: Server) -> None:
    users = {one["name"]: one["id"] for one in cloud.ask("GET", "users")["users"]}
    made = cloud.ask("POST", f"users/{users['admin']}/application_credentials", {
        "application_credential": {"name": "nightly", "secret": "s3cret"}})["application_credential"]
    environ = {"OS_AUTH_TYPE": "v3applicationcredential", "OS_AUTH_URL": cloud.url, "OS_REGION_NAME": REGION,
               "OS_APPLICATION_CREDENTIAL_ID": made["id"], "OS_APPLICATION_CREDENTIAL_SECRET": "s3cret"}
    assert run("aggregate-create nightly", environ)[0] == 0
    status, _, err = run("host-list", environ, OS_APPLICATION_CREDENTIAL_SECRET="other")
    assert status == 3 and f"does not let {made['id']} in" in err


def test_a_wrong_password_an_unknown_project_and_nobody_end_with_3(cloud: Server) -> None:
    environ = cloud.environ(REGION)
    for wrong in ({"OS_PASSWORD": "x"}, {"OS_PROJECT_NAME": "nowhere"}, {"OS_USERNAME": "nobody"}):
        status, _, err = run("host-list", environ, **wrong)
        assert status == 3 and err.startswith(f"error: Keystone at {cloud.url} does not let "), err
        assert err.endswith("(unauthenticated)\n") and len(err.splitlines()) == 1


def test_a_reader_may_look_and_no_more(cloud: Server) -> None:
    looker = cloud.environ(REGION, "looker", "w0rd")
    assert run("operation-list", looker)[0] == 0
    for line in ("aggregate-create rack1", "host-update --maintenance enable h1", "operation-cancel op-1"):
        status, out, err = run(line, looker)
        assert (status, out) == (3, "") and err.startswith("error: Policy doesn't allow corral:"), err
        assert err.endswith("your roles here: reader (not_allowed)\n")


def test_a_token_at_hand_is_enough_until_it_ends_or_when_it_is_forged(cloud: Server, strategy: Strategy) -> None:
    good = cloud.token("admin", PASSWORD)
    with served(strategy) as url:
        environ = {"OS_AUTH_TYPE": "admin_token", "OS_ENDPOINT": f"{url}/v2.1"}
        assert run("host-list", environ, OS_TOKEN=good)[0] == 0
        for bad in (cloud.expired(good), cloud.forged(good), "noise"):
            status, _, err = run("host-list", environ, OS_TOKEN=bad)
            assert status == 3 and "there is no token, or it is not valid (unauthenticated)" in err
        status, _, err = run("host-list", {"CORRAL_ENDPOINT": url})
        assert status == 3 and err.splitlines()[1].startswith("  help: OS_CLOUD, or OS_AUTH_URL")


def test_a_token_that_ends_during_a_wait_is_replaced_and_the_wait_goes_on(cloud: Server, strategy: Strategy) -> None:
    forgetful = Forgetful(strategy, 2)
    with served(forgetful) as url:
        status, out, err = run(f"--endpoint {url} host-update --maintenance enable h1 --wait", cloud.environ(REGION))
    assert (status, err) == (0, "operation op-1: succeeded\n") and "on_maintenance" in out
    assert len(forgetful.used) > 1


def test_a_new_token_that_is_refused_too_is_not_asked_for_again(cloud: Server, strategy: Strategy) -> None:
    forgetful = Forgetful(strategy, 0)
    with served(forgetful) as url:
        status, _, err = run(f"--endpoint {url} host-list", cloud.environ(REGION))
    assert (status, err) == (3, "error: The token has ended (unauthenticated)\n") and len(forgetful.used) == 2

"""Who a command says it is: options before variables, and every gap a sentence."""

import argparse
import base64
from pathlib import Path

import pytest
import requests

from conductor.cli import clouds, words
from conductor.cli.access import add_options, chosen
from conductor.cli.client import USAGE, Access, Refusal
from conductor.cli.keystone import Keystone

KEYSTONE = {"OS_AUTH_URL": "http://127.0.0.1:9/v3", "OS_USERNAME": "alice", "OS_PASSWORD": "w", "OS_PROJECT_NAME": "p"}
CLOUDS = """\
clouds:
  here:
    auth: {auth_url: "http://127.0.0.1:9/v3", username: bob, project_name: ops, password: old}
    region_name: R1
  odd: {profile: vendor, auth: {}}
  open: {verify: false, auth: {}}
"""


def access(line: str = "", **environ: str) -> Access:
    """Return the way in that a line of options and an environment mean."""
    parser = argparse.ArgumentParser()
    add_options(parser)
    return chosen(parser.parse_args(line.split()), environ)


def header(who: Access) -> str:
    """Return what it sends as Authorization."""
    request = requests.Request("GET", "http://h").prepare()
    return who(request).headers.get("Authorization", "")


def basic(user: str, password: str) -> str:
    """Return the header of a name and a password."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def test_nobody_is_named_and_nothing_is_sent() -> None:
    who = access()
    assert (header(who), who.renew(), who.endpoint(), who.scheme) == ("", False, None, "")


def test_a_name_and_a_password_come_from_variables_or_a_file(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("fïle w0rd \r\n")
    assert header(access(CORRAL_USER="alice", CORRAL_PASSWORD="w:ö")) == basic("alice", "w:ö")
    named = {"CORRAL_PASSWORD": "other", "CORRAL_PASSWORD_FILE": str(tmp_path / "secret")}
    assert header(access(CORRAL_USER="alice", **named)) == basic("alice", "fïle w0rd ")
    assert header(access(f"--user bob --password-file {tmp_path}/secret", CORRAL_USER="alice")) == basic(
        "bob", "fïle w0rd ")


@pytest.mark.parametrize("line, environ, says", [
    ("--user alice", {}, "CORRAL_PASSWORD"),
    ("--user alice --password-file /nowhere/x", {}, "/nowhere/x"),
    ("--user alice --os-cloud here", {}, "one of both"),
    ("--cacert /nowhere/ca", {}, "/nowhere/ca"),
    ("--os-cloud nothing", {"HOME": "/nowhere"}, "No clouds"),
    ("", {"OS_AUTH_TYPE": "telepathy"}, "telepathy"),
    ("", {"OS_AUTH_TYPE": "password"}, "auth_url"),
    ("", {"OS_AUTH_URL": "http://127.0.0.1:9/v3", "OS_USERNAME": "alice"}, "There is no password for alice: OS_PASS"),
])
def test_what_is_missing_is_said_with_the_status_of_wrong_usage(line: str, environ: dict[str, str], says: str) -> None:
    with pytest.raises(Refusal, match=says) as found:
        access(line, **environ)
    assert (found.value.exit_status, found.value.code) == (USAGE, "bad_credentials")


def test_no_option_takes_a_password_or_a_token() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    names = " ".join(parser.format_help().split()).replace("--password-file", "")
    assert "--os-password" not in names and "--password" not in names and "token" not in names


def test_an_option_goes_before_the_variables_of_the_other_way() -> None:
    environ = {**KEYSTONE, "CORRAL_USER": "alice", "CORRAL_PASSWORD": "w"}
    assert access(**environ).scheme == "basic"
    assert isinstance(access("--os-project-name other", **environ), Keystone)
    assert access(**KEYSTONE).scheme == "keystone"


def test_openstacks_own_variables_for_no_keystone_are_understood() -> None:
    none = access(OS_AUTH_TYPE="none", OS_ENDPOINT="http://127.0.0.1:9/v2.1")
    assert (none.endpoint(), none.scheme) == ("http://127.0.0.1:9", "")
    assert access(OS_AUTH_TYPE="none").endpoint() is None
    named = access(OS_AUTH_TYPE="none", OS_COMPUTE_ENDPOINT_OVERRIDE="http://127.0.0.1:8/v2.1")
    assert named.endpoint() == "http://127.0.0.1:8"
    password = access(OS_AUTH_TYPE="http_basic", OS_USERNAME="alice", OS_PASSWORD="w")
    assert (header(password), password.scheme, password.renew()) == (basic("alice", "w"), "basic", False)


def test_a_cloud_is_read_from_its_files_and_options_change_it(tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text(CLOUDS)
    (tmp_path / "secure.yaml").write_text("clouds: {here: {auth: {password: new}}}")
    environ = {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml"), "OS_USERNAME": "nobody",
               "OS_CLIENT_SECURE_FILE": str(tmp_path / "secure.yaml")}
    found = clouds.settings({"cloud": "here", "project_name": "other"}, environ)
    assert {name: found[name] for name in ("username", "password", "project_name", "region_name")} == {
        "username": "bob", "password": "new", "project_name": "other", "region_name": "R1"}
    home = tmp_path / ".config" / "openstack"
    home.mkdir(parents=True)
    (tmp_path / "clouds.yaml").rename(home / "clouds.yaml")
    assert clouds.settings({}, {"OS_CLOUD": "here", "HOME": str(tmp_path)})["password"] == "old"


@pytest.mark.parametrize("cloud, says", [("odd", "profile"), ("open", "verify"), ("away", "No clouds")])
def test_a_cloud_that_asks_for_more_than_there_is_is_refused(tmp_path: Path, cloud: str, says: str) -> None:
    (tmp_path / "clouds.yaml").write_text(CLOUDS)
    with pytest.raises(Refusal, match=says):
        clouds.settings({"cloud": cloud}, {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")})


def test_a_file_of_clouds_that_is_no_yaml_is_not_quoted(tmp_path: Path) -> None:
    (tmp_path / "clouds.yaml").write_text("clouds: {here: {auth: {password: s3cret]\n")
    with pytest.raises(Refusal, match="no YAML") as found:
        clouds.settings({"cloud": "here"}, {"OS_CLIENT_CONFIG_FILE": str(tmp_path / "clouds.yaml")})
    assert "s3cret" not in found.value.message


def test_the_help_of_a_refusal_is_printed() -> None:
    told = words.refusal(Refusal("No", "unauthenticated", 3, {"help": "say who you are"}))
    assert told.splitlines() == ["error: No (unauthenticated)", "  help: say who you are"]

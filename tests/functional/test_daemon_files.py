"""Daemons and their files: mistakes are one sentence, a reload takes up what it can, help tells no secret."""

import signal
from pathlib import Path

import pytest

from tests.functional.daemon_process import CANARY, Site


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A machine."""
    return Site(tmp_path)


@pytest.mark.parametrize("kind, groups, parts", [
    ("conductor", {"agents": "require_mac = true"},
     ["[agents] keys_file is missing", "corral-manage agent-key --init"]),
    ("conductor", {"conductor": "wrokers = 3", "planner": "moves_per_pool = many"},
     ["no option wrokers; workers is meant?", "[planner] moves_per_pool"]),
    ("agent", {"xenapi": "url = 192.0.2.10"}, ["[xenapi] url has no usable value", "https://192.0.2.10"]),
    ("agent", {"xenapi": "password_file = /nowhere/password"},
     ["[xenapi] password_file: the file /nowhere/password can't be read"]),
    ("agent", {"agent": "key_file = key"}, ["[agent] key_file names the systemd credential key"]),
    ("api", {"oslo_concurrency": "lock_path = /dev/null/x"}, ["lock_path: the folder /dev/null/x can't be used"]),
    ("agent", {"agent": "host = h 1"}, ["[agent] host 'h 1' can't be a host's name"]),
    ("api", {"DEFAULT": "transport_url = kafka://somewhere/"}, ["begins with rabbit://, and not with kafka://"]),
    ("agent", {"database": "connection = sqlite:///x"}, ["[database] is for corral-conductor"]),
    ("api", {"api": "bind_host = 0.0.0.0"}, ["force_noauth"]),
    ("api", {"DEFAULT": "transport_url = nonsense"}, ["transport URL can't be used"]),
])
def test_a_mistake_in_the_files_is_one_sentence(kind: str, groups: dict[str, str], parts: list[str],
                                                site: Site) -> None:
    done = site.run(f"corral-{kind}", "--config-file", str(site.conf(kind, **groups)))
    [said] = done.stderr.splitlines()
    assert done.returncode == 2 and done.stdout == ""
    assert said.startswith(f"corral-{kind}: ") and all(part in said for part in parts)
    assert CANARY not in said


def test_an_agent_without_anything_is_told_all_that_is_missing(site: Site) -> None:
    empty = site.folder / "empty.conf"
    empty.touch()
    done = site.run("corral-agent", "--config-file", str(empty))
    assert done.returncode == 2
    assert all(f"{option} is missing" in done.stderr for option in ("host", "url", "password_file"))


def test_a_reload_takes_up_what_it_can_and_names_what_needs_a_restart(site: Site) -> None:
    site.sync()
    with site.start("conductor") as daemon:
        daemon.until_status("broker")
        path = site.conf("conductor", DEFAULT="debug = true", planner="moves_per_pool = 5", conductor="workers = 3")
        daemon.send(signal.SIGHUP)
        daemon.until_logged("The configuration was read again")
        assert len(daemon.matching(r"planner\.moves_per_pool changed from .* to \[5\]")) == 1
        assert len(daemon.matching(r"immutable option conductor\.workers")) == 1
        daemon.until_logged(" DEBUG ")

        path.write_text("[planner]\nmoves_per_pool = 7\nnonsense\n")
        daemon.send(signal.SIGHUP)
        daemon.until_logged("stays as it was")
        [said] = daemon.matching(" ERROR common.service ")
        assert "corral-conductor.conf:3" in said and "nonsense" not in said

        site.conf("conductor", planner="moves_per_pool = 6")
        daemon.send(signal.SIGHUP)
        daemon.until_logged("The configuration was read again", times=2)
        assert len(daemon.matching(r"planner\.moves_per_pool changed from .* to \[6\]")) == 1
        assert not daemon.was_told("RELOADING=1")
        assert daemon.end()[0] == 0 and not daemon.matching(CANARY)


def test_an_agent_says_which_secret_needs_a_restart(site: Site) -> None:
    with site.start("agent") as daemon:
        daemon.until_status("broker")
        site.secret("password", f"{CANARY}-new")
        daemon.send(signal.SIGHUP)
        daemon.until_logged("The configuration was read again")
        assert len(daemon.matching("WARNING.*The password in its file has changed")) == 1
        assert daemon.end()[0] == 0 and not daemon.matching(CANARY)


@pytest.mark.parametrize("command", ["corral-conductor", "corral-agent", "corral-api", "corral-manage"])
def test_help_is_short_and_says_what_it_is_which_files_and_how_it_ends(command: str, site: Site) -> None:
    done = site.run(command, "--help")
    assert done.returncode == 0 and len(done.stdout.splitlines()) < 60
    assert all(part in done.stdout for part in ("--config-file", "/etc/corral/", "example", "exit status"))

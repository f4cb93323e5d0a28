"""Daemons whose broker or database is away: they run, say so once, are not ready, and end when asked."""

import json
import signal
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.functional.daemon_process import AWAY, CANARY, Site

BROKER = "broker"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A machine with a database whose schema is up to date."""
    return Site(tmp_path)


@pytest.mark.parametrize("kind", ["conductor", "agent", "api"])
def test_without_a_broker_it_runs_says_so_in_one_line_is_not_ready_and_ends_at_once(kind: str, site: Site) -> None:
    if kind == "conductor":
        site.sync()
    with site.start(kind) as daemon:
        daemon.until_status(BROKER)
        # Long enough for several attempts of every part.
        daemon.until(lambda: sum("WATCHDOG=1" in said for said in daemon.told) >= 3)
        # An agent says once too that there is no hypervisor where it was told to look.
        lines = [line for line in daemon.matching("WARNING|ERROR")
                 if kind != "agent" or "hypervisor_unavailable" not in line]
        assert len(lines) == 1 and BROKER in lines[0]
        assert len(daemon.matching("hypervisor_unavailable")) <= (kind == "agent")
        assert daemon.process.poll() is None and not daemon.was_told("READY=1")
        status, took_s = daemon.end()
        assert status == 0 and took_s < 15
        assert daemon.was_told("STOPPING=1")
        assert not daemon.matching(CANARY)


def test_the_api_answers_503_while_the_broker_is_away(site: Site) -> None:
    with site.start("api") as daemon:
        daemon.until_logged("^ready: ")
        url = daemon.matching("^ready: ")[0].removeprefix("ready: ")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(f"{url}/v1/hosts", timeout=30)
        assert caught.value.code == 503 and caught.value.headers["Retry-After"]
        assert json.load(caught.value)["error"]["code"] == "broker_unavailable"
        assert daemon.end(signal.SIGINT)[0] == 130


def test_without_a_database_a_conductor_runs_and_says_so_in_one_line(site: Site) -> None:
    site.database = f"postgresql+psycopg://corral:{CANARY}@{AWAY}/corral"
    with site.start("conductor") as daemon:
        daemon.until_status("database")
        daemon.until(lambda: sum("WATCHDOG=1" in said for said in daemon.told) >= 3)
        assert len(daemon.matching("(WARNING|ERROR).*database")) == 1
        assert daemon.process.poll() is None and not daemon.was_told("READY=1")
        assert daemon.end()[0] == 0
        assert not daemon.matching(CANARY)


def test_a_schema_that_is_not_the_conductors_ends_it_with_what_to_do(site: Site) -> None:
    done = site.run("corral-conductor", "--config-file", str(site.conf("conductor")))
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("corral-conductor: The database's schema is not there")
    assert "run corral-manage db sync" in done.stderr.splitlines()[-1]


def test_its_log_is_json_when_asked(site: Site) -> None:
    with site.start("agent", DEFAULT="use_json = true") as daemon:
        daemon.until_status(BROKER)
        daemon.until(lambda: any(BROKER in one["message"] for one in daemon.records()))
        assert {one["levelname"] for one in daemon.records()} == {"WARNING"}

"""The agents' door of a whole conductor, within the process; the stories are in ``conductor_door.py``."""

import itertools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from conductor_door import DEADLINE_S, FIRST, STORIES, Door, door, heartbeat, refused
from conductor_world import empty_database

from common import errors, rpc
from common.clock import SetClock
from conductor.db.session import Database
from conductor.operations.engine import Engine
from conductor.operations.settings import Settings
from conductor.pulse import RoundTrips

_NAMES = itertools.count(1)


@pytest.fixture
def database_url(tmp_path: Path) -> str:
    """A database with the schema and nothing in it."""
    shutil.copyfile(empty_database(), tmp_path / "corral.sqlite")
    return f"sqlite:///{tmp_path}/corral.sqlite"


def transport() -> rpc.Transport:
    return rpc.transport(f"corral-inproc://doors-{next(_NAMES)}/")


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_the_agents_door(story: Callable[[Door], None], database_url: str) -> None:
    with door(transport(), database_url) as held:
        story(held)


def test_an_agent_of_1_0_is_heard_where_no_mac_is_required_and_else_told_what_is_missing(database_url: str) -> None:
    old = heartbeat("h1", 1).to_wire()
    for later in ("report_digest", "report_age_s", "version"):
        del old[later]
    with door(transport(), database_url, require_mac=False) as held:
        assert held.raw("sync", {"sync": old}, version="1.0")["observe"]
        claim = {"host": "h1", "incarnation": FIRST, "sequence": 2, "task": "none", "attempt": 1, "session": None}
        assert held.raw("claim", claim, version="1.0")["verdict"] == "stale"
        host = held.host("h1")
        assert host is not None and host.agent_version == "1.0"
        assert held.stranger().sync(heartbeat("h1", 3)).observe
        assert held.agent("h1").sync(heartbeat("h1", 4)).observe, "a key does no harm"
    with door(transport(), database_url) as held:
        assert "corral-manage agent-key h1" in refused("mac_missing", held.raw, "sync", {"sync": old},
                                                       version="1.0").message


class Watcher:
    """Takes note of the signs of life."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self._changed = threading.Condition()

    def heard(self) -> None:
        self._note("heard")

    def waiting(self, why: str) -> None:
        self._note(why)

    def _note(self, what: str) -> None:
        with self._changed:
            self.said.append(what)
            self._changed.notify_all()

    def wait_for(self, what: str) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: what in self.said, DEADLINE_S)


class Outside:
    """A broker and a database that may be away."""

    def __init__(self, path: Path) -> None:
        self.clock, self.watcher = SetClock(), Watcher()
        self.engine = Engine(Database(f"sqlite:///{path}"), lambda *_: None, self.clock, Settings(sync_interval_s=4.0))
        self.broker: errors.Error | None = None
        self.database: errors.Error | None = None
        self.trips = RoundTrips(self.engine, self.ping, self.read, self.watcher)

    def ping(self) -> None:
        if self.broker is not None:
            raise self.broker

    def read(self) -> None:
        if self.database is not None:
            raise self.database

    def after(self, seconds: float) -> tuple[list[str], bool]:
        """Return what is told after another round trip, and whether the silence of agents counts anew."""
        self.clock.advance(seconds)
        self.watcher.said.clear()
        assert self.trips.once() == (1.0 if self.broker or self.database else 4.0)
        return list(self.watcher.said), self.engine.receiving_since == self.clock.now()


def test_a_conductor_hears_itself_through_the_transport_and_its_database(database_url: str) -> None:
    watcher = Watcher()
    with door(transport(), database_url, name="conductor 1", pulse=watcher):
        assert watcher.wait_for("heard")


def test_an_outage_of_broker_or_database_is_told_and_the_silence_of_agents_counts_anew(tmp_path: Path) -> None:
    outside = Outside(tmp_path / "corral.sqlite")
    assert outside.after(10) == (["heard"], False)
    outside.broker = errors.Unavailable("The message broker can't be reached")
    assert outside.after(10) == (["The message broker can't be reached"], True)
    outside.broker, outside.database = None, errors.Unavailable("The database can't be reached")
    assert outside.after(10) == (["The database can't be reached"], True)
    outside.database = None
    assert outside.after(10) == (["heard"], True)
    assert outside.after(10) == (["heard"], False)


def test_a_conductor_that_gets_no_answer_from_itself_says_nothing_and_holds_nobodys_silence_against_them(
        tmp_path: Path) -> None:
    outside = Outside(tmp_path / "corral.sqlite")
    outside.broker = errors.OutcomeUnknown("no answer")
    assert outside.after(10) == ([], True)
    outside.broker = None
    assert outside.after(10) == (["heard"], True)

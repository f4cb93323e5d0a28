"""kill -9 at bad moments: what was accepted ends, and nothing is done twice.

The hypervisors run in the test's process and outlive Corral, as real ones do.
"""

import json
from collections.abc import Callable
from pathlib import Path

from allinone_world import GIB, Alone, Json, Process, allinone_words, corral_words, guest, pool_world, until

from tools.independent import Pool


def is_at(kind: str, *states: str) -> Callable[[Json], bool]:
    """Return whether some task of that kind is in one of the states."""
    return lambda operation: any(task["kind"] == kind and task["state"] in states for task in operation["tasks"])


def done(count: int) -> Callable[[Json], bool]:
    """Return whether so many moves are done."""
    return lambda operation: bool(operation["progress"]["moves_done"] >= count)


def test_a_drain_that_is_killed_again_and_again_moves_every_vm_once(tmp_path: Path) -> None:
    vms = [guest(f"vm{number}", "h2", 4) for number in range(6)]
    with Alone(pool_world(3, vms, memory=32 * GIB), speed=25) as world:
        words = corral_words(tmp_path, world)
        with Process(words, tmp_path / "log") as first:
            first.corral.adopt("h1", "h2", "h3")
            operation = first.corral.begin("host-update --maintenance enable h2")
            first.kill()
        for moment in (is_at("vm_migrate", "executing"), done(1), done(4), is_at("observe", "executing")):
            with Process(words, tmp_path / "log") as corral:
                corral.corral.reached(operation, moment)
                corral.kill()
        with Process(words, tmp_path / "log") as last:
            last.corral.ended(operation)
            assert last.corral.host("h2")["state"] == "in_maintenance"
        assert not world.pool().enabled("h2") and not world.on("h2")
        assert {name: len(way) for name, way in world.ways.items()} == dict.fromkeys(world.ways, 2)
        assert len(world.ways) == 6 and not world.stopped
        assert world.calls("VM.pool_migrate") == ["Success"] * 6


def test_a_join_and_an_eject_that_are_killed_are_done_once(tmp_path: Path) -> None:
    hosts = {"hosts": [{"name": "h1"}, {"name": "h2"}]}
    with Alone(hosts, speed=12) as world:
        words = corral_words(tmp_path, world)
        with Process(words, tmp_path / "log") as first:
            first.corral.adopt("h1")
            until("h2 is read", lambda: first.corral.is_read("h2"))
            operation = first.corral.begin("aggregate-add-host 1 h2")
            first.corral.reached(operation, is_at("pool_join", "executing"))
            until("the join was called", lambda: world.calls("pool.join"))
            first.kill()
        with Process(words, tmp_path / "log") as second:
            until("h2 is listed", lambda: world.pool("h1").members() == ["h1", "h2"])
            second.kill()
        with Process(words, tmp_path / "log") as third:
            third.corral.ended(operation)
            assert world.calls("pool.join") in (["Success"], ["dropped"], ["pending"])
            drain = "host-update --maintenance enable h2"
            until("the pool is read again", lambda: third.corral.run(f"{drain} --dry-run") == 0)
            third.corral.ask(f"{drain} --wait")
            operation = third.corral.begin("aggregate-remove-host 1 h2")
            until("the eject was called", lambda: world.calls("pool.eject"))
            third.kill()
        with Process(words, tmp_path / "log") as fourth:
            fourth.corral.ended(operation)
            assert fourth.corral.ask("aggregate-details 1")["hosts"] == ["h1"]
        assert len(world.calls("pool.eject")) == 1
        assert world.pool("h1").members() == ["h1"]


def test_an_all_in_one_that_is_killed_goes_on_with_its_hypervisors_on_the_same_folder(tmp_path: Path) -> None:
    vms = [guest(f"vm{number}", "h2", 4) for number in range(6)]
    (tmp_path / "world.yaml").write_text(json.dumps(pool_world(2, vms, memory=64 * GIB)))
    words = allinone_words(tmp_path / "state", "--world", str(tmp_path / "world.yaml"))
    with Process(words, tmp_path / "log") as first:
        first.corral.adopt("h1", "h2")
        operation = first.corral.begin("host-update --maintenance enable h2")
        first.corral.reached(operation, done(1))
        first.kill()
    with Process(words, tmp_path / "log") as second:
        second.corral.ended(operation)
        pool = Pool(second.hosts["h1"], "root", second.password)
        assert {host: len(vms) for host, vms in pool.running().items()} == {"h1": 6}
        assert not pool.enabled("h2")
    assert "Traceback" not in (tmp_path / "log").read_text()

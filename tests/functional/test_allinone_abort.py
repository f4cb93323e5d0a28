"""A migration is aborted in a whole Corral: by Nova's DELETE and by Corral's cancel, in time and too late."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from allinone_world import GIB, PATIENCE_S, House, guest, pool_world

#: slow enough that a test can act in the middle of a migration
SPEED = 10.0
#: seconds between two heartbeats: longer than a migration here, so that an abort is heard by the doorbell alone
SYNC_S = "10"


class Moving:
    """A Corral in which one big guest is on its way from h1 to h2."""

    def __init__(self, house: House) -> None:
        self.house, self._url = house, house.corral.url + "/v2.1/"
        (found,) = self.ask("GET", "servers?name=^big$").json()["servers"]
        self.server = str(found["id"])
        begun = self.ask("POST", f"servers/{self.server}/action",
                         {"os-migrateLive": {"host": "h2", "block_migration": "auto"}})
        assert begun.status_code == 202, begun.text
        self.operation = begun.headers["Corral-Operation"]

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Return the answer to one request at Nova's newest microversion."""
        return requests.request(method, self._url + path, json=body, timeout=30,
                                headers={"OpenStack-API-Version": "compute 2.42"})

    def reached(self, *phases: str) -> None:
        """Return when the hypervisor's migration is in one of these phases."""
        simulator = self.house.simulator
        with simulator.lock:
            assert simulator.lock.wait_for(
                lambda: any(job["phase"] in phases for job in simulator.world.jobs.values()), PATIENCE_S), phases

    def status(self) -> str:
        """Return how Nova's clients see the migration."""
        (one,) = self.ask("GET", "os-migrations").json()["migrations"]
        return str(one["status"])


@pytest.fixture
def moving(tmp_path: Path) -> Iterator[Moving]:
    world = pool_world(2, [guest("big", "h1", 4, dirty_rate=GIB, working_set=2 * GIB)])
    with House(tmp_path, world, "--sync-interval", SYNC_S, speed=SPEED) as house:
        house.corral.adopt("h1", "h2")
        yield Moving(house)


def test_a_migration_that_is_aborted_while_it_streams_leaves_the_vm_where_it_is(moving: Moving) -> None:
    moving.reached("stream")
    (one,) = moving.ask("GET", f"servers/{moving.server}/migrations").json()["migrations"]
    aborted = moving.ask("DELETE", f"servers/{moving.server}/migrations/{one['id']}")
    assert (aborted.status_code, aborted.headers["Corral-Operation"]) == (202, moving.operation)
    operation = moving.house.corral.ended(moving.operation, "cancelled")
    assert operation["result"] is None and moving.house.ways["big"] == ["h1"]
    assert moving.status() == "cancelled" and moving.house.on("h1") == ["big"]
    assert len(moving.house.calls("task.cancel")) == 1


def test_a_migration_that_is_aborted_too_late_completes_and_the_operation_says_so(moving: Moving) -> None:
    moving.reached("pause", "device")
    assert moving.house.corral.run(f"operation-cancel {moving.operation}") == 0, moving.house.corral.err
    operation = moving.house.corral.ended(moving.operation, "cancelled")
    assert operation["result"]["moved"]["host"] == "h2" and "too late" in operation["result"]["moved"]["message"]
    assert moving.house.ways["big"] == ["h1", "h2"] and moving.status() == "completed"

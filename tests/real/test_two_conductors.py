"""Two equal conductors share the work, and one of them dies in the middle of it."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from pathlib import Path

import pytest

from tools.bench.client import Corral, until
from tools.deployment import Deployment

HOSTS = [f"h{number + 1}" for number in range(20)]


@pytest.fixture
def running(tmp_path: Path, vhost: str, postgresql_url: str) -> Iterator[Deployment]:
    """Two conductors, and twenty hosts whose agents share a process."""
    with Deployment(tmp_path, vhost, postgresql_url, conductors=2, hosts=len(HOSTS), vms=0,
                    together=True) as deployment:
        yield deployment


def test_twenty_requests_at_once_all_end_though_one_conductor_is_killed_midway(running: Deployment) -> None:
    corral = Corral(running.url)
    until("all agents are enrolled, each in its pool",
          lambda: [host["pool"] is not None for host in corral.ask("GET", "/v1/hosts")["hosts"]] == [True] * len(HOSTS),
          0.2)
    places = {host: int(corral.ask("POST", "/v2.1/os-aggregates", {"aggregate": {"name": f"rack of {host}"}})
                        ["aggregate"]["id"]) for host in HOSTS}
    corral.close()
    with ThreadPoolExecutor(len(HOSTS)) as together:
        asked = [together.submit(_add, running.url, places[host], host) for host in HOSTS]
        for count, answer in enumerate(as_completed(asked), start=1):
            answer.result()
            if count == 5:
                running.conductors["c1"].kill()
    corral.settle()
    operations = corral.ask("GET", "/v1/operations")["operations"]
    assert sorted(one["host"] for one in operations) == sorted(HOSTS)
    assert {event["conductor"] for one in operations for event in corral.events(one["id"])} == {"c1", "c2"}
    shown = corral.ask("GET", "/v2.1/os-aggregates")["aggregates"]
    assert {one["hosts"][0]: one["id"] for one in shown} == places


def _add(url: str, aggregate: int, host: str) -> None:
    client = Corral(url)
    client.ask("POST", f"/v2.1/os-aggregates/{aggregate}/action", {"add_host": {"host": host}})
    client.close()

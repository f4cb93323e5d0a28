"""Nova's side of a whole Corral: one VM moved live, seen as a migration, and a host that is forgotten."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from allinone_world import House, guest, pool_world, until


class Nova:
    """Requests at the newest microversion, past Corral's own client."""

    def __init__(self, house: House) -> None:
        self.house, self._url = house, house.corral.url + "/v2.1/"

    def ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        """Return the answer to one request."""
        return requests.request(method, self._url + path, json=body, timeout=30,
                                headers={"OpenStack-API-Version": "compute 2.42"})

    def get(self, path: str) -> Any:
        """Return what is there."""
        answer = self.ask("GET", path)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def server(self, name: str) -> str:
        """Return the id of a server that is known by its name."""
        (found,) = self.get(f"servers?name=^{name}$")["servers"]
        return str(found["id"])


@pytest.fixture
def nova(tmp_path: Path) -> Iterator[Nova]:
    with House(tmp_path, pool_world(2, [guest("web1", "h1"), guest("web2", "h1")])) as house:
        house.corral.adopt("h1", "h2")
        yield Nova(house)


def test_one_vm_is_moved_live_and_seen_on_its_way(nova: Nova) -> None:
    web1, web2 = nova.server("web1"), nova.server("web2")
    begun = nova.ask("POST", f"servers/{web1}/action", {"os-migrateLive": {"host": None, "block_migration": "auto"}})
    assert begun.status_code == 202, begun.text
    nova.house.corral.ended(begun.headers["Corral-Operation"])
    assert nova.house.ways["web1"] == ["h1", "h2"] and nova.house.ways["web2"] == ["h1"]
    until("it is seen there", lambda: nova.get(f"servers/{web1}")["server"]["OS-EXT-SRV-ATTR:host"] == "h2")
    (seen,) = nova.get("os-migrations")["migrations"]
    assert (seen["instance_uuid"], seen["source_compute"], seen["dest_compute"], seen["status"]) == (
        web1, "h1", "h2", "completed")
    assert nova.get(f"servers/{web1}/migrations")["migrations"] == []
    refused = nova.ask("POST", f"servers/{web2}/action", {"os-migrateLive": {"host": "h1", "block_migration": False}})
    assert (refused.status_code, refused.headers["Corral-Error"]) == (400, "vm_is_there")


def test_a_conductor_and_agents_are_services_that_are_up(nova: Nova) -> None:
    found = until("the conductor has shown itself", lambda: [
        one for one in nova.get("os-services")["services"] if one["binary"] == "nova-conductor"]
        and nova.get("os-services")["services"])
    assert [(one["binary"], one["state"], one["zone"]) for one in found] == [
        ("nova-compute", "up", "zone1"), ("nova-compute", "up", "zone1"), ("nova-conductor", "up", "internal")]
    assert nova.ask("DELETE", f"os-services/{found[0]['id']}").status_code == 409
    uptime = nova.get("os-hypervisors/1/uptime")["hypervisor"]["uptime"]
    assert " up " in uptime

"""Where an evacuation puts VMs of an anti-affinity group: xapi's three plans, of which the first that is whole wins."""

from collections import Counter

import pytest

from agent.simulator import DirectClient, direct_world
from agent.simulator.spec import GIB, HostSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec


def emptied(memory: dict[str, int], guests: tuple[VmSpec, ...], *, version: str = "24.19.1") -> dict[str, str]:
    """Return on which host each VM is when h1 has been evacuated."""
    hosts = tuple(HostSpec(name, memory=size * GIB, version=version) for name, size in memory.items())
    spec = WorldSpec(hosts, (PoolSpec(tuple(memory)),), (StorageSpec("nfs", "h1", default=True),), (), guests)
    world, clock = direct_world(spec)
    client = DirectClient(world, clock, "127.1.0.1").login()
    task = client("Async.host.evacuate", client("host.get_by_name_label", "h1")[0])
    assert client.task(task)["error_info"] == []
    return {vm.name: client("host.get_name_label", client("VM.get_resident_on", client(
        "VM.get_by_name_label", vm.name)[0])) for vm in guests}


def guest(name: str, gib: int = 1, *, group: str = "web", host: str = "h1") -> VmSpec:
    return VmSpec(name, host, state="running", memory=gib * GIB, disks=("nfs",), group=group)


def test_members_are_spread_evenly_over_the_hosts_that_have_fewest_of_them() -> None:
    there = emptied({"h1": 32, "h2": 32, "h3": 64}, (
        guest("a"), guest("b"), guest("c"), guest("d", host="h3"), guest("other", 8, group="")))
    assert Counter(there[name] for name in "abcd") == {"h2": 2, "h3": 2}
    assert there["other"] == "h3"


@pytest.mark.parametrize("version, memory", [
    ("24.16.0", {"h1": 32, "h2": 32, "h3": 64}),  # knows no groups
    ("24.19.1", {"h1": 32, "h3": 64}),  # of two hosts one cannot spread
])
def test_groups_are_not_looked_at_before_their_time_and_in_small_pools(version: str, memory: dict[str, int]) -> None:
    there = emptied(memory, (guest("a"), guest("b"), guest("c")), version=version)
    assert set(there.values()) == {"h3"}


def test_where_they_cannot_be_spread_evenly_two_hosts_are_enough() -> None:
    there = emptied({"h1": 32, "h2": 6, "h3": 10}, (*(guest(name) for name in "abcd"), guest("large", 6, group="")))
    assert there == {"a": "h2", "b": "h3", "c": "h2", "d": "h2", "large": "h3"}  # beside two of them it has no room


def test_where_they_cannot_be_kept_apart_they_are_moved_all_the_same() -> None:
    there = emptied({"h1": 32, "h2": 3, "h3": 32}, (guest("a", 2), guest("b", 2)))
    assert set(there.values()) == {"h3"}

"""The conductor dies at every commit, one after the other, and the end is the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from conductor_world import World

_LIMIT_S = 900.0


def drained(folder: Path) -> World:
    world = World(folder)
    world.pool.move_s = 4.0
    world.pool.add_vm("v1", "h1")
    world.start_pool()
    return world


def drain(world: World) -> str:
    return world.begin("maintenance_start", host="h1")


def standing_alone(folder: Path) -> World:
    world = World(folder, hosts=2)
    world.pool.join_s = 4.0
    world.start_pool("h1")
    return world


def join(world: World) -> str:
    return world.begin("aggregate_add_host", id=1, host="h2")


def end_of(world: World, operation: str) -> dict[str, Any]:
    """Return what counts of the end, without times and counters."""
    shown = world.finish(operation, _LIMIT_S)
    # What happened once must have happened once, whoever died.
    assert len(world.pool.calls) == len(set(world.pool.calls)), world.pool.calls
    return {"state": shown["state"], "harm": world.pool.harm, "calls": sorted(call[1:] for call in world.pool.calls),
            "hosts": [(h.name, h.enabled, h.pool, h.mark is None) for h in world.pool.hosts.values()],
            "vms": {vm.uuid: (vm.power, vm.host, vm.moves) for vm in world.pool.vms.values()},
            "wanted": [(name, world.host(name).wanted, world.host(name).owner is None) for name in world.pool.hosts],
            "tasks": sorted((task.kind, task.state) for task in world.tasks(operation)),
            "operations": len(world.ask("operation_list")["operations"]),
            "places": world.ask("aggregate_show", id=1)["members"]}


@pytest.mark.parametrize("before", [False, True], ids=["after the commit", "before the commit"])
@pytest.mark.parametrize("build, begin", [(drained, drain), (standing_alone, join)], ids=["drain", "join"])
def test_the_end_is_the_same_wherever_the_conductor_dies(tmp_path: Path, build: Callable[[Path], World],
                                                        begin: Callable[[World], str], before: bool) -> None:
    base, folder = build(tmp_path), tmp_path / "undisturbed"
    folder.mkdir()
    world = base.copy(folder)
    expected = end_of(world, begin(world))
    boundaries = world.database.commits
    assert expected["state"] == "succeeded"
    assert boundaries > 5
    for number in range(1, boundaries + 1):
        folder = tmp_path / str(number)
        folder.mkdir()
        world = base.copy(folder)
        world.database.before, world.database.crash_at = before, number
        found = end_of(world, begin(world))
        assert found == expected, f"died at commit {number}\n{world.story()}"
        assert world.restarts == 1
        world.database.close()


def test_a_conductor_that_loses_every_doorbell_still_gets_there(tmp_path: Path) -> None:
    world = drained(tmp_path)
    world.loses_rings = True
    assert end_of(world, drain(world))["state"] == "succeeded"
    assert world.lost_rings

"""What a master that is killed would forget: at the end of maintenance the pool's database is written, once."""

from pathlib import Path
from typing import Any

import pytest
from conductor_world import World

REFUSAL = {"code": "CANNOT_CONTACT_HOST", "params": ["OpaqueRef:h3"], "effect": "unknown",
           "message": "XenServer answered CANNOT_CONTACT_HOST (OpaqueRef:h3)"}


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A pool of h1, the master, h2 and h3 behind aggregate 1, with a VM on h2."""
    world = World(tmp_path, hosts=3)
    world.start_pool()
    world.pool.add_vm("v1", "h2")
    world.pass_time(11)
    return world


def written(world: World, operation: str) -> list[tuple[str, str]]:
    """Return executor and state of each order to write the database."""
    return [(task.executor, task.state) for task in world.tasks(operation, "sync_database")]


def refuse(world: World, operation: str) -> dict[str, Any]:
    """Let xapi refuse to write the database; return the operation when that was told."""
    world.run(lambda: [task.state for task in world.tasks(operation, "sync_database")] == ["sent"])
    agent, (task,) = world.agents["h1"], world.tasks(operation, "sync_database")
    world.rings.clear()
    agent.heard.clear()
    agent.claim(task.id, 1)
    run = agent.running.pop((task.id, 1))
    run.error = REFUSAL
    agent.report(run, True, {"synced": False})
    return world.show(operation)


@pytest.mark.parametrize("method, last", [
    ("maintenance_start", "observe"), ("maintenance_stop", "vm_migrate"), ("host_disable", "host_disable")])
def test_the_database_is_written_once_by_the_masters_agent_after_all_was_verified(
        world: World, method: str, last: str) -> None:
    if method == "maintenance_stop":
        world.finish(world.begin("maintenance_start", host="h2"))
    operation = world.begin(method, host="h2")
    ended = world.finish(operation)
    assert ended["state"] == "succeeded" and "warnings" not in (ended["result"] or {})
    assert [task.kind for task in world.tasks(operation)][-2:] == [last, "sync_database"]
    before, after = world.tasks(operation)[-2:]
    assert (after.executor, after.state) == ("h1", "done") and (before.ended_at or 0.0) <= (after.sent_at or 0.0)
    assert (world.row(operation).ended_at or 0.0) - (before.ended_at or 0.0) <= 2.0, "the host is not held for long"


def test_what_gives_a_host_back_at_once_writes_nothing(world: World) -> None:
    world.finish(world.begin("host_disable", host="h2"))
    assert written(world, world.begin("host_enable", host="h2")) == []


def test_a_pool_of_one_host_has_nobody_to_write_to(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=1)
    world.start_pool()
    operation = world.begin("maintenance_start", host="h1")
    assert world.finish(operation)["state"] == "succeeded"
    assert [task.kind for task in world.tasks(operation)] == ["host_disable", "observe"]


@pytest.mark.parametrize("method", ["maintenance_start", "maintenance_stop", "host_disable"])
def test_a_database_that_can_not_be_written_is_a_warning_with_xapis_words(world: World, method: str) -> None:
    if method == "maintenance_stop":
        world.finish(world.begin("maintenance_start", host="h2"))
    operation = world.begin(method, host="h2")
    ended = refuse(world, operation)
    assert ended["state"] == "succeeded" and ended["error"] is None, world.story()
    (warning,) = ended["result"]["warnings"]
    assert warning["code"] == "database_not_written" and REFUSAL["message"] in warning["message"]
    assert written(world, operation) == [("h1", "failed")], "it is not tried again"
    assert ("not_home" in ended["result"]) is (method == "maintenance_stop")


def test_another_agent_of_the_pool_writes_when_the_masters_is_down(world: World) -> None:
    world.agents["h1"].is_up = False
    world.pass_time(50)
    operation = world.begin("maintenance_start", host="h2")
    assert world.finish(operation)["state"] == "succeeded"
    assert written(world, operation) == [("h2", "done")]


def test_an_order_that_nobody_is_left_to_claim_is_withdrawn_and_the_operation_ends(world: World) -> None:
    operation = world.begin("host_disable", host="h2")
    world.run(lambda: written(world, operation) == [("h1", "sent")])
    for agent in world.agents.values():
        agent.is_up = False
    before = world.clock.now()
    ended = world.finish(operation)
    assert ended["state"] == "succeeded" and written(world, operation)[0][1] == "skipped"
    assert "no agent of the pool can be asked" in ended["result"]["warnings"][0]["message"]
    assert world.clock.now() - before < 90


def test_a_pool_that_is_frozen_meanwhile_holds_no_host_that_is_done(world: World) -> None:
    operation = world.begin("host_disable", host="h2")
    world.run(lambda: written(world, operation) == [("h1", "sent")])
    world.rings.clear()
    world.agents["h1"].heard.clear()
    world.agents["h3"].sync(role="master")
    assert (world.state(operation), world.row(operation).attention) == ("running", None)
    world.agents["h1"].next_sync_at = world.clock.now() + 3600
    ended = world.finish(operation, 60.0)
    assert ended["state"] == "succeeded" and written(world, operation)[0][1] == "skipped", world.story()
    assert ended["result"]["warnings"][0]["code"] == "database_not_written"


def test_an_operation_that_is_tried_again_writes_once_all_the_same(world: World) -> None:
    world.pool.move_fails["v1"] = ["VM_LACKS_FEATURE"]
    operation = world.begin("maintenance_start", host="h2", options={"if_changed": "stop"})
    world.run(lambda: world.row(operation).attention is not None)
    world.ask("operation_retry", id=operation)
    world.run(lambda: written(world, operation) != [])
    world.start_conductor()
    assert world.finish(operation)["state"] == "succeeded", world.story()
    assert written(world, operation) == [("h1", "done")]


def test_a_host_enabled_after_it_was_seen_empty_is_disabled_and_looked_at_again(world: World) -> None:
    operation = world.begin("maintenance_start", host="h2")
    world.run(lambda: written(world, operation) == [("h1", "sent")])
    world.rings.clear()
    world.agents["h1"].heard.clear()
    world.pool.hosts["h2"].enabled = True
    world.pool.add_vm("late", "h2")
    world.clock.advance(1)
    world.agents["h1"].next_sync_at = world.clock.now() + 3600
    world.agents["h1"].sync()
    world.agents["h1"].heard.clear()
    assert [task.kind for task in world.tasks(operation)][-1] == "host_disable", world.story()
    world.agents["h1"].next_sync_at = 0.0
    ended = world.finish(operation)
    assert ended["state"] == "succeeded", world.story()
    kinds = [task.kind for task in world.tasks(operation)]
    assert kinds.count("observe") == 2 and kinds.count("sync_database") == 1
    assert world.pool.on("h2") == [] and world.pool.hosts["h2"].enabled is False

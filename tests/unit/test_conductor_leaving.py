"""Ejections that end halfway: the host stands alone, and its old pool goes on listing it."""

from pathlib import Path
from typing import Any

import pytest
from conductor_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """A pool of h1 and h2 behind aggregate 1, h2 in maintenance, and h3 alone; h2's next ejection ends halfway.

    xapi takes h2 for live a tenth of the time that it really does.
    """
    world = World(tmp_path, hosts=3, eject_limit_s=120.0)
    world.start_pool("h1", "h2")
    assert world.finish(world.begin("maintenance_start", host="h2"))["state"] == "succeeded", world.story()
    world.pool.eject_halfway["h2"] = 60.0
    return world


def remove(world: World) -> str:
    return world.begin("aggregate_remove_host", id=1, host="h2")


def members(world: World) -> dict[str, str]:
    return {member["host"]: member["state"] for member in world.ask("aggregate_show", id=1)["members"]}


def destroying(world: World, operation: str) -> None:
    """Let time pass until the record's removal is under way."""
    world.run(lambda: [task.state for task in world.tasks(operation, "host_destroy")] == ["executing"])


def is_out(world: World, ended: dict[str, Any]) -> None:
    """Say that the host has left its aggregate and its pool, and may go anywhere."""
    assert ended["state"] == "succeeded" and ended["attention"] is None, world.story()
    assert members(world) == {"h1": "member"} and world.pool.pools["pool-1"].records == ["u-h1"]
    assert (world.host("h2").wanted, world.host("h2").owner, world.pool.harm) == ("serving", None, [])
    world.pass_time(21)
    world.ask("aggregate_create", name="a2")
    assert world.finish(world.begin("aggregate_add_host", id=2, host="h2"))["state"] == "succeeded", world.story()


def test_a_host_that_was_ejected_halfway_is_out_once_its_record_was_removed(world: World) -> None:
    operation = remove(world)
    destroying(world, operation)
    world.pass_time(40)
    assert members(world)["h2"] == "leaving" and world.row(operation).attention is None
    is_out(world, world.finish(operation))
    assert [task.kind for task in world.tasks(operation)] == ["observe", "pool_eject", "host_destroy"]
    eject, destroy = world.tasks(operation)[1:]
    assert (eject.state, (eject.error or {})["code"], eject.attempt) == ("failed", "ejected_halfway", 1)
    assert (destroy.executor, destroy.attempt) == ("h1", 1)
    assert [call[1] for call in world.pool.calls if call[2] == "h2"] == ["eject"]
    assert len(world.events(operation)) < 20, "waiting fills no timeline"


def test_the_timeline_says_that_the_ejection_ended_halfway(world: World) -> None:
    operation = remove(world)
    world.finish(operation)
    (told,) = [event for event in world.events(operation) if event["event"] == "halfway"]
    assert (told["task_kind"], told["detail"]["error"]["code"]) == ("pool_eject", "ejected_halfway")


def test_conductors_and_agents_that_restart_meanwhile_lose_nothing(world: World) -> None:
    operation = remove(world)
    world.run(lambda: world.pool.calls != [])
    world.agents["h2"].restart()
    world.start_conductor()
    destroying(world, operation)
    world.start_conductor()
    world.agents["h1"].restart()
    world.pass_time(30)
    world.agents["h2"].restart()
    is_out(world, world.finish(operation))
    assert [call[1] for call in world.pool.calls if call[2] == "h2"] == ["eject"]


def test_another_agent_removes_the_record_when_the_masters_own_is_down(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=3)
    world.start_pool("h1", "h2", "h3")
    world.finish(world.begin("maintenance_start", host="h2"))
    world.pool.eject_halfway["h2"] = 60.0
    operation = remove(world)
    destroying(world, operation)
    world.agents["h1"].is_up = False
    assert world.finish(operation)["state"] == "succeeded", world.story()
    assert world.tasks(operation, "host_destroy")[0].executor == "h3"


def test_an_ejection_that_other_agents_could_not_judge_goes_back_to_the_hosts_own(world: World) -> None:
    world.agents["h2"].is_up = False
    world.pass_time(40)
    operation = remove(world)
    world.run(lambda: bool(world.pool.calls))
    eject = world.tasks(operation, "pool_eject")[0]
    assert eject.executor == "h1"
    world.agents["h2"].is_up = True
    world.agents["h2"].sync()
    is_out(world, world.finish(operation))
    assert world.tasks(operation, "pool_eject")[0].executor == "h2"


def test_what_is_left_of_an_ejection_can_not_be_called_back(world: World) -> None:
    operation = remove(world)
    world.run(lambda: bool(world.tasks(operation, "host_destroy")))
    refusal = world.refused("operation_cancel", id=operation)
    assert (refusal.code, "host_destroy" in refusal.message) == ("past_return", True)
    destroying(world, operation)
    assert world.refused("operation_cancel", id=operation).code == "past_return"
    is_out(world, world.finish(operation))


def test_a_record_that_a_person_removed_meanwhile_is_no_failure(world: World) -> None:
    operation = remove(world)
    destroying(world, operation)
    world.pool.pools["pool-1"].records.remove("u-h2")
    is_out(world, world.finish(operation, 30.0))


def test_a_record_that_stays_beyond_the_limit_needs_a_person_and_is_tried_again_when_asked(world: World) -> None:
    world.pool.eject_halfway["h2"] = 150.0
    operation = remove(world)
    world.run(lambda: world.row(operation).attention is not None)
    attention = world.row(operation).attention or {}
    assert attention["code"] == "record_left" and "HOST_IS_LIVE" in attention["message"]
    assert world.state(operation) == "running" and members(world)["h2"] == "leaving"
    world.pass_time(40)
    world.ask("operation_retry", id=operation)
    is_out(world, world.finish(operation))
    assert [task.state for task in world.tasks(operation, "host_destroy")] == ["failed", "done"]


def test_a_removal_that_failed_because_its_agent_was_away_succeeds_when_it_is_asked_again(world: World) -> None:
    world.agents["h2"].is_up = False
    world.pass_time(40)
    operation = remove(world)
    assert world.finish(operation)["state"] == "failed" and members(world)["h2"] == "member"
    world.agents["h2"].is_up = True
    world.pass_time(30)     # it serves as a fresh host, and is taken out of service again since nobody wants that
    assert world.host("h2").enabled is False
    again = remove(world)
    is_out(world, world.finish(again))
    assert [call[1] for call in world.pool.calls if call[2] == "h2"] == ["eject"]


def test_a_host_whose_record_was_removed_by_hand_can_be_taken_out_of_its_aggregate(world: World) -> None:
    world.agents["h2"].is_up = False
    world.pass_time(40)
    assert world.finish(remove(world))["state"] == "failed"
    world.pool.pools["pool-1"].records.remove("u-h2")
    world.agents["h2"].is_up = True
    world.pass_time(30)
    operation = remove(world)
    run_until_observed(world, operation)
    is_out(world, world.finish(operation))


def run_until_observed(world: World, operation: str) -> None:
    """Have the observation answered as agents do when the pool has no such host."""
    agent = world.agents["h2"]
    while world.tasks(operation, "observe")[0].state not in ("failed", "done"):
        world.run(lambda: bool(agent.running))
        (key, run), = agent.running.items()
        run.error = {"code": "host_not_in_pool", "params": [], "message": "no such host", "effect": "none"}
        agent.report(run, True, {"times": []})
        agent.running.pop(key)

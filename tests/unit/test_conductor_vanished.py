"""A joiner that vanishes when its pool lists it already: a person is told, and nothing is said that was not seen."""

from pathlib import Path

import pytest
from conductor_world import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Aggregate 1 with the pool of h1, and h2 alone, which vanishes in the middle of its next join."""
    world = World(tmp_path, hosts=2)
    world.start_pool("h1")
    world.settle()
    world.pool.join_fails["h2"] = "vanishes"
    return world


def add(world: World) -> str:
    return world.begin("aggregate_add_host", id=1, host="h2")


def come_back(world: World) -> None:
    host = world.pool.hosts["h2"]
    host.answers = host.live = host.enabled = True


def members(world: World) -> dict[str, str]:
    return {member["host"]: member["state"] for member in world.ask("aggregate_show", id=1)["members"]}


def test_a_joiner_that_vanishes_for_good_needs_a_person_who_is_told_what_was_seen(world: World) -> None:
    operation = add(world)
    world.run(lambda: world.row(operation).attention is not None)
    attention = world.row(operation).attention or {}
    assert attention["code"] == "join_unfinished" and "lists the host" in attention["message"]
    assert "it gave no answer" in attention["message"] and "abandon" in attention["message"]
    assert attention["details"]["joiner"] == "unreachable"
    assert (world.state(operation), members(world)["h2"]) == ("running", "joining")
    events = len(world.events(operation))
    world.pass_time(30)
    assert world.counts(operation).count("attention") == 1 and len(world.events(operation)) - events < 15
    world.ask("operation_abandon", id=operation, reason="its mainboard is broken")
    assert (world.state(operation), members(world)) == ("failed", {"h1": "member"})


def test_a_joiner_that_comes_back_as_a_member_ends_its_join_and_the_attention(world: World) -> None:
    operation = add(world)
    world.run(lambda: world.row(operation).attention is not None)
    world.pass_time(60)
    come_back(world)
    ended = world.finish(operation)
    assert (ended["state"], ended["attention"]) == ("succeeded", None), world.story()
    assert members(world) == {"h1": "member", "h2": "member"}
    assert [call[1] for call in world.pool.calls] == ["join"]


def test_a_join_that_the_pool_lists_is_past_return_also_between_two_attempts(world: World) -> None:
    operation = add(world)
    world.run(lambda: world.tasks(operation)[0].attempt > 1 and world.tasks(operation)[0].state == "pending")
    assert world.refused("operation_cancel", id=operation).code == "past_return"
    come_back(world)
    assert world.finish(operation)["state"] == "succeeded"


def test_a_join_of_which_nothing_is_heard_any_more_needs_a_person_when_its_time_is_up(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=2, join_limit_s=60.0)
    world.start_pool("h1")
    world.settle()
    operation = add(world)
    world.run(lambda: world.pool.calls != [])
    world.agents["h2"].is_up = False
    world.pass_time(55)
    assert world.row(operation).attention is None
    world.run(lambda: world.row(operation).attention is not None, 120.0)
    attention = world.row(operation).attention or {}
    assert (attention["code"], attention["message"].startswith("Nothing was heard")) == ("join_unfinished", True)
    world.agents["h2"].is_up = True
    assert world.finish(operation)["state"] == "succeeded", world.story()

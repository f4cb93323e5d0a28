"""The conductor's own stories on every database: a join, a drain and back, deaths at commits, and random trouble."""

import itertools
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from conductor_world import World

from common import errors

_LIMIT_S = 900.0
#: what may go wrong, and what people and agents do meanwhile
_STEPS = ["lose", "hear", "double", "deafen", "restart_agent", "crash", "drain", "drain", "stop", "cancel",
          "jump", "wait"]


@pytest.fixture
def world(tmp_path: Path, database_url: str) -> Iterator[World]:
    """Three hosts and a conductor, on each kind of database in turn."""
    one = World(tmp_path, url=database_url)
    one.pool.move_s = one.pool.join_s = 4.0
    yield one
    one.database.close()


def dying(world: World) -> Callable[[], None]:
    """Let the conductor die at a dozen commits, before them or after; return what arms it again."""
    # Always at the third one would always hit the same message; and one that never lives for long hears no silence.
    chance = random.Random(7)
    deaths = itertools.count()

    def arm() -> None:
        database = world.database
        if (database.crash_at is not None and database.commits < database.crash_at) or next(deaths) > 12:
            return
        database.before = chance.random() < 0.5
        database.crash_at = database.commits + chance.randint(1, 9)
    return arm


def finish(world: World, operation: str, before_each: Callable[[], None] = lambda: None) -> str:
    """Let time pass until the operation has ended; return its state."""
    def ended() -> bool:
        before_each()
        return world.state(operation) in ("succeeded", "cancelled", "failed")
    world.run(ended, _LIMIT_S)
    assert world.pool.harm == [], world.story()
    return world.state(operation)


def test_hosts_join_and_leave_an_aggregate(world: World) -> None:
    world.start_pool("h1")
    assert finish(world, world.begin("aggregate_add_host", id=1, host="h2")) == "succeeded"
    assert world.pool.hosts["h2"].pool == world.pool.hosts["h1"].pool
    assert finish(world, world.begin("host_disable", host="h2")) == "succeeded"
    world.pass_time(11)
    assert finish(world, world.begin("aggregate_remove_host", id=1, host="h2")) == "succeeded"
    assert world.pool.hosts["h2"].pool != world.pool.hosts["h1"].pool
    assert [member["host"] for member in world.ask("aggregate_show", id=1)["members"]] == ["h1"]


@pytest.mark.parametrize("dies", [False, True], ids=["undisturbed", "dying at commits"])
def test_a_host_is_drained_and_restored(world: World, dies: bool) -> None:
    for vm in ("v1", "v2"):
        world.pool.add_vm(vm, "h1")
    world.start_pool()
    arm = dying(world) if dies else lambda: None
    assert finish(world, world.begin("maintenance_start", host="h1"), arm) == "succeeded"
    assert world.pool.on("h1") == [] and not world.pool.hosts["h1"].enabled
    assert finish(world, world.begin("maintenance_stop", host="h1"), arm) == "succeeded"
    assert world.pool.on("h1") == ["v1", "v2"] and world.pool.hosts["h1"].enabled
    assert (world.restarts > 5) is dies
    # Each was moved once there and once back, whoever died.
    assert [len(vm.moves) for vm in world.pool.vms.values()] == [2, 2]


@pytest.mark.parametrize("seed", [1, 2])
def test_after_any_faults_every_operation_ends(world: World, seed: int) -> None:
    for number in (1, 2, 3):
        world.pool.add_vm(f"v{number}", f"h{number}")
    world.start_pool()
    chance = random.Random(seed)
    for _ in range(25):
        disturb(world, chance.choice(_STEPS), chance.choice(list(world.pool.hosts)))
        world.tick()
        assert world.pool.harm == [], world.story()
    world.loses_rings = world.doubles = False
    for agent in world.agents.values():
        agent.deaf = False
    world.run(lambda: not world.active(), _LIMIT_S, step_s=3.0)
    world.pass_time(60.0, step_s=3.0)
    assert world.pool.harm == [] and not any(agent.running for agent in world.agents.values()), world.story()
    for name, host in world.pool.hosts.items():
        assert host.enabled or world.host(name).owner is not None, f"{name} is forgotten\n{world.story()}"
    assert {vm.power for vm in world.pool.vms.values()} == {"Running"}


def disturb(world: World, what: str, name: str) -> None:
    """Do one thing; a refusal is an answer, but never one that says that we are broken."""
    agent = world.agents[name]
    held = [one["id"] for one in world.active() if one["host"] == name]
    doing: dict[str, Callable[[], object]] = {
        "lose": lambda: setattr(world, "loses_rings", True), "hear": lambda: setattr(world, "loses_rings", False),
        "double": lambda: setattr(world, "doubles", not world.doubles), "crash": world.start_conductor,
        "deafen": lambda: setattr(agent, "deaf", not agent.deaf), "restart_agent": agent.restart,
        "drain": lambda: world.ask("maintenance_start", host=name),
        "stop": lambda: world.ask("maintenance_stop", host=name), "jump": lambda: world.tick(45.0),
        "cancel": lambda: [world.ask("operation_cancel", id=one) for one in held],
        "wait": lambda: world.pass_time(10.0, 2.0)}
    try:
        doing[what]()
    except errors.Error as exc:
        assert exc.code not in ("bug", "database_unavailable", "concurrent_update"), exc


def test_of_many_who_ask_for_the_same_host_at_once_one_begins_and_the_others_are_given_his(world: World) -> None:
    world.pool.add_vm("v1", "h1")
    world.start_pool()

    def ask(number: int) -> object:
        return world.conductor.maintenance_start({"user": "ann", "idempotency_key": f"many-{number}"}, host="h1")
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(ask, range(8)))
    assert len({answer["operation"]["id"] for answer in answers}) == 1  # type: ignore[index]
    assert len(world.ask("operation_list")["operations"]) == 1
    assert finish(world, answers[0]["operation"]["id"]) == "succeeded"  # type: ignore[index]


def test_two_drains_that_are_asked_for_at_once_do_not_spend_the_same_memory(world: World) -> None:
    # Each of two hosts' VMs fits on the third alone, both together do not.
    for name in ("h1", "h2"):
        for number in range(5):
            world.pool.add_vm(f"{name}-v{number}", name, memory=4 << 30)
    world.start_pool()

    def ask(name: str) -> object:
        try:
            return world.conductor.maintenance_start({"user": "ann", "idempotency_key": f"two-{name}"}, host=name)
        except errors.Error as exc:
            return exc.code
    with ThreadPoolExecutor(2) as threads:
        list(threads.map(ask, ("h1", "h2")))
    for operation in world.active():
        finish(world, operation["id"])
    assert world.pool.harm == [], world.story()

"""A change of master that not all can be told of, and what members remember of one that came to nothing."""

import json

from agent.simulator import DirectClient, Failure, direct_world
from agent.simulator.fault_spec import Incident
from agent.simulator.spec import HostSpec, PoolSpec, WorldSpec
from agent.simulator.state import load_world, save_world


def pool() -> DirectClient:
    names = ("h1", "h2", "h3")
    world, clock = direct_world(WorldSpec(tuple(map(HostSpec, names)), (PoolSpec(names),)))
    return DirectClient(world, clock, "127.1.0.1").login()


def ref(client: DirectClient, name: str) -> str:
    return str(client("host.get_by_name_label", name)[0])


def answer_of(client: DirectClient, number: int) -> str:
    try:
        DirectClient(client.world, client.clock, f"127.1.0.{number}").login()
    except Failure as failure:
        return failure.code
    return "a session"


def broken() -> DirectClient:
    client = pool()
    client("Async.pool.designate_new_master", ref(client, "h2"))
    client.world.put_in(Incident(0, "cut", "h3"))
    client.pass_time(30)
    return client


def test_members_of_a_broken_master_are_alone() -> None:
    client = broken()
    assert (answer_of(client, 1), answer_of(client, 2)) == ("HOST_STILL_BOOTING", "HOST_BROKEN")


def test_a_broken_master_that_starts_again_is_the_master_and_has_its_members_back() -> None:
    client = broken()
    client.world.put_in(Incident(0, "kill", "h2"), Incident(0, "mend", "h3"))
    client.pass_time(120)
    assert (answer_of(client, 1), answer_of(client, 2)) == ("HOST_IS_SLAVE", "a session")


def test_one_that_was_not_told_still_points_to_the_old_master() -> None:
    client = broken()
    client.world.put_in(Incident(0, "mend", "h3"))
    client.pass_time(1)
    assert client.world.node_named("h3").master == "127.1.0.1"


def test_nobody_is_told_when_the_new_master_has_gone() -> None:
    client = pool()
    task = client("Async.pool.designate_new_master", ref(client, "h2"))
    client.world.put_in(Incident(0, "power_off", "h2"))
    client.pass_time(30)
    assert client.task(task)["error_info"] == ["CANNOT_CONTACT_HOST", ref(client, "h2")]
    assert (answer_of(client, 1), answer_of(client, 3)) == ("a session", "HOST_IS_SLAVE")


def test_a_saved_world_remembers_what_its_members_agreed_to() -> None:
    client = pool()
    client("Async.pool.designate_new_master", ref(client, "h2"))
    client.world.put_in(Incident(0, "kill", "h1"))
    client.pass_time(20)
    loaded = load_world(json.loads(json.dumps(save_world(client.world))), client.clock)
    client = DirectClient(loaded, client.clock, "127.1.0.1").login()
    task = client.task(client("Async.pool.designate_new_master", ref(client, "h3")))
    assert task["error_info"][0] == "HA_ABORT_NEW_MASTER"

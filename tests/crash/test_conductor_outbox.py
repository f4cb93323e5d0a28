"""Orders and reports on a bad wire: doorbells lost, claims doubled, late and forged, agents silent and replaced."""

from pathlib import Path

import pytest
from conductor_agent import Running
from conductor_world import World

from conductor.db import operations
from conductor.operations.engine import Transaction


@pytest.fixture
def world(tmp_path: Path) -> World:
    """Three hosts in one pool, one VM on h1, a drain of h1 whose first doorbell has been rung."""
    world = World(tmp_path)
    world.pool.add_vm("v1", "h1")
    world.start_pool()
    world.begin("maintenance_start", host="h1")
    return world


def the(world: World) -> str:
    return str(world.active()[0]["id"])


def first_order(world: World) -> tuple[str, int]:
    (executor, task, attempt), = world.rings
    assert executor == "h1"
    world.rings.clear()
    return task, attempt


def claimed(world: World, name: str = "h1") -> Running:
    """Return the first order, claimed by its agent."""
    order = first_order(world)
    assert world.agents[name].claim(*order) == "yours"
    return world.agents[name].running[order]


def test_a_lost_doorbell_is_rung_again_after_2_5_10_and_30_seconds(world: World) -> None:
    began = world.clock.now()
    world.rings.clear()
    rung = []
    for _ in range(90):
        world.clock.advance(1)
        world.agents["h1"].world.tell("sync", sync=world.agents["h2"].message())
        world.sweep()
        if world.rings:
            rung.append(round(world.clock.now() - began))
            world.rings.clear()
    assert rung == [2, 7, 17, 47, 77]


def test_a_sync_hands_out_waiting_orders(world: World) -> None:
    task, attempt = first_order(world)
    answer = world.agents["h1"].sync()
    assert answer["orders"] == [{"task": task, "attempt": attempt}]
    assert world.agents["h2"].sync()["orders"] == []


def test_a_claim_returns_the_order_and_a_doubled_one_returns_it_again(world: World) -> None:
    order = claimed(world).order
    assert (order["kind"], order["host"], order["executor"], order["epoch"]) == ("host_disable", "h1", "h1", 1)
    assert order["members"] == {"u-h1": "10.0.0.1", "u-h2": "10.0.0.2", "u-h3": "10.0.0.3"}
    assert world.agents["h1"].claim(order["task"], 1) == "yours"
    assert world.counts(the(world)).count("claimed") == 1


def test_late_and_forged_claims_are_stale(world: World) -> None:
    run = claimed(world)
    agent = world.agents["h1"]
    assert agent.claim("forged", 1) == "stale"
    assert agent.claim(run.order["task"], 2) == "stale"
    assert world.agents["h2"].claim(run.order["task"], 1) == "stale"
    agent.report(run, True, agent._host_disable(run))
    assert agent.claim(run.order["task"], 1) == "stale"


def test_a_pending_order_is_not_yet_to_be_had(world: World) -> None:
    move = world.tasks(the(world), "vm_migrate")[0]
    assert world.agents["h1"].claim(move.id, 1) == "not_yet"


def test_a_claim_by_an_older_process_is_superseded_and_one_never_seen_is_stale(world: World) -> None:
    order = first_order(world)
    agent = world.agents["h1"]
    old = agent.incarnation
    agent.restart()
    assert agent.claim(*order) == "stale"
    agent.sync()
    agent.incarnation, new = old, agent.incarnation
    assert agent.claim(*order) == "superseded"
    assert agent.sync()["superseded"]
    agent.incarnation = new
    assert agent.claim(*order) == "yours"


def test_reports_of_others_and_of_other_attempts_are_ignored(world: World) -> None:
    run = claimed(world)
    agent, other = world.agents["h1"], world.agents["h2"]
    readings = {"enabled": False, "live": True, "mark": run.order["args"]["mark"]}
    assert not other.report(run, True, readings)
    run.order["attempt"] = 7
    assert not agent.report(run, True, readings)
    run.order["attempt"] = 1
    incarnation, agent.incarnation = agent.incarnation, "older"
    assert not agent.report(run, True, readings)
    agent.incarnation = incarnation
    assert world.tasks(the(world), "host_disable")[0].state == "executing"
    agent.report(run, True, readings)
    assert world.tasks(the(world), "host_disable")[0].state == "done"
    before = world.counts(the(world))
    agent.report(run, True, readings)
    assert world.counts(the(world)) == before


def test_a_silent_claimant_becomes_unknown_and_never_failed(world: World) -> None:
    claimed(world)
    for agent in world.agents.values():
        agent.is_up = False
    world.pass_time(600, step_s=5)
    assert world.tasks(the(world), "host_disable")[0].state == "unknown"
    assert world.state(the(world)) == "running"


def test_silence_counts_only_from_when_the_conductor_could_hear(world: World) -> None:
    claimed(world)
    world.clock.advance(300)
    world.start_conductor()
    world.sweep()
    world.clock.advance(59)  # three heartbeats of grace, and the silence itself
    world.sweep()
    assert world.tasks(the(world), "host_disable")[0].state == "executing"
    world.clock.advance(2)
    world.sweep()
    assert world.tasks(the(world), "host_disable")[0].state == "unknown"


def test_a_refused_request_is_no_outage_and_makes_no_dead_agent_look_alive(world: World) -> None:
    for agent in world.agents.values():
        agent.is_up = False
    world.pass_time(60)
    for _ in range(2):
        assert world.refused("maintenance_start", host="h2").code == "agent_down"
    assert world.ask("host_show", host="h2")["agent"] == "down"


def test_a_new_process_gets_its_predecessors_task_with_the_session_to_fence(world: World) -> None:
    run = claimed(world)
    agent = world.agents["h1"]
    agent.restart()
    answer = agent.sync()
    assert answer["orders"] == [{"task": run.order["task"], "attempt": 1}]
    assert world.tasks(the(world), "host_disable")[0].state == "unknown"
    assert agent.claim(run.order["task"], 1) == "yours"
    assert agent.running[run.order["task"], 1].order["fence"] == [run.session]


def test_a_successor_has_nothing_to_fence_of_tasks_that_have_ended(world: World) -> None:
    def unfenced(tx: Transaction) -> list[str]:
        return operations.unfenced_sessions(tx.session, "h1", "a successor", "no task")

    run = claimed(world)
    assert world.engine.run(unfenced) == [run.session]
    world.finish(the(world))
    assert world.engine.run(unfenced) == []


def test_no_failure_is_believed_before_the_predecessor_is_fenced(world: World) -> None:
    operation, run = the(world), claimed(world)
    agent = world.agents["h1"]
    agent.restart()
    agent.sync()
    agent.claim(run.order["task"], 1)
    second = agent.running.pop((run.order["task"], 1))
    second.fenced = []
    second.error = {"code": "HOST_DISABLED", "message": "no", "params": [], "effect": "none"}
    agent.report(second, True, {"enabled": True, "live": True, "mark": None})
    task = world.tasks(operation, "host_disable")[0]
    assert (task.state, task.attempt) == ("unknown", 1)
    assert agent.claim(*(run.order["task"], 1)) == "not_yet"
    world.clock.advance(3)
    assert agent.claim(*(run.order["task"], 1)) == "yours"
    third = agent.running.pop((run.order["task"], 1))
    assert run.session in third.order["fence"]
    third.error = second.error
    agent.report(third, True, {"enabled": True, "live": True, "mark": None})
    assert world.tasks(operation, "host_disable")[0].state == "failed"


def test_an_effect_is_believed_at_once(world: World) -> None:
    run = claimed(world)
    agent = world.agents["h1"]
    agent.restart()
    agent.sync()
    agent.claim(run.order["task"], 1)
    second = agent.running[run.order["task"], 1]
    second.fenced = []
    agent.report(second, True, agent._host_disable(second))
    assert world.tasks(the(world), "host_disable")[0].state == "done"


def test_another_agent_of_the_pool_takes_over_when_the_executor_is_down(world: World) -> None:
    run = claimed(world)
    world.agents["h1"].is_up = False
    operation = the(world)
    shown = world.finish(operation)
    assert shown["state"] == "succeeded", world.story()
    task = world.tasks(operation, "host_disable")[0]
    assert task.executor in ("h2", "h3")
    assert task.id == run.order["task"]
    assert world.pool.on("h1") == []


def test_an_agent_that_does_not_reach_its_hypervisor_is_passed_over(world: World) -> None:
    world.agents["h1"].sync(trouble={"code": "unavailable", "message": "timed out"})
    world.agents["h1"].deaf = True
    world.pass_time(5)
    assert world.tasks(the(world), "host_disable")[0].executor in ("h2", "h3")


def test_a_join_is_never_carried_out_by_another_agent(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=3)
    world.start_pool("h1", "h2")
    operation = world.begin("aggregate_add_host", id=1, host="h3")
    world.agents["h3"].is_up = False
    world.pass_time(120)
    assert [task.executor for task in world.tasks(operation, "pool_join")] == ["h3"]
    assert world.tasks(operation)[0].state in ("sent", "pending")
    world.agents["h3"].is_up = True
    assert world.finish(operation)["state"] == "succeeded", world.story()


def test_an_agent_is_told_to_drop_what_was_given_up(world: World) -> None:
    run = claimed(world)
    world.ask("operation_abandon", id=the(world), reason="never mind")
    assert world.agents["h1"].sync()["dropped"] == [run.order["task"]]


def test_every_message_delivered_again_in_any_order_changes_nothing(world: World) -> None:
    operation = the(world)
    world.finish(operation)
    before = (world.events(operation), world.show(operation), world.host("h1").epoch, world.host("h1").owner)
    told = list(world.told)
    assert len([method for method, _ in told if method != "sync"]) > 5
    for method, said in [*told, *reversed(told)]:
        world.repeat(method, said)
    world.pass_time(30)
    assert (world.events(operation), world.show(operation), world.host("h1").epoch, world.host("h1").owner) == before
    assert [call[1] for call in world.pool.calls] == ["migrate"]


def test_an_operation_that_can_not_be_advanced_stops_no_other_and_is_looked_at_again_later(tmp_path: Path) -> None:
    world = World(tmp_path, hosts=3)
    world.pool.add_vm("v1", "h1")
    world.start_pool()
    broken, sound = world.begin("host_disable", host="h2"), world.begin("maintenance_start", host="h1")

    def break_it(tx: Transaction) -> None:
        operations.get(tx.session, broken).kind = "no_such_kind"
        operations.tasks(tx.session, broken)[0].executor = "nobody"
    world.engine.run(break_it)
    world.rings.clear()
    assert world.finish(sound)["state"] == "succeeded", world.story()
    assert world.row(broken).wake_at > world.clock.now()  # type: ignore[operator]


def test_the_events_of_an_operation_are_numbered_in_the_order_of_their_times(world: World) -> None:
    operation = the(world)
    world.finish(operation)
    events = world.events(operation)
    assert [event["n"] for event in events] == list(range(1, len(events) + 1))
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert all(event["why"] and not event["why"].endswith(".") for event in events)

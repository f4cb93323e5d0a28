"""Several requests at once, asked twice, taken back, contradicting; and plans that were approved."""

from pathlib import Path

from allinone_world import GIB, House, guest, pool_world, until


def test_two_drains_at_once_share_the_hosts_that_are_left(tmp_path: Path) -> None:
    vms = [guest(f"vm{number}", f"h{2 + number % 2}", 2) for number in range(8)]
    with House(tmp_path, pool_world(4, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2", "h3", "h4")
        first, second = [corral.begin(f"host-update --maintenance enable {host}") for host in ("h2", "h3")]
        corral.ended(first)
        corral.ended(second)
        running = house.pool().running()
        assert set(running) <= {"h1", "h4"} and sum(map(len, running.values())) == 8
        assert house.pool().serving() == ["h1", "h4"] and not house.stopped
        assert all(len(way) <= 3 for way in house.ways.values()), house.ways


def test_a_drain_asked_twice_is_one_and_taken_back_in_the_middle_leaves_moved_vms(tmp_path: Path) -> None:
    vms = [guest(f"vm{number}", "h2", 4) for number in range(9)]
    with House(tmp_path, pool_world(3, vms, memory=64 * GIB), speed=15) as house:
        corral = house.corral
        corral.adopt("h1", "h2", "h3")
        operation = corral.begin("host-update --maintenance enable h2")
        assert corral.begin("host-update --maintenance enable h2") == operation
        assert corral.run("host-update --status enable h2") == 3 and operation in corral.err
        assert corral.run("aggregate-remove-host 1 h2") == 3 and "host_busy" in corral.err
        assert corral.run("aggregate-delete 1") == 3

        corral.moves_done(operation, 1)
        assert corral.begin("host-update --maintenance disable h2") == operation
        end = corral.ended(operation, "cancelled")
        moved = {move["vm_name"] for move in end["moves"] if move["state"] == "done"}
        pool = house.pool()
        assert pool.enabled("h2") and corral.host("h2")["state"] == "serving"
        assert 0 < len(moved) < 9 and set(pool.running()["h2"]) == set(house.ways) - moved
        assert not house.stopped and all(len(way) <= 2 for way in house.ways.values())

        again = corral.begin("host-update --maintenance enable h2")
        corral.reached(again, lambda one: one["progress"]["moves_in_flight"])
        assert corral.run(f"operation-cancel {again}") == 0
        corral.ended(again, "cancelled")
        assert house.pool().enabled("h2") and corral.host("h2")["owner"] is None and not house.stopped
        assert corral.run(f"operation-cancel {again}") == 3 and "not_allowed_now" in corral.err


def test_an_approved_plan_is_run_as_it_was_shown_or_refused_when_it_is_not_true_any_more(tmp_path: Path) -> None:
    vms = [*[guest(f"vm{number}", "h2") for number in range(4)], {**guest("late", "h2"), "state": "halted"}]
    with House(tmp_path, pool_world(3, vms)) as house:
        corral, drain = house.corral, "host-update --maintenance enable h2"
        corral.adopt("h1", "h2", "h3")
        plan, old = [corral.ask(f"{drain} --dry-run") for _ in range(2)]
        assert corral.host("h2")["state"] == "serving" and house.calls("host.disable") == []
        corral.ended(corral.begin(f"{drain} --plan {plan['id']}"))
        shown = {move["vm_name"]: move["destination"] for move in plan["moves"]}
        assert {vm: way[-1] for vm, way in house.ways.items()} == shown and len(shown) == 4
        corral.ask("host-update --maintenance disable h2 --wait")
        assert corral.run(f"{drain} --plan {plan['id']}") == 3 and "plan_used" in corral.err
        assert corral.run(f"host-update --maintenance enable h1 --plan {old['id']}") == 2

        house.start_on("late", "h2")
        until("Corral has seen it", lambda: corral.host("h2")["vms"] == 5)
        assert corral.run(f"{drain} --plan {old['id']}") == 3
        assert "plan_changed" in corral.err and "late" in corral.err
        assert corral.client.get("v1", "operations", host="h2", active="true")["operations"] == []
        assert house.pool().enabled("h2") and len(house.on("h2")) == 5
        told = corral.ask(f"{drain} --plan {old['id']} --if-changed replan --wait")
        assert told["operation_state"] == "succeeded" and house.on("h2") == [] and not house.stopped

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


def test_a_request_asked_twice_is_one_and_a_contradiction_is_refused(tmp_path: Path) -> None:
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


def test_a_cancel_in_the_middle_gives_the_host_back_and_leaves_moved_vms(tmp_path: Path) -> None:
    vms = [guest(f"vm{number}", "h2", 4) for number in range(9)]
    with House(tmp_path, pool_world(3, vms, memory=64 * GIB), speed=15) as house:
        corral = house.corral
        corral.adopt("h1", "h2", "h3")
        operation = corral.begin("host-update --maintenance enable h2")
        corral.moves_done(operation, 1)
        assert corral.run(f"operation-cancel {operation}") == 0
        corral.ended(operation, "cancelled")
        pool = house.pool()
        assert pool.enabled("h2") and 0 < len(pool.running()["h2"]) < 9 and not house.stopped
        assert corral.run(f"operation-cancel {operation}") == 3 and "not_allowed_now" in corral.err
        assert corral.host("h2")["owner"] is None


def test_an_approved_plan_is_run_as_it_was_shown(tmp_path: Path) -> None:
    vms = [guest(f"vm{number}", "h2") for number in range(4)]
    with House(tmp_path, pool_world(3, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2", "h3")
        plan = corral.ask("host-update --maintenance enable h2 --dry-run")
        assert corral.host("h2")["state"] == "serving" and house.calls("host.disable") == []
        operation = corral.begin(f"host-update --maintenance enable h2 --plan {plan['id']}")
        corral.ended(operation)
        shown = {move["vm_name"]: move["destination"] for move in plan["moves"]}
        assert {vm: way[-1] for vm, way in house.ways.items()} == shown and len(shown) == 4
        corral.ask("host-update --maintenance disable h2 --wait")
        assert corral.run(f"host-update --maintenance enable h2 --plan {plan['id']}") == 3
        assert "plan_used" in corral.err
        assert corral.run(f"host-update --maintenance enable h1 --plan {plan['id']}") == 2


def test_an_approved_plan_that_is_not_true_any_more_is_refused(tmp_path: Path) -> None:
    vms = [guest("planned", "h2"), {**guest("late", "h2"), "state": "halted"}]
    with House(tmp_path, pool_world(2, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        plan = corral.ask("host-update --maintenance enable h2 --dry-run")["id"]
        house.start_on("late", "h2")
        until("Corral has seen it", lambda: corral.host("h2")["vms"] == 2)
        assert corral.run(f"host-update --maintenance enable h2 --plan {plan}") == 3
        assert "plan_changed" in corral.err and "late" in corral.err
        assert corral.client.get("v1", "operations", host="h2", active="true")["operations"] == []
        assert house.pool().enabled("h2") and house.on("h1") == []
        told = corral.ask(f"host-update --maintenance enable h2 --plan {plan} --if-changed replan --wait")
        assert told["operation_state"] == "succeeded" and house.on("h1") == ["late", "planned"]

"""Drains that do not fit, VMs that can't move, and what a person does about them."""

from pathlib import Path

from allinone_world import House, guest, pool_world, until


def test_a_drain_that_does_not_fit_names_every_vm_and_stores_nothing(tmp_path: Path) -> None:
    vms = [guest(f"full{number}", host, 13) for number, host in enumerate(("h1", "h3"))]
    vms += [guest(f"vm{number}", "h2", 4) for number in range(3)]
    with House(tmp_path, pool_world(3, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2", "h3")
        assert corral.run("host-update --maintenance enable h2 --wait") == 3
        for vm in ("vm0", "vm1", "vm2"):
            assert f"VM {vm}" in corral.err
        assert corral.err.count("help: ") >= 3 and "what would help" in corral.err and "(no_plan)" in corral.err
        assert corral.client.get("v1", "operations", host="h2", active="true")["operations"] == []
        assert (corral.host("h2")["state"], corral.host("h2")["wanted"]) == ("serving", "serving")
        assert house.pool().serving() == ["h1", "h2", "h3"] and house.calls("host.disable") == []


def test_vms_that_can_not_move_are_all_named_and_a_partial_drain_waits_for_them(tmp_path: Path) -> None:
    vms = [guest("free", "h2"), guest("kept", "h2", blocked_operations={"pool_migrate": "ask-the-owner"}),
           guest("pinned", "h2", blockers=["pci"]), guest("toolless", "h2", blockers=["no_tools"]),
           guest("fixed", "h2", disks=["local"])]
    with House(tmp_path, pool_world(2, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        assert corral.run("host-update --maintenance enable h2") == 3
        for text in ("VM kept", "ask-the-owner", "OPERATION_BLOCKED", "VM pinned", "VM_HAS_PCI_ATTACHED",
                     "VM toolless", "VM_LACKS_FEATURE", "VM fixed"):
            assert text in corral.err, corral.err
        assert corral.err.count("help: ") >= 4 and "VM free" not in corral.err

        assert corral.run("host-update --maintenance enable h2 --allow-partial --wait") == 6
        assert "These stay:" in corral.out and "left_behind" in corral.err
        operation = corral.client.get("v1", "operations", host="h2", active="true")["operations"][0]["id"]
        assert house.on("h1") == ["free"] and not house.pool().enabled("h2")

        pool = house.pool()
        vms_there = pool.vms()
        pool.api.VM.remove_from_blocked_operations(vms_there["kept"]["ref"], "pool_migrate")
        for vm in ("pinned", "toolless", "fixed"):
            pool.api.VM.hard_shutdown(vms_there[vm]["ref"])
        until("Corral has seen it", lambda: corral.host("h2")["vms"] == 1 and not any(
            vm["hindrances"] for vm in corral.client.get("v1", "hosts", "h2", "vms")["vms"]))
        assert corral.run(f"operation-retry {operation}") == 0
        corral.ended(operation)
        assert house.on("h1") == ["free", "kept"] and house.on("h2") == []
        assert corral.host("h2")["state"] == "in_maintenance"


def test_a_vm_that_is_blocked_after_the_plan_stops_the_drain_until_it_is_freed(tmp_path: Path) -> None:
    vms = [guest("free", "h2"), guest("late", "h2")]
    with House(tmp_path, pool_world(2, vms)) as house:
        corral = house.corral
        corral.adopt("h1", "h2")
        with house.simulator.lock:
            house.simulator.world.delay_next("host.disable", 60)
        operation = corral.begin("host-update --maintenance enable h2")
        pool = house.pool()
        late = pool.vms()["late"]["ref"]
        pool.api.VM.add_to_blocked_operations(late, "pool_migrate", "not now")
        stuck = corral.reached(operation, lambda one: one["attention"])
        assert stuck["attention"]["code"] in ("no_plan", "plan_changed") and "late" in stuck["attention"]["message"]
        pool.api.VM.remove_from_blocked_operations(late, "pool_migrate")
        until("Corral has seen it", lambda: not any(
            vm["hindrances"] for vm in corral.client.get("v1", "hosts", "h2", "vms")["vms"]))
        # On a busy machine Corral may just have planned again by itself; then nothing waits for anybody.
        assert corral.run(f"operation-retry {operation}") == 0 or not corral.operation(operation)["attention"]
        corral.ended(operation)
        assert house.on("h1") == ["free", "late"] and not house.stopped

"""A host whose ejection ends halfway: it stands alone, and its old pool goes on listing it for ten minutes."""

from pathlib import Path

from allinone_world import Parts, guest, pool_world, until

from agent.simulator.fault_spec import EjectFault


def test_a_host_that_was_ejected_halfway_leaves_its_aggregate_and_can_be_added_to_another(tmp_path: Path) -> None:
    world = {**pool_world(2, [guest("vm", "h1")], reboot_s=20),
             "hosts": [{"name": name, "reboot_s": 20} for name in ("h1", "h2", "h3", "h4")]}
    with Parts(tmp_path, world, "h1", "h2", "h3", "h4", speed=60) as parts:
        corral = parts.corral
        corral.adopt("h1")
        corral.ask("aggregate-add-host 1 h3 --wait")
        until("h3 serves", lambda: corral.host("h3")["state"] == "serving")
        corral.ask("host-update --maintenance enable h3 --wait")
        with parts.simulator.lock:
            parts.simulator.world.put_in(EjectFault("role", ("INTERNAL_ERROR", "the fuse was lit"), host="h3"))

        operation = corral.begin("aggregate-remove-host 1 h3")
        corral.reached(operation, lambda one: [task["kind"] for task in one["tasks"]][-1:] == ["host_destroy"])
        assert corral.run(f"operation-cancel {operation}") == 3 and "past_return" in corral.err
        assert corral.ask("aggregate-details 1")["hosts"] == ["h1", "h3"] and "h3" in parts.pool().members()
        assert corral.run("aggregate-add-host 1 h3") == 3, "it is on its way out"

        ended = corral.ended(operation)
        assert ended["attention"] is None and "It ended halfway" in corral.story(operation)
        assert corral.ask("aggregate-details 1")["hosts"] == ["h1"]
        assert parts.pool().members() == ["h1", "h2"] and len(parts.calls("pool.eject")) == 1

        corral.ask("aggregate-create rack2 zone1")
        corral.ask("aggregate-add-host 2 h4 --wait")
        until("h3 may be added", lambda: corral.host("h3")["state"] == "serving" and not corral.host("h3")["trouble"])
        corral.ask("aggregate-add-host 2 h3 --wait")
        assert sorted(corral.ask("aggregate-details 2")["hosts"]) == ["h3", "h4"]
        assert parts.pool("h4").members() == ["h3", "h4"] and not parts.stopped

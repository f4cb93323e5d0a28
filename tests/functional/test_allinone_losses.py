"""A master that dies suddenly and has forgotten what Corral wrote last."""

from pathlib import Path

from allinone_world import GIB, Parts, guest, pool_world, until

from agent.simulator.fault_spec import CallFault, Incident


def kill_master(world: Parts) -> None:
    """Kill the toolstack of h1, so that it forgets what was not written yet."""
    with world.simulator.lock:
        world.simulator.world.put_in(Incident(0, "crash", "h1", loses=True))
        world.simulator.lock.notify_all()


def test_a_host_in_maintenance_whose_flag_and_mark_were_lost_is_taken_out_of_service_again(tmp_path: Path) -> None:
    with Parts(tmp_path, pool_world(3, [guest("vm", "h3", 4)], memory=32 * GIB), "h1", "h2", "h3", speed=40) as world:
        corral = world.corral
        corral.adopt("h1", "h2", "h3")
        with world.simulator.lock:
            world.simulator.world.put_in(CallFault("pool.sync_database", "error", error=("CANNOT_CONTACT_HOST", "h3")))
        first = corral.begin("host-update --maintenance enable h2")
        (warning,) = corral.ended(first)["result"]["warnings"]
        assert warning["code"] == "database_not_written" and "CANNOT_CONTACT_HOST (h3)" in warning["message"]
        assert corral.run(f"operation-watch {first}") == 0 and "warning: The pool's database" in corral.out + corral.err
        assert not world.pool().enabled("h2")
        kill_master(world)

        def mended() -> list[str]:
            found = corral.client.get("v1", "operations", host="h2")["operations"]
            return [one["id"] for one in found if one["kind"] == "host_disable" and one["state"] == "succeeded"]

        until("the loss is mended", mended)
        assert not world.pool().enabled("h2")
        until("it is in maintenance", lambda: corral.host("h2")["state"] == "in_maintenance")
        assert not world.stopped and world.on("h3") == ["vm"]


def test_what_a_drain_did_outlives_the_sudden_death_of_the_master(tmp_path: Path) -> None:
    with Parts(tmp_path, pool_world(3, [guest("vm", "h2", 4)], memory=32 * GIB), "h1", "h2", "h3", speed=40) as world:
        corral = world.corral
        corral.adopt("h1", "h2", "h3")
        ended = corral.ended(corral.begin("host-update --maintenance enable h2"))
        assert ended["result"] is None and ended["tasks"][-1]["kind"] == "sync_database"
        (at,) = (host for host in ("h1", "h3") if world.on(host) == ["vm"])
        kill_master(world)
        until("its death is seen", lambda: corral.host("h1")["trouble"])
        until("it is back", lambda: not corral.host("h1")["trouble"] and corral.host("h1")["state"] == "serving")
        assert world.pool().serving() == ["h1", "h3"]
        assert world.on(at) == ["vm"] and not world.stopped
        assert corral.host("h2")["state"] == "in_maintenance"
        found = corral.client.get("v1", "operations", host="h2")["operations"]
        assert not [one for one in found if one["kind"] == "host_disable"], "there was nothing to be mended"

"""A master that dies suddenly and has forgotten what Corral wrote last."""

from pathlib import Path

from allinone_world import GIB, Parts, guest, pool_world, until

from agent.simulator.fault_spec import Incident


def test_a_host_in_maintenance_whose_flag_and_mark_were_lost_is_taken_out_of_service_again(tmp_path: Path) -> None:
    with Parts(tmp_path, pool_world(3, [guest("vm", "h3", 4)], memory=32 * GIB), "h1", "h2", "h3", speed=40) as world:
        corral = world.corral
        corral.adopt("h1", "h2", "h3")
        first = corral.begin("host-update --maintenance enable h2")
        corral.ended(first)
        assert not world.pool().enabled("h2")
        with world.simulator.lock:
            world.simulator.world.put_in(Incident(0, "crash", "h1", loses=True))
            world.simulator.lock.notify_all()

        def mended() -> list[str]:
            found = corral.client.get("v1", "operations", host="h2")["operations"]
            return [one["id"] for one in found if one["kind"] == "host_disable" and one["state"] == "succeeded"]

        until("the loss is mended", mended)
        assert not world.pool().enabled("h2")
        until("it is in maintenance", lambda: corral.host("h2")["state"] == "in_maintenance")
        assert not world.stopped and world.on("h3") == ["vm"]

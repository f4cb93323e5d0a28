"""Pools that were there before, and hosts that come and go."""

from pathlib import Path

from allinone_world import House, guest, pool_world, until

from tools.independent import stands_alone


def test_an_existing_pool_is_adopted_host_by_host_and_left_as_it_is(tmp_path: Path) -> None:
    vms = [guest(f"vm{number}", f"h{1 + number % 3}") for number in range(6)]
    with House(tmp_path, pool_world(3, vms)) as house:
        corral = house.corral
        before = house.pool().running()
        corral.adopt("h1")
        assert corral.ask("aggregate-details 1")["hosts"] == ["h1"]
        until("h2 and h3 are enrolled", lambda: len(corral.hosts()) == 3)
        assert [corral.host(name)["aggregate"] for name in ("h2", "h3")] == [None, None]

        assert corral.run("host-update --maintenance enable h1") == 3
        assert "vm0" in corral.err and "vm3" in corral.err and "help: corral aggregate-add-host" in corral.err
        assert corral.client.get("v1", "operations", host="h1", active="true")["operations"] == []
        assert (house.pool().enabled("h1"), house.pool().running()) == (True, before)

        corral.ask("aggregate-add-host 1 h2 --wait")
        corral.ask("host-update --maintenance enable h1 --wait")
        after = house.pool().running()
        assert after == {"h2": sorted(before["h1"] + before["h2"]), "h3": before["h3"]}

        corral.ask("aggregate-remove-host 1 h1 --wait")
        assert corral.ask("aggregate-details 1")["hosts"] == ["h2"]
        pool = house.pool()
        assert (pool.name(), pool.members(), pool.master()) == ("old-name", ["h1", "h2", "h3"], "h1")
        for method in ("pool.join", "pool.eject", "pool.set_name_label"):
            assert house.calls(method) == [], method
        assert not house.stopped


def test_a_host_is_removed_only_in_maintenance_and_comes_back_by_a_new_join(tmp_path: Path) -> None:
    hosts = {"hosts": [{"name": name, "tls_verification": True, "reboot_s": 30} for name in ("h1", "h2", "h3")]}
    with House(tmp_path, hosts) as house:
        corral = house.corral
        corral.adopt("h1", "h2", "h3")
        assert corral.run("aggregate-remove-host 1 h3") == 3 and "host_still_serving" in corral.err
        assert house.pool().members() == ["h1", "h2", "h3"] and house.calls("pool.eject") == []
        corral.ask("host-update --maintenance enable h1 --wait")
        assert corral.run("aggregate-remove-host 1 h1") == 3 and "master_leaves_last" in corral.err
        corral.ask("host-update --maintenance disable h1 --wait")

        corral.ask("host-update --maintenance enable h3 --wait")
        corral.ask("aggregate-remove-host 1 h3 --wait")
        assert house.pool().members() == ["h1", "h2"]
        until("h3 stands alone", lambda: stands_alone(house.url("h3"), *house.simulator.login))
        until("h3 may be added", lambda: corral.host("h3")["role"] == "standalone" and not corral.host("h3")["trouble"])
        corral.ask("aggregate-add-host 1 h3 --wait")
        pool = house.pool("h3")
        assert pool.url == house.url("h1") and pool.members() == pool.serving() == ["h1", "h2", "h3"]
        assert pool.name() == "rack1"
        until("h3 serves again", lambda: corral.host("h3")["state"] == "serving")

"""The rarer orders, by whole agents against simulated hosts."""

import dataclasses

from agent_desk import DEADLINE_S, addresses, calls, hypervisor, pooled_spec, simulated
from agent_office import office, running_vm, session_members

from agent.simulator import default_spec
from agent.simulator.spec import HostSpec, VmSpec


def test_a_halted_vm_is_started_where_the_order_says() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        at.agent("h1")
        _, master = running_vm(simulator, "v0")
        destination = next(uuid for uuid in session_members(simulator) if uuid != master)
        with simulator.lock:
            vm = next(
                str(row["uuid"])
                for pool in simulator.world.pools.values()
                for row in pool.rows["VM"].values()
                if row["name_label"] == "halted"
            )
        order = at.desk.order("vm_start", "h1", destination, {"vm": vm, "destination": destination})
        report = at.desk.settled(at.ring(order))
        assert report.error is None and report.readings["vm"]["power_state"] == "Running"
        assert report.readings["vm"]["resident_on"] == destination and report.readings["task"] == "success"


def test_a_live_host_is_not_destroyed_and_the_refusal_is_passed_on() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        at.agent("h1")
        _, master = running_vm(simulator, "v0")
        other = next(uuid for uuid in session_members(simulator) if uuid != master)
        report = at.desk.settled(at.ring(at.desk.order("host_destroy", "h1", other, limit_s=1.0)))
        assert report.error is not None and report.error["code"] == "HOST_IS_LIVE"
        assert report.readings == {"on_master": True}


def test_an_order_about_an_unknown_host_says_so() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        at.agent("h1")
        unknown = "00000000-0000-0000-0000-000000000000"
        report = at.desk.settled(at.ring(at.desk.order("host_disable", "h1", unknown, {"mark": "op"})))
        assert report.error is not None and report.error["code"] == "host_not_in_pool" and report.readings == {}


def test_a_joiner_without_tls_verification_gets_it_where_the_pool_verifies() -> None:
    spec = dataclasses.replace(
        default_spec(hosts=2, vms=0), hosts=(HostSpec("h1", tls_verification=True), HostSpec("h2"))
    )
    with simulated(spec, speed=60) as simulator, office(simulator) as at:
        at.agent("h2")
        here = at.seen("h2", lambda sync: sync.role == "standalone")
        args = {"master_uuid": "?", "master_address": addresses(simulator)["h1"]}
        report = at.desk.settled(at.ring(at.desk.order("pool_join", "h2", str(here.host_uuid), args)))
        assert report.error is None and report.readings["enabled"]
        assert calls(simulator, "pool.enable_tls_verification") == 1


def test_all_objections_to_a_join_come_back_at_once_and_nothing_is_touched() -> None:
    spec = default_spec(hosts=2, vms=0)
    guest = VmSpec("busy", "h2", state="running")
    hosts = (HostSpec("h1"), HostSpec("h2", cpu_vendor="AuthenticAMD", shared_sr=True))
    with (
        simulated(dataclasses.replace(spec, hosts=hosts, vms=(guest,)), speed=60) as simulator,
        office(simulator) as at,
    ):
        at.agent("h2")
        here = at.seen("h2", lambda sync: sync.role == "standalone")
        args = {"master_uuid": "?", "master_address": addresses(simulator)["h1"]}
        report = at.desk.settled(at.ring(at.desk.order("pool_join", "h2", str(here.host_uuid), args)))
        assert report.error is not None and report.error["code"] == "JOIN_CHECKS_FAILED"
        assert sorted(report.error["params"]) == [
            "HOSTS_NOT_HOMOGENEOUS",
            "JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS",
            "JOINING_HOST_CANNOT_HAVE_RUNNING_VMS",
        ]
        assert [found["code"] for found in report.error["details"]] == report.error["params"]
        assert report.readings["joiner"] == "standalone" and report.readings["on_master"] is False
        assert calls(simulator, "Async.pool.join") == calls(simulator, "task.create") == 0


def test_an_ejected_host_s_agent_reads_the_old_pool_and_not_its_own() -> None:
    with simulated(pooled_spec(), speed=60) as simulator, office(simulator) as at:
        master, slave = hypervisor(simulator, "h1"), addresses(simulator)
        pool = str(master.locate().pool)
        session = master.open()
        uuid = next(u for u, address in session.pool().members.items() if address == slave["h3"])
        at.desk.members = dict(session.pool().members)
        session.close()
        at.desk.interval_s = 0.3
        at.agent("h3")
        at.seen("h3", lambda sync: sync.role == "slave")
        report = at.desk.settled(at.ring(at.desk.order("pool_eject", "h3", uuid, pool=pool)))
        assert report.error is None and report.readings["on_master"] is False
        at.seen("h3", lambda sync: sync.role == "standalone")
        again = at.ring(at.desk.order("host_destroy", "h3", uuid, pool=pool))
        assert at.desk.settled(again, DEADLINE_S).readings == {"on_master": False}
        assert calls(simulator, "host.destroy") == 0
        master.close()

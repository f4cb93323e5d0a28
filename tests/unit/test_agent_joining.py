"""The step machine of pool.join against two pools in memory."""

from agent_world import Hypervisor, Session, World, machine, settled, steps_of

from agent.driver import HostState, Joinable, PoolSession, PoolState, Whereabouts, WorkState
from common import errors

JOIN = {"master_uuid": "h1", "master_address": "10.0.0.1"}


def joining(target: World) -> tuple[World, Hypervisor]:
    """Return a host that stands alone, with its agent's view."""
    alone = World(hosts=0, name="alone")
    alone.hosts = {"h9": HostState("h9", "10.0.0.9", True, True)}
    alone.master, alone.clock = "h9", target.clock
    return alone, Hypervisor(alone, target)


def joins_well(target: World, alone: World) -> None:
    """Play the phases that were seen on a real xapi (XAPI-OBSERVED)."""

    def phases(world: World) -> None:
        work = next(reversed(list(world.marks)))
        world.work[work] = WorkState("pending", 0.5)
        alone.after(4.0, lambda: world.work.update({work: WorkState("success", 1.0)}))
        alone.after(5.0, lambda: target.hosts.update(h9=HostState("h9", "10.0.0.9", False, False)))
        alone.after(15.0, lambda: alone.sessions.clear())
        alone.after(21.0, lambda: target.set_host("h9", live=True))
        alone.after(22.0, lambda: target.set_host("h9", enabled=True))

    alone.on_join = phases


def test_a_join_is_done_when_the_master_has_the_host_live_and_enabled() -> None:
    target = World()
    alone, hypervisor = joining(target)
    joins_well(target, alone)
    run = machine(alone, "pool_join", JOIN, host="h9", hypervisor=hypervisor)
    hypervisor.here = hypervisor.here.__class__("slave", "h9")
    waits, end = steps_of(run, alone)
    assert end.readings["joiner"] == "slave" and end.error is None
    assert (end.readings["on_master"], end.readings["live"], end.readings["enabled"]) == (True, True, True)
    assert end.readings["pool"] == target.uuid
    assert len([wait for wait in waits if wait.news]) == 1
    assert alone.calls.count("join") == 1


def test_all_readable_objections_to_a_join_are_told_before_anything_is_touched() -> None:
    target = World()
    alone, hypervisor = joining(target)
    alone.joinable = Joinable(
        [
            ("HA_IS_ENABLED", "high availability is enabled on it"),
            ("JOINING_HOST_CANNOT_HAVE_RUNNING_VMS", "VMs run on it: a"),
        ]
    )
    end = settled(alone, "pool_join", JOIN, host="h9", hypervisor=hypervisor)
    assert end.error is not None and end.error["code"] == "JOIN_CHECKS_FAILED"
    assert end.error["params"] == ["HA_IS_ENABLED", "JOINING_HOST_CANNOT_HAVE_RUNNING_VMS"]
    assert end.readings["joiner"] == "standalone" and end.readings["on_master"] is False
    assert "join" not in alone.calls and "mark_work" not in alone.calls


def test_tls_verification_is_turned_on_where_the_pool_demands_it() -> None:
    target = World()
    alone, hypervisor = joining(target)
    joins_well(target, alone)
    alone.joinable = Joinable(needs_tls=True)
    run = machine(alone, "pool_join", JOIN, host="h9", hypervisor=hypervisor)
    hypervisor.here = hypervisor.here.__class__("slave", "h9")
    steps_of(run, alone)
    assert alone.calls.index("enable_tls") < alone.calls.index("join")


def test_a_join_refused_by_xapi_settles_without_waiting() -> None:
    target = World()
    alone, hypervisor = joining(target)

    def refused(world: World) -> None:
        work = next(reversed(list(world.marks)))
        world.work[work] = WorkState("failure", 1.0, False, ("JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS",))

    alone.on_join = refused
    began = alone.clock.now()
    end = settled(alone, "pool_join", JOIN, host="h9", hypervisor=hypervisor)
    assert end.error is not None and end.error["code"] == "JOINING_HOST_CANNOT_CONTAIN_SHARED_SRS"
    assert alone.clock.now() - began < 10.0


def test_a_join_that_failed_late_is_watched_until_it_was_quiet_for_a_minute() -> None:
    target = World()
    alone, hypervisor = joining(target)

    def failed(world: World) -> None:
        work = next(reversed(list(world.marks)))
        world.work[work] = WorkState("failure", 1.0, False, ("INTERNAL_ERROR", "clean-up"))

    alone.on_join = failed
    end = settled(alone, "pool_join", JOIN, host="h9", hypervisor=hypervisor)
    assert end.readings["quiet_s"] >= 60.0 and end.readings["on_master"] is False
    assert end.readings["joiner"] == "standalone" and end.readings["task"] == "failure"


def test_a_dead_record_on_the_master_never_leads_to_a_second_join() -> None:
    target = World()
    target.hosts["h9"] = HostState("h9", "10.0.0.9", False, False)
    alone, hypervisor = joining(target)
    end = settled(alone, "pool_join", JOIN, host="h9", hypervisor=hypervisor)
    assert end.readings["on_master"] is True and end.readings["joiner"] == "standalone"
    assert "join" not in alone.calls


def test_a_member_of_another_pool_can_not_join() -> None:
    target = World()
    other = World(name="other")
    hypervisor = Hypervisor(other, target)
    hypervisor.here = Whereabouts("slave", "h9", "10.0.0.9", other.uuid, "10.0.0.1")
    end = settled(other, "pool_join", JOIN, host="h9", hypervisor=hypervisor)
    assert end.error is not None and end.error["code"] == "JOIN_CHECKS_FAILED"
    assert "join" not in other.calls


def test_a_join_goes_on_after_the_agent_was_restarted_in_the_middle() -> None:
    target = World()
    target.hosts["h9"] = HostState("h9", "10.0.0.9", False, True)
    target.after(5.0, lambda: target.set_host("h9", enabled=True))
    # The joiner is a slave by now, so that the session leads to the master.
    hypervisor = Hypervisor(target, target)
    hypervisor.here = Whereabouts("slave", "h9", "10.0.0.9", target.uuid, "10.0.0.1")
    end = settled(target, "pool_join", JOIN, host="h9", hypervisor=hypervisor)
    assert end.readings["joiner"] == "slave" and end.readings["enabled"] is True
    assert "join" not in target.calls


class Vanishing(Hypervisor):
    """The view of a joiner's agent, whose host gives no answer from ten seconds after its join on."""

    def open(self, pool: str | None = None) -> PoolSession:
        vanishes_at = self.world.clock.now() + 10.0

        class Vanished(Session):
            def pool(self) -> PoolState:
                if self.world.clock.now() >= vanishes_at:
                    raise errors.Unavailable("no route to host")
                return super().pool()

        return Vanished(self.world)


def test_a_joiner_that_vanishes_while_its_task_runs_is_given_up_at_the_limit() -> None:
    target = World()
    alone, _ = joining(target)

    def begun(world: World) -> None:
        world.work[next(reversed(list(world.marks)))] = WorkState("pending", 0.5)
        target.hosts["h9"] = HostState("h9", "10.0.0.9", False, False)

    alone.on_join = begun
    end = settled(alone, "pool_join", JOIN, host="h9", hypervisor=Vanishing(alone, target), limit_s=60.0)
    assert (end.readings["joiner"], end.readings["on_master"], end.readings["live"]) == ("unreachable", True, False)
    assert end.error is None and alone.calls.count("join") == 1


def test_a_joiner_that_does_not_answer_is_not_taken_for_a_slave_because_its_master_does() -> None:
    target = World()
    target.hosts["h9"] = HostState("h9", "10.0.0.9", False, False)
    hypervisor = Hypervisor(target, target)
    hypervisor.here = Whereabouts("unreachable", "h9", "10.0.0.9")
    end = settled(target, "pool_join", JOIN, host="h9", hypervisor=hypervisor, limit_s=5.0, attempt=2)
    assert (end.readings["joiner"], end.readings["on_master"]) == ("unreachable", True)
    target.after(3.0, lambda: setattr(hypervisor, "here", Whereabouts("slave", "h9", "10.0.0.9", target.uuid)))
    target.after(6.0, lambda: target.set_host("h9", live=True, enabled=True))
    end = settled(target, "pool_join", JOIN, host="h9", hypervisor=hypervisor, limit_s=60.0, attempt=3)
    assert (end.readings["joiner"], end.readings["enabled"], end.error) == ("slave", True, None)

"""The step machines of pool.eject, and of host.destroy after it, against a pool in memory: what ends halfway."""

from collections.abc import Callable
from dataclasses import replace

from agent_world import Hypervisor, Session, World, machine, settled, steps_of

from agent.driver import PoolSession, Whereabouts, Work, WorkState
from common import errors

MEMBER = Whereabouts("slave", "h3", "10.0.0.3", "uuid-pool-1", "10.0.0.1")
AWAY = Whereabouts("unreachable", "h3", "10.0.0.3")
ALONE = Whereabouts("standalone", "h3", "10.0.0.3", "uuid-fresh", "10.0.0.3")


class Ejected(Hypervisor):
    """The view of h3's own agent, and how its ejection and the removal of its record are answered."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.here = MEMBER
        self.looks = 0
        self.live_until = 0.0
        #: how the ejection's work ends at once; None: as it should
        self.ends: WorkState | None = None

    def locate(self) -> Whereabouts:
        self.looks += 1
        return self.here

    def becomes(self, here: Whereabouts) -> Callable[[], None]:
        """Return what makes the host say so from then on."""
        return lambda: setattr(self, "here", here)

    def taken_for_live(self, seconds: float) -> None:
        """Let xapi refuse to remove h3 for so long."""
        self.live_until = self.world.clock.now() + seconds
        self.world.after(seconds, lambda: "h3" in self.world.hosts and self.world.set_host("h3", live=False))

    def open(self, pool: str | None = None) -> PoolSession:
        return HalfwaySession(self)


class HalfwaySession(Session):
    """A session whose ejections may end otherwise, and that refuses to remove who is taken for live."""

    def __init__(self, hypervisor: Ejected) -> None:
        super().__init__(hypervisor.world)
        self._hypervisor = hypervisor

    def eject(self, work: Work, host: str) -> None:
        if self._hypervisor.ends is None:
            super().eject(work, host)
        else:
            self._called("eject")
            self.world.work[work.id] = self._hypervisor.ends

    def cancel(self, work: Work) -> None:
        self._called("cancel")      # which helps nothing

    def destroy_host(self, host: str) -> None:
        if self.world.clock.now() < self._hypervisor.live_until:
            self._called("destroy_host")
            raise errors.HypervisorError("HOST_IS_LIVE", xapi_code="HOST_IS_LIVE", params=[host])
        super().destroy_host(host)


FAILED = WorkState("failure", 1.0, False, ("INTERNAL_ERROR", "x"))


def halfway(world: World) -> Ejected:
    """Return h3 as its own master after an ejection that fails: a fuse, then a restart that takes two minutes."""
    own = Ejected(world)
    own.ends = FAILED
    world.after(10.0, own.becomes(AWAY))
    world.after(130.0, own.becomes(ALONE))
    return own


def test_a_host_that_stands_alone_and_is_still_listed_is_told_as_ejected_halfway() -> None:
    world = World()
    own, before = halfway(world), world.clock.now()
    end = settled(world, "pool_eject", host="h3", hypervisor=own, limit_s=1800.0)
    assert end.readings == {"on_master": True, "standalone": True}
    assert end.error is not None and end.error["code"] == "ejected_halfway" and "INTERNAL_ERROR" in end.error["message"]
    assert world.calls.count("eject") == 1 and world.clock.now() - before >= 130.0


def test_one_reading_of_a_host_that_stands_alone_is_not_enough() -> None:
    world = World()
    own = halfway(world)
    world.after(130.1, own.becomes(AWAY))
    world.after(150.0, lambda: world.hosts.pop("h3"))
    end = settled(world, "pool_eject", host="h3", hypervisor=own, limit_s=1800.0)
    assert end.readings == {"on_master": False, "standalone": False} and end.error is None


def test_a_host_that_stands_alone_already_is_not_ejected_again() -> None:
    world = World()
    own = Ejected(world)
    own.here = ALONE
    before = world.clock.now()
    end = settled(world, "pool_eject", host="h3", hypervisor=own, attempt=2)
    assert end.readings == {"on_master": True, "standalone": True} and "eject" not in world.calls
    assert own.looks == 2 and world.clock.now() - before >= 0.5


def test_an_ejection_that_failed_and_left_the_host_a_member_is_told_as_before() -> None:
    world = World()
    own = Ejected(world)
    own.ends = FAILED
    end = settled(world, "pool_eject", {"quiet_s": 5.0}, host="h3", hypervisor=own)
    assert end.readings == {"on_master": True, "standalone": False}
    assert end.error is not None and end.error["code"] == "INTERNAL_ERROR"


def test_a_refused_ejection_is_not_waited_for() -> None:
    world = World()
    own = Ejected(world)
    world.refuse("eject", "OPERATION_NOT_ALLOWED", "VM resident on host")
    before = world.clock.now()
    end = settled(world, "pool_eject", host="h3", hypervisor=own)
    assert end.error is not None and end.error["code"] == "OPERATION_NOT_ALLOWED"
    assert end.readings["standalone"] is False and world.clock.now() == before


def test_the_work_of_an_ejection_that_hangs_beyond_its_limit_does_not_hide_that_the_host_stands_alone() -> None:
    world = World()
    own = Ejected(world)
    own.ends = WorkState("pending", 0.1)
    world.after(90.0, own.becomes(ALONE))
    end = settled(world, "pool_eject", host="h3", hypervisor=own, limit_s=60.0)
    assert end.readings == {"on_master": True, "standalone": True} and world.calls.count("cancel") == 1
    assert end.error is not None and end.error["code"] == "ejected_halfway"


def test_work_that_was_lost_is_no_news_until_the_host_itself_was_read() -> None:
    world = World()
    own = Ejected(world)
    world.marks["work-0"] = "t1", Work("work-0", 1)
    world.work["work-0"] = WorkState("gone")
    own.here = AWAY
    world.after(60.0, own.becomes(ALONE))
    end = settled(world, "pool_eject", host="h3", hypervisor=own, limit_s=1800.0)
    assert end.readings["standalone"] is True and "eject" not in world.calls


def test_the_agent_of_another_host_says_nothing_of_how_the_ejected_one_stands() -> None:
    world = World()
    own = Ejected(world)
    own.here, own.ends = ALONE, FAILED
    run = machine(world, "pool_eject", host="h3", hypervisor=own)
    run.order = replace(run.order, executor="h1")
    _, end = steps_of(run, world)
    assert end.readings == {"on_master": True, "standalone": False} and own.looks == 0


def test_an_ejection_that_goes_well_is_settled_with_what_the_host_says_of_itself() -> None:
    world = World()
    own = Ejected(world)
    world.after(0.2, own.becomes(ALONE))
    end = settled(world, "pool_eject", host="h3", hypervisor=own)
    assert end.readings == {"on_master": False, "standalone": True} and end.error is None


# host_destroy
def test_the_record_of_a_host_that_is_still_taken_for_live_is_removed_as_soon_as_it_is_not() -> None:
    world = World()
    own = Ejected(world)
    own.taken_for_live(600.0)
    before = world.clock.now()
    end = settled(world, "host_destroy", host="h3", hypervisor=own, limit_s=1800.0)
    assert end.readings == {"on_master": False} and end.error is None
    assert world.calls.count("destroy_host") == 2 and 600.0 <= world.clock.now() - before < 640.0


def test_a_host_that_stays_live_beyond_the_limit_is_told_with_xapis_words() -> None:
    world = World()
    own = Ejected(world)
    own.taken_for_live(10_000.0)
    end = settled(world, "host_destroy", host="h3", hypervisor=own, limit_s=900.0)
    assert end.readings == {"on_master": True} and "h3" in world.hosts
    assert end.error is not None and end.error["code"] == "HOST_IS_LIVE"
    assert world.calls.count("destroy_host") <= 2


def test_a_record_that_somebody_removed_meanwhile_is_gone() -> None:
    world = World()
    own = Ejected(world)
    own.taken_for_live(600.0)
    world.after(60.0, lambda: world.hosts.pop("h3"))
    end = settled(world, "host_destroy", host="h3", hypervisor=own, limit_s=500.0)
    assert end.readings == {"on_master": False} and end.error is None


def test_another_refusal_to_remove_a_record_is_told_at_once() -> None:
    world = World()
    world.refuse("destroy_host", "HOST_HAS_RESIDENT_VMS")
    end = settled(world, "host_destroy", host="h3")
    assert end.error is not None and end.error["code"] == "HOST_HAS_RESIDENT_VMS"
    assert world.calls.count("destroy_host") == 1

"""Random interleavings: whatever is lost, doubled, restarted or cancelled, every operation ends and no VM is harmed.

The letters and numbers name the invariants of the reliability page: S safety, checked
after every step; L what holds at the end, after the faults have stopped.
"""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from conductor_world import World
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from common import errors
from conductor.db import hosts, operations
from conductor.operations.settings import Settings

_BAD_WIRE = ["jump", "lose_rings", "hear_rings", "crash", "restart_agent", "deafen", "undeafen", "double"]
_SERVICE = ["drain", "drain", "stop", "cancel", "pause", "resume", "disable", "enable", "enable_by_hand"]
_MOVES = ["halt", "toolstack", "fail_move", "lose_power", "new_vm", "wait", "wait"]
_POOLS = ["add", "add", "remove", "remove", "drain", "stop", "cancel", "refuse_join", "kill_join", "allow_join", "wait",
          "wait"]

Step = tuple[str, int]


def steps(names: list[str]) -> st.SearchStrategy[list[Step]]:
    """Return schedules of these steps, each about one of three hosts."""
    return st.lists(st.tuples(st.sampled_from(names), st.integers(1, 3)), min_size=15, max_size=40)


class Chaos:
    """A world to which anything may be done; ``check`` after each step, ``calm`` at the end."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.ended: dict[str, str] = {}
        self.epochs: dict[str, int] = {}
        self.halted: set[str] = set()

    def ask(self, method: str, **arguments: Any) -> None:
        """Ask as a person would; a refusal is an answer, but never one that says we are broken."""
        try:
            self.world.ask(method, **arguments)
        except errors.Error as exc:
            assert exc.code != "bug", exc

    def control(self, method: str, name: str) -> None:
        """Ask it of the operation that holds the host."""
        for operation in self.world.active():
            if operation["host"] == name:
                self.ask(method, id=operation["id"])

    def step(self, what: str, number: int) -> None:
        """Do one thing, let a moment pass, and check."""
        world, name = self.world, f"h{number}"
        agent, pool = world.agents[name], world.pool
        doing: dict[str, Callable[[], object]] = {
            "wait": lambda: world.pass_time(10, 2), "jump": lambda: world.tick(45.0),
            "lose_rings": lambda: setattr(world, "loses_rings", True),
            "hear_rings": lambda: setattr(world, "loses_rings", False),
            "double": lambda: setattr(world, "doubles", not world.doubles),
            "crash": world.start_conductor, "restart_agent": agent.restart,
            "deafen": lambda: setattr(agent, "deaf", True), "undeafen": lambda: setattr(agent, "deaf", False),
            "drain": lambda: self.ask("maintenance_start", host=name),
            "stop": lambda: self.ask("maintenance_stop", host=name),
            "disable": lambda: self.ask("host_disable", host=name),
            "enable": lambda: self.ask("host_enable", host=name),
            "cancel": lambda: self.control("operation_cancel", name),
            "pause": lambda: self.control("operation_pause", name),
            "resume": lambda: self.control("operation_resume", name),
            "add": lambda: self.ask("aggregate_add_host", id=1, host=name),
            "remove": lambda: self.ask("aggregate_remove_host", id=1, host=name),
            "enable_by_hand": lambda: setattr(pool.hosts[name], "enabled", True),
            "toolstack": lambda: pool.restart_toolstack(name),
            "halt": lambda: self.halt(f"v{number}"), "new_vm": lambda: self.new_vm(name),
            "fail_move": lambda: pool.move_fails.setdefault(f"v{number}", []).append("broken"),
            "lose_power": lambda: pool.move_fails.setdefault(f"v{number}", []).append("lost_power"),
            "refuse_join": lambda: pool.join_fails.update({name: "JOINING_HOST_CONNECTION_FAILED"}),
            "kill_join": lambda: pool.join_fails.update({name: "dead_record"}),
            "allow_join": lambda: pool.join_fails.pop(name, None)}
        doing[what]()
        world.tick(1.0)
        self.check()

    def halt(self, uuid: str) -> None:
        """Its owner shuts a VM down."""
        vm = self.world.pool.vms[uuid]
        if not vm.operations:
            vm.power, vm.host = "Halted", None
            self.halted.add(uuid)

    def new_vm(self, host: str) -> None:
        """Somebody starts one more VM, where that is possible."""
        if self.world.pool.hosts[host].enabled:
            self.world.pool.vms.setdefault(f"n-{host}", self.world.pool.add_vm(f"n-{host}", host)) if (
                f"n-{host}" not in self.world.pool.vms) else None

    def start_by_hand(self, uuid: str | None) -> None:
        """Start the VM that an operation asks a person to look after."""
        vm, serving = self.world.pool.vms.get(uuid or ""), [h for h in self.world.pool.hosts.values() if h.enabled]
        if vm is not None and vm.power == "Halted" and serving:
            vm.power, vm.host = "Running", serving[0].uuid

    def check(self) -> None:
        """Check what must hold at every moment."""
        world = self.world
        assert world.pool.harm == [], world.story()                                 # S1, S6, S10
        every, rows = world.engine.read(lambda session: (
            list(operations.listed(session, limit=1000)), list(hosts.every(session))))
        held = [one.host for one in every if one.ended_at is None]
        assert len(held) == len(set(held)), world.story()                           # S3
        for one in every:
            if one.ended_at is not None:
                assert self.ended.setdefault(one.id, one.state) == one.state, world.story()    # S7
        for row in rows:
            assert row.epoch >= self.epochs.get(row.name, 0)                        # S4, S7
            self.epochs[row.name] = row.epoch

    def calm(self) -> None:
        """Let all faults stop; persons do what they are asked to."""
        world = self.world
        world.loses_rings = world.doubles = False
        world.pool.move_fails.clear()
        world.pool.join_fails.clear()
        for agent in world.agents.values():
            agent.deaf = False
        for name in world.agents:
            self.control("operation_resume", name)
        for _ in range(40):
            if not world.active():
                return
            world.pass_time(60, step_s=3)
            for operation in world.active():
                if operation["attention"] and operation["attention"]["code"] != "slow":
                    self.start_by_hand(operation["attention"]["details"].get("vm"))
                    no_room = operation["attention"]["code"] == "no_plan"
                    self.ask("operation_cancel" if no_room else "operation_retry", id=operation["id"])
        raise AssertionError(world.story())                                         # L1

    def end(self) -> None:
        """Check what must hold once everything has ended."""
        world = self.world
        world.pass_time(60, step_s=3)
        self.check()
        for operation in world.ask("operation_list", limit=1000)["operations"]:
            assert all(task["state"] in ("done", "failed", "skipped") for task in operation["tasks"]), world.story()
        for name, host in world.pool.hosts.items():                                 # L2
            row = world.host(name)
            assert host.enabled or row.owner is not None, f"{name} is forgotten\n{world.story()}"
            if row.wanted != "serving" and not row.quarantined and not world.active():
                assert not host.enabled, f"{name} serves though it is wanted {row.wanted}\n{world.story()}"
        for vm in world.pool.vms.values():                                          # S2
            assert not vm.operations, world.story()
            assert (vm.power == "Halted") <= (vm.uuid in self.halted), f"{vm.uuid} is halted\n{world.story()}"
        assert all(agent.running == {} for agent in world.agents.values()), world.story()


@contextmanager
def chaos() -> Iterator[Chaos]:
    """Give a world in a folder of its own."""
    with tempfile.TemporaryDirectory() as folder:
        world = World(Path(folder), settings=Settings(migration_limit_s=60.0, sync_interval_s=10.0))
        world.pool.move_s, world.pool.join_s = 10.0, 10.0
        yield Chaos(world)
        world.database.close()


@settings(max_examples=5, deadline=None, derandomize=True, phases=[Phase.generate],
          suppress_health_check=list(HealthCheck))
@given(steps(_BAD_WIRE + _SERVICE + _MOVES))
def test_after_any_faults_every_operation_ends_and_no_host_and_no_vm_is_forgotten(schedule: list[Step]) -> None:
    with chaos() as one:
        for number in (1, 2, 3):
            one.world.pool.add_vm(f"v{number}", f"h{number}")
        one.world.start_pool()
        for what, number in schedule:
            one.step(what, number)
        one.calm()
        one.end()


@settings(max_examples=5, deadline=None, derandomize=True, phases=[Phase.generate],
          suppress_health_check=list(HealthCheck))
@given(steps(_BAD_WIRE + _POOLS))
def test_after_any_faults_an_aggregates_hosts_are_its_pools_members(schedule: list[Step]) -> None:
    with chaos() as one:
        world = one.world
        world.settle()
        world.ask("aggregate_create", name="a1")
        for what, number in schedule:
            one.step(what, number)
        one.calm()
        one.end()
        aggregate = world.ask("aggregate_show", id=1)
        places = {member["host"]: member["state"] for member in aggregate["members"]}
        assert set(places.values()) <= {"member"}, world.story()
        if aggregate["pool"] is not None:                                           # L3
            records = {host.name for host in world.pool.hosts.values()
                       if host.uuid in world.pool.pools[aggregate["pool"]].records}
            assert records == set(places), world.story()

"""What other services are told: everything that was committed, nothing else, also when somebody dies in between."""

import re
from pathlib import Path
from typing import Any

import pytest
from conductor_world import Crashed, World
from sqlalchemy import func, select

from common import errors
from conductor import notify
from conductor.db import notices
from conductor.db.models import Notice
from conductor.manager import Agents
from conductor.operations.engine import Engine
from conductor.operations.sweeper import Sweeper
from conductor.views import Views

Json = dict[str, Any]

#: what is in every payload
ALWAYS = ("version", "id", "at", "operation", "event")
#: what is told of a drain that was accepted and begun
BEGUN = ["operation.start", "host.maintenance.start", "operation.progress"]


class Listened(World):
    """A world whose conductor tells others, when the test says so; ``heard`` is what they hear."""

    away = False

    def start_conductor(self) -> None:
        """Begin with a new one."""
        super().start_conductor()
        self.engine = Engine(self.database, lambda *ring: self.rings.append(ring), self.clock, self.settings, "c1",
                             notify.write)
        self.conductor, self.door, self.sweeper = Views(self.engine), Agents(self.engine), Sweeper(self.engine)
        self.heard: list[tuple[str, Json]] = getattr(self, "heard", [])
        self.dies_after: int | None = None

    def tell_all(self, name: str = "c1") -> None:
        """Let a conductor tell what is stored."""
        engine = Engine(self.database, lambda *ring: None, self.clock, self.settings, name)
        notify.Teller(engine, self._hear).tell_all()

    def _hear(self, event_type: str, payload: Json) -> None:
        if self.away:
            raise errors.Unavailable("The message broker can't be reached", code="broker_unavailable")
        self.heard.append((event_type, payload))
        if self.dies_after == len(self.heard):
            raise Crashed

    def types(self, *beginnings: str) -> list[str]:
        """Tell all, and return the types heard so far, of some kinds if given."""
        self.tell_all()
        return [kind for kind, _ in self.heard if not beginnings or kind.startswith(beginnings)]

    def stored(self) -> int:
        """Return how many notices wait."""
        return self.engine.read(lambda session: session.scalar(select(func.count()).select_from(Notice)) or 0)


@pytest.fixture
def world(tmp_path: Path) -> Listened:
    """Three hosts in one pool, two VMs on h1; all about their coming was told."""
    made = Listened(tmp_path)
    for vm in ("v1", "v2"):
        made.pool.add_vm(vm, "h1")
    made.start_pool()
    made.tell_all()
    made.heard.clear()
    return made


def test_maintenance_is_told_from_its_acceptance_to_the_hosts_return(world: Listened) -> None:
    drain = world.begin("maintenance_start", host="h1")
    assert world.types() == BEGUN
    world.finish(drain)
    told = world.types()
    assert (told.count("move.start"), told.count("move.end"), told.count("operation.end")) == (2, 2, 1)
    assert told[-2:] == ["operation.end", "host.update"]
    assert world.heard[-1][1]["host"]["wanted"] == "maintenance"
    world.finish(world.begin("maintenance_stop", host="h1"))
    assert world.types("host")[-1] == "host.maintenance.end"
    assert {payload["version"] for _, payload in world.heard} == {notify.VERSION} and world.stored() == 0


def test_every_event_of_an_operation_is_told_in_its_order(world: Listened) -> None:
    drain = world.begin("maintenance_start", host="h1")
    world.finish(drain)
    world.tell_all()
    numbers = [payload["event"]["n"] for kind, payload in world.heard if kind.startswith(("operation", "move"))]
    assert numbers == sorted(set(numbers))
    known = {event["n"]: event for event in world.events(drain)}
    assert all(payload["event"] == known[payload["event"]["n"]] for _, payload in world.heard)
    assert {payload["operation"]["id"] for _, payload in world.heard} == {drain}


def test_a_move_is_told_as_the_migration_that_it_is(world: Listened) -> None:
    operation = world.begin("vm_migrate", vm="v1", host="h2")
    world.finish(operation)
    assert world.types("move", "host") == ["move.start", "move.end"]
    (start, end) = (payload["migration"] for kind, payload in world.heard if kind.startswith("move"))
    assert start["state"] == "executing" and end == world.ask("migration_show", id=1)
    assert (end["vm"], end["source"], end["destination"], end["state"]) == ("v1", "h1", "h2", "done")


def test_what_a_person_has_to_see_to_is_told_and_that_it_is_over(world: Listened) -> None:
    world.pool.move_fails["v1"] = ["INTERNAL_ERROR"] * 50
    drain = world.begin("maintenance_start", host="h1")
    world.run(lambda: bool(world.row(drain).attention))
    assert world.types("operation.attention") == ["operation.attention"]
    assert world.heard[-1][1]["operation"]["attention"]["code"] == world.heard[-1][1]["event"]["detail"]["code"]
    world.pool.move_fails.clear()
    world.ask("operation_retry", id=drain)
    world.finish(drain)
    assert world.types("operation.attention") == ["operation.attention"] * 2


def test_changes_of_aggregates_are_told_and_refused_ones_are_not(world: Listened) -> None:
    made = world.ask("aggregate_create", name="plain", metadata={"hypervisor_pool": "false"})["id"]
    world.refused("aggregate_create", name="plain")
    world.ask("aggregate_update", id=made, changes={"name": "plainer"})
    world.ask("aggregate_set_metadata", id=made, metadata={"colour": "red"})
    world.ask("aggregate_add_host", id=made, host="h1")
    world.ask("aggregate_remove_host", id=made, host="h1")
    world.ask("aggregate_delete", id=made)
    assert world.types() == [f"aggregate.{what}" for what in (
        "create", "update", "update_metadata", "add_host", "remove_host", "delete")]
    assert {payload["aggregate"]["id"] for _, payload in world.heard} == {made}
    assert [payload["member"] for _, payload in world.heard] == [None, None, None, "h1", "h1", None]


def test_a_host_is_told_when_it_comes_into_a_pool_and_when_it_is_forgotten(tmp_path: Path) -> None:
    world = Listened(tmp_path)
    world.settle()
    assert world.types() == ["host.create"] * 3
    made = world.ask("aggregate_create", name="backed")["id"]
    world.finish(world.begin("aggregate_add_host", id=made, host="h1"))
    assert "aggregate.add_host" in world.types()
    world.agents["h3"].is_up = False
    world.pass_time(60)
    world.ask("service_force_down", host="h3", forced_down=True)
    world.ask("host_forget", host="h3")
    assert world.types("host")[-2:] == ["host.update", "host.delete"]
    assert world.heard[-1][1]["host"]["name"] == "h3"


def test_while_the_broker_is_away_everything_goes_on_and_all_is_told_afterwards(world: Listened) -> None:
    world.away = True
    drain = world.begin("maintenance_start", host="h1")
    with pytest.raises(errors.Unavailable):
        world.tell_all()
    assert world.finish(drain)["state"] == "succeeded" and world.heard == []
    world.away = False
    assert world.types()[0] == "operation.start" and world.types()[-1] == "host.update" and world.stored() == 0


def test_what_was_committed_is_told_by_whoever_comes_after_a_conductor_that_died(world: Listened) -> None:
    world.database.crash_at = world.database.commits + 1       # right after its commit, before anybody is told
    world.begin("maintenance_start", host="h1")
    assert world.restarts == 2 and world.types() == BEGUN


def test_a_notice_that_was_told_before_the_conductor_died_is_told_again_under_its_id(world: Listened) -> None:
    world.finish(world.begin("maintenance_start", host="h1"))
    world.dies_after = 3
    with pytest.raises(Crashed):
        world.tell_all()
    world.dies_after = None
    world.tell_all()
    ids = [payload["id"] for _, payload in world.heard]
    assert ids.count(ids[2]) == 2 and len(set(ids)) == len(ids) - 1 and world.stored() == 0


def test_another_conductor_tells_only_what_nobody_is_at(world: Listened) -> None:
    world.begin("maintenance_start", host="h1")
    world.away = True
    with pytest.raises(errors.Unavailable):
        world.tell_all("c1")
    world.away = False
    world.tell_all("c2")
    assert world.heard == [], "c1 is at it"
    world.clock.advance(61)
    world.tell_all("c2")
    assert [kind for kind, _ in world.heard] == BEGUN


def described() -> dict[str, set[str]]:
    """Return the names of what the document says is in the payload of each type."""
    text = (Path(__file__).parents[2] / "doc" / "rpc.md").read_text(encoding="utf-8")
    lines = text.split("\n## Notifications\n")[1].split("\n## ")[0].splitlines()
    found = {}
    for kinds, _, names in (line.strip("|").split("|") for line in lines if line.startswith("| `")):
        found.update({kind: {*ALWAYS, *re.findall("`([a-z]+)`", names)} for kind in re.findall("`([^`]+)`", kinds)})
    return found


def test_every_type_is_described_with_what_is_in_its_payload(world: Listened) -> None:
    world.pool.move_fails["v1"] = ["INTERNAL_ERROR"] * 50
    drain = world.begin("maintenance_start", host="h1")
    world.run(lambda: bool(world.row(drain).attention))
    world.pool.move_fails.clear()
    world.ask("operation_retry", id=drain)
    world.finish(drain)
    world.finish(world.begin("maintenance_stop", host="h1"))
    world.finish(world.begin("maintenance_start", host="h2"))
    world.settle()
    world.finish(world.begin("aggregate_remove_host", id=1, host="h2"))
    world.finish(world.begin("host_disable", host="h3"))
    types, known = set(world.types()), described()
    assert {kind: set(payload) for kind, payload in world.heard} == {kind: known[kind] for kind in types}
    assert {kind.partition(".")[0] for kind in types} == {"operation", "move", "host", "aggregate"}


def test_no_type_is_described_that_is_not_told() -> None:
    modules = (Path(__file__).parents[2] / "conductor").glob("*.py")
    source = "".join(path.read_text(encoding="utf-8") for path in modules)
    told = set(re.findall('"((?:host|move|aggregate)[.][a-z_.]+)"', source))
    told |= {f"operation.{phase}" for phase in ("start", "progress", "attention", "end")}
    assert set(described()) == told


def test_nothing_is_stored_where_nobody_is_told(tmp_path: Path) -> None:
    silent = World(tmp_path)
    silent.start_pool()
    assert silent.engine.read(lambda session: notices.take(session, "c1", silent.clock.now(), 0.0, 9)) == []


def test_what_could_not_be_told_for_a_week_is_forgotten(world: Listened) -> None:
    world.begin("maintenance_start", host="h1")
    world.clock.advance(notify.KEPT_S + 1)
    world.ask("aggregate_create", name="new")
    before = world.clock.now() - notify.KEPT_S
    assert world.engine.run(lambda tx: notices.drop_older(tx.session, before)) == len(BEGUN)
    assert world.types() == ["aggregate.create"]

"""The commands against a real HTTP server with a conductor in memory: printed text, JSON, exit status."""

import io
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from common import errors
from conductor.api.app import make_app
from conductor.api.serve import Service
from conductor.cli.commands import COMMANDS
from conductor.cli.main import main
from tests.unit.api_conductor import InMemory

ROOT = Path(__file__).parents[2]


class World:
    """A served conductor and the commands that speak to it."""

    def __init__(self) -> None:
        self.conductor = InMemory()
        self.service = Service(make_app(self), "127.0.0.1", 0, threads=4)
        self.service.start()
        self.out = self.err = ""

    def call(self, context: dict[str, Any], method: str, **arguments: Any) -> Any:
        """Answer as the conductor of the test that runs: starting and stopping a server takes time."""
        return self.conductor.call(context, method, **arguments)

    def run(self, line: str | list[str], endpoint: str | None = None) -> int:
        """Run one command, a line or its words; keep what it printed; return its exit status."""
        out, err = io.StringIO(), io.StringIO()
        words = line.split() if isinstance(line, str) else line
        status = main(words, out, err, {"CORRAL_ENDPOINT": endpoint or self.service.url})
        self.out, self.err = out.getvalue(), err.getvalue()
        assert "Traceback" not in self.out + self.err
        return status

    def json(self, line: str) -> Any:
        """Run one command that must succeed; return what it printed for programs."""
        assert self.run(line + " -f json") == 0, self.err
        return json.loads(self.out)


@pytest.fixture(scope="module")
def served() -> Iterator[World]:
    """One server for all tests."""
    world = World()
    yield world
    world.service.stop()


@pytest.fixture
def world(served: World) -> World:
    """A new conductor with an aggregate 1 that has hosts h1 and h2."""
    served.conductor = InMemory()
    served.conductor.aggregate_create("agg", "z1")
    for host in ("h1", "h2"):
        served.conductor.aggregate_add_host(1, host, {})
    return served


@pytest.mark.parametrize("line, expected", [
    ("aggregate-list", 0), ("aggregate-list --availability-zone z1", 0), ("aggregate-create new z2", 0),
    ("aggregate-create agg z1", 3), ("aggregate-details 1", 0), ("aggregate-details 9", 4),
    ("aggregate-details agg", 2), ("aggregate-delete 1", 3), ("aggregate-delete 9", 4),
    ("aggregate-add-host 1 h3", 0), ("aggregate-add-host 1 h1", 3), ("aggregate-add-host 1 h9", 4),
    ("aggregate-add-host 1 h/9", 2), ("aggregate-remove-host 1 h1", 3), ("aggregate-remove-host 1 h3", 4),
    ("aggregate-set-metadata 1 a=b c", 0), ("aggregate-set-metadata 1 =b", 2),
    ("aggregate-set-metadata 1 a=1 a=2", 2), ("aggregate-update 1 other", 0), ("aggregate-update 1 x z9", 3),
    ("host-list", 0), ("host-list --zone z", 0), ("host-show h1", 0), ("host-show h9", 4),
    ("host-show ../x", 2), ("host-show %2e%2e", 2),
    ("host-update --maintenance enable h1", 0), ("host-update --maintenance disable h1", 0),
    ("host-update --maintenance enable h9", 4), ("host-update --maintenance maybe h1", 2),
    ("host-update h1", 2), ("host-update --status disable h1", 0),
    ("host-update --status enable h1 --dry-run", 2),
    ("plan-show plan-9", 4), ("operation-list --active --host h1", 0), ("operation-list --limit 0", 2),
    ("operation-show op-1", 0), ("operation-show op-1 --timeline", 0), ("operation-show op-9", 4),
    ("operation-cancel op-1", 0), ("operation-pause op-1", 0), ("operation-resume op-1", 0),
    ("operation-retry op-1", 0), ("operation-abandon op-1", 2), ("operation-abandon op-1 --reason gone", 0),
    ("operation-watch op-1", 0), ("operation-watch op-9", 4),
    ("host-declare-dead h1", 2), ("host-declare-dead h1 --i-have-powered-it-off", 1), ("host-forget h1", 3),
    ("host-forget h9", 4),
    ("roll-start 1", 1), ("roll-show op-1", 1), ("why vm-1 h2", 1), ("nonsense", 2), ("", 0), ("--help", 0),
    ("aggregate-list --unknown", 2),
])
def test_a_command_ends_with_the_promised_status(world: World, line: str, expected: int) -> None:
    assert world.run(line) == expected, world.err


@pytest.mark.parametrize("command", ["host-show", "host-forget", "aggregate-delete", "aggregate-details",
                                     "operation-show", "operation-cancel", "operation-watch", "plan-show"])
@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_can_be_no_name_is_refused_and_not_taken_for_something_else(world: World, command: str, name: str) -> None:
    assert (world.run([command, name]), world.out) == (2, "")
    assert world.err == f"error: {name!r} can't be a name or an id (usage)\n"


def test_an_empty_plan_is_refused_and_not_taken_for_none(world: World) -> None:
    before = world.json("operation-list")
    assert world.run(["host-update", "--maintenance", "enable", "h1", "--plan", ""]) == 2
    assert world.run(["host-update", "--status", "disable", "h1", "--plan", ""]) == 2
    assert world.run(["host-update", "--maintenance", "enable", "h1", "--dry-run", "--plan", ""]) == 2
    assert world.json("operation-list") == before


def test_an_address_with_a_path_is_told_what_is_wrong(world: World) -> None:
    assert world.run("host-list", endpoint=f"{world.service.url}/v1") == 4
    assert "is given without a path of the API's" in world.err


def test_help_has_one_line_for_every_command(world: World) -> None:
    world.run("--help")
    lines = world.out.splitlines()
    for name, command in COMMANDS.items():
        (line,) = [line for line in lines if line.split()[:1] == [name]]
        assert command.__doc__ and command.__doc__ in line


def test_details_are_a_table_for_people_and_json_for_programs(world: World) -> None:
    world.run("aggregate-details 1")
    assert "h1, h2" in world.out and "availability zone" in world.out
    shown = world.json("aggregate-details 1")
    assert (shown["id"], shown["hosts"], shown["metadata"]) == (1, ["h1", "h2"], {"availability_zone": "z1"})


def test_sizes_are_gib_for_people_and_bytes_for_programs(world: World) -> None:
    world.run("host-list")
    assert "64.0 GiB" in world.out and "memory total" in world.out
    assert world.json("host-list")[0]["memory_total_bytes"] == 64 * 2 ** 30


def test_names_from_the_server_are_printed_without_their_control_characters(world: World) -> None:
    world.run("host-show h1")
    assert "\x1b" not in world.out and "db\\x1b[31m" in world.out


def test_metadata_without_a_value_is_removed(world: World) -> None:
    world.run("aggregate-set-metadata 1 a=1 b=x=y")
    assert world.json("aggregate-set-metadata 1 a")["metadata"] == {"availability_zone": "z1", "b": "x=y"}


def test_maintenance_prints_the_plan_and_then_the_operation(world: World) -> None:
    assert world.run("host-update --maintenance enable h1") == 0
    assert "Plan plan-1 to empty h1: 2 moves, about 1:02 (50 s to 1:30)" in world.out
    assert "web2" in world.out and "4.0 GiB" in world.out and "entering_maintenance" in world.out
    assert world.err == "operation op-3\n"


def test_maintenance_for_programs_carries_the_plan(world: World) -> None:
    told = world.json("host-update --maintenance enable h1")
    assert (told["operation"], len(told["plan"]["moves"])) == ("op-3", 2)


def test_a_dry_run_does_nothing_and_says_how_to_go_on(world: World) -> None:
    assert world.run("host-update --maintenance enable h1 --dry-run --allow-partial") == 0
    assert "web1" in world.out and "host-update --maintenance enable h1 --plan plan-1" in world.err
    assert len(world.conductor.operations) == 2
    assert world.run("host-update --maintenance enable h1 --plan plan-1 --if-changed replan") == 0
    assert world.conductor.calls[-1][2]["options"] == {"plan": "plan-1", "if_changed": "replan"}


def test_a_refusal_prints_every_blocker_with_its_help(world: World) -> None:
    world.conductor.feasible = False
    assert world.run("host-update --maintenance enable h1") == 3
    assert world.out == ""
    assert world.err.splitlines() == [
        "error: Host h1 can't be emptied (no_plan)",
        "  - VM db\\x1b[31m: its disk is on local storage of h1 (vm_has_local_disk)",
        "    help: move the disk to shared storage",
        "  - VM web1 host h2: no host has 8 GiB free (no_memory)",
        "  what would help: 4 GiB more on h2 would do"]


def test_wait_follows_to_the_end_and_shows_how_it_stands(world: World) -> None:
    told = world.json("host-update --maintenance enable h1 --wait")
    assert (told["maintenance_mode"], told["operation_state"]) == ("on_maintenance", "succeeded")
    assert world.err == "operation op-3: succeeded\n"
    assert world.run("aggregate-remove-host 1 h1 --confirm-data-loss --wait") == 0
    assert world.run("host-update --status disable h2 --wait") == 0


def test_wait_ends_with_1_when_the_operation_fails(world: World) -> None:
    world.conductor.failing = True
    assert world.run("host-update --maintenance enable h1 --wait") == 1
    assert world.err.splitlines() == ["operation op-3: failed",
                                      "error: The move of web1 failed (VM_MIGRATE_FAILED)"]


def test_wait_ends_with_6_when_a_person_should_look(world: World) -> None:
    world.conductor.attention = True
    assert world.run("aggregate-add-host 1 h3 --wait") == 6
    assert "The agent of h1 is silent (agent_silent)" in world.err and "operation-watch op-3" in world.err


def test_watch_prints_a_line_for_each_event(world: World) -> None:
    world.run("host-update --maintenance enable h1")
    assert world.run("operation-watch op-3") == 0
    lines = world.out.splitlines()
    assert len(lines) == 5 and "web1 was observed on h2" in lines[1]
    assert lines[-1] == "operation op-3: succeeded"


def test_the_timeline_says_why(world: World) -> None:
    world.run("operation-show op-1 --timeline")
    assert "A feasible plan is stored" in world.out
    assert world.json("operation-show op-1 --timeline")["timeline"][0]["n"] == 1


def test_an_api_that_is_away_is_said_in_a_sentence(world: World) -> None:
    assert world.run("aggregate-list", "http://127.0.0.1:9") == 5
    assert world.err.startswith("error: The API at http://127.0.0.1:9 can't be reached")
    assert world.run("aggregate-list", "nonsense") == 2
    assert world.run("aggregate-list", "ftp://127.0.0.1") == 2


def test_a_conductor_that_is_away_ends_with_5(world: World) -> None:
    world.conductor.down = errors.Unavailable("Nobody listens", code="nobody_listens")
    assert world.run("host-list") == 5
    assert world.err == "error: Nobody listens (nobody_listens)\n"


def test_something_unexpected_in_the_api_ends_with_1(world: World) -> None:
    world.conductor.broken = ZeroDivisionError()
    assert world.run("host-list") == 1
    assert "req-" in world.err


class Patient(InMemory):
    """A conductor in which nothing happens until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.asked, self.go = threading.Event(), threading.Event()

    def operation_events(self, id: str, after: int = 0, wait_s: float = 0) -> dict[str, Any]:
        """Wait for ``go``."""
        self.asked.set()
        self.go.wait(wait_s)
        return super().operation_events(id, after)


def test_ctrl_c_while_waiting_detaches_and_says_how_to_cancel(world: World) -> None:
    conductor = world.conductor = Patient()
    line = "host-update --maintenance enable h1 --wait"
    with subprocess.Popen([sys.executable, "-m", "conductor.cli.main", *line.split()], cwd=ROOT,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          env={**os.environ, "CORRAL_ENDPOINT": world.service.url}) as process:
        assert conductor.asked.wait(20)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    conductor.go.set()
    assert process.returncode == 130
    assert "operation op-1 goes on" in err and "corral operation-cancel op-1" in err
    assert "Traceback" not in err

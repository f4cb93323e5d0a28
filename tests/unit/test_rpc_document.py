"""``doc/rpc.md`` says of every method what the code has: topics, versions, arguments, refusals, notifications."""

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
from conductor_world import World

from common import agent_api, agents_api, conductor_api, messages, notices, rpc
from conductor import notify
from conductor.manager import Agents
from conductor.views import Views

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "doc" / "rpc.md").read_text(encoding="utf-8")
TICKED = re.compile(r"`([^`]+)`")


def rows(begin: str, end: str | None = None) -> list[list[str]]:
    """Return the cells of all table rows between two headings."""
    part = TEXT.split(f"\n{begin}\n", 1)[1]
    part = part.split(f"\n{end}\n", 1)[0] if end else part
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines()
            if line.startswith("| `")]


def described(begin: str, end: str) -> dict[str, list[str]]:
    """Return the other cells of each method's row; several methods may share one."""
    return {name: cells[1:] for cells in rows(begin, end) for name in TICKED.findall(cells[0])}


CONDUCTOR = described("### Aggregates", "## corral.agents")
AGENTS = described("## corral.agents", "## corral.agent")


def arguments(method: Any) -> dict[str, str | None]:
    """Return a method's arguments besides the context: what stands for the default, None for none."""
    found = list(inspect.signature(method).parameters.values())
    return {one.name: None if one.default is inspect.Parameter.empty else str(one.default)
            for one in found if one.name not in ("self", "context")}


def is_said(cell: str, name: str, default: str | None) -> bool:
    """Return whether a cell names the argument with its default; options and metadata of None are shown as empty."""
    said = [token for token in TICKED.findall(cell) if token.partition("=")[0] == name]
    shown = said[0].partition("=")[2] if said else ""
    if default is None:
        return said != [] and shown == ""
    return float(shown) == float(default) if re.fullmatch(r"[0-9.]+", shown) else (
        shown.lower() == default.lower() or (default, shown) == ("None", "{}"))


def test_the_topics_and_their_versions_are_those_of_the_code() -> None:
    first = [line.split(" | ") for line in TEXT.split("\n## ", 1)[0].splitlines() if line.startswith("| `")]
    said = {TICKED.findall(cells[0])[0]: cells[3] for cells in first}
    assert said == {rpc.TOPIC_CONDUCTOR: messages.CONDUCTOR_VERSION, rpc.TOPIC_AGENTS: messages.AGENTS_VERSION,
                    rpc.TOPIC_AGENT: messages.AGENTS_VERSION, notices.TOPIC: notify.VERSION}


def test_every_method_has_a_row_and_no_row_is_of_a_method_that_is_gone() -> None:
    assert set(CONDUCTOR) == set(conductor_api.METHODS)
    assert set(AGENTS) == {"sync", "claim", "report", "ping"}


@pytest.mark.parametrize("name", conductor_api.METHODS)
def test_a_method_of_the_conductor_is_described_with_its_arguments(name: str) -> None:
    cell = CONDUCTOR[name][0]
    known = arguments(getattr(Views, name))
    assert not [one for one, default in known.items() if not is_said(cell, one, default)], cell
    assert {token.partition("=")[0] for token in TICKED.findall(cell) if "=" in token} <= set(known), cell


@pytest.mark.parametrize("name", ["sync", "claim", "report", "ping"])
def test_a_method_for_agents_is_described_with_its_arguments(name: str) -> None:
    cell = AGENTS[name][0]
    known = arguments(getattr(Agents, name))
    assert not [one for one, default in known.items() if not is_said(cell, one, default)], cell


@pytest.mark.parametrize("name", [*conductor_api.METHODS, "sync", "claim", "report"])
def test_what_a_method_refuses_with_stands_among_the_error_codes(name: str) -> None:
    codes = set(TICKED.findall((ROOT / "doc" / "operations.md").read_text(encoding="utf-8")))
    cells = {**CONDUCTOR, **AGENTS}[name]
    refusals = [token for token in TICKED.findall(cells[2]) if re.fullmatch("[a-z_]+", token)] if len(cells) > 2 else []
    # A row may refer to another method's refusals, and one names a key of the metadata.
    assert set(refusals) - {"hypervisor_pool", *conductor_api.METHODS} <= codes


class Asked(World):
    """A pool of three hosts behind an aggregate, with two VMs; its conductor serves all methods."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.start_pool()
        self.pool.add_vm("v1", "h1")
        self.pool.add_vm("v2", "h2")
        self.settle()

    def start_conductor(self) -> None:
        """Begin with a new one."""
        super().start_conductor()
        self.conductor = Views(self.engine)

    def shapes(self) -> dict[str, Any]:
        """Return one of each thing that answers are made of."""
        plan = self.ask("plan_create", host="h1", wanted="enable")
        operation = self.ask("maintenance_start", host="h1")["operation"]
        self.pool.vms["v2"].hindrances = [["VM_HAS_VGPU", "it has a vGPU"]]
        self.settle()
        refused = self.refused("vm_migrate", vm="v2")
        return {
            "AGGREGATE": self.ask("aggregate_list")["aggregates"][0], "HOST": self.ask("host_list")["hosts"][0],
            "VM": self.ask("host_vms", host="h1")["vms"][0], "PLAN": plan, "OPERATION": operation,
            "BLOCKER": refused.details["blockers"][0], "MOVE": operation["moves"][0],
            "EVENT": self.ask("operation_events", id=operation["id"])["events"][0],
            "SERVICE": self.ask("service_list")["services"][0], "GUEST": self.ask("vm_list")["vms"][0],
            "HYPERVISOR": self.ask("hypervisor_list")["hypervisors"][0],
            "MIGRATION": self.ask("migration_list")["migrations"][0]}


def fields(shape: str) -> set[str]:
    """Return the names of a shape's fields, without what is said of their values."""
    text = re.split("`[.]|\n- |\n\n", TEXT.split(f"\n- **{shape}** ", 1)[1], maxsplit=1)[0]
    said = ",".join(TICKED.findall(text + "`"))
    for _ in range(2):
        said = re.sub(r"\{[^{}]*\}|\[[^][]*\]", "", said)
    return {field.partition(":")[0].strip() for field in said.split(",")} - {""}


def test_the_shapes_have_just_the_fields_of_what_a_conductor_answers(tmp_path: Path) -> None:
    found = Asked(tmp_path).shapes()
    assert set(found) == set(re.findall(r"^- \*\*([A-Z]+)\*\* ", TEXT, re.MULTILINE))
    for shape, one in found.items():
        assert fields(shape) == set(one), shape


def test_each_version_that_came_later_stands_in_the_stubs_and_in_the_document() -> None:
    for stub, version in ((conductor_api, messages.CONDUCTOR_VERSION), (agents_api, messages.AGENTS_VERSION),
                          (agent_api, messages.AGENTS_VERSION)):
        assert f"\n{version}  " in str(stub.__doc__)
    assert set(described("## corral.conductor, since 1.1", "## corral.agents")) == set(conductor_api.SINCE_1_1)

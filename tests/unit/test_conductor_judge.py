"""What readings amount to, case by case: only what was read from the objects decides."""

from typing import Any

import pytest

from common.messages import Report
from conductor.operations.judge import judge

_ARGS = {"vm": "v", "source": "a", "destination": "b"}


def report(settled: bool = True, error: dict[str, Any] | None = None, **readings: Any) -> Report:
    return Report("t", 1, settled, readings, error)


def move(at: str | None, power: str = "Running", operations: tuple[str, ...] = (), **more: Any) -> dict[str, Any]:
    return {"vm": {"power_state": power, "resident_on": at, "operations": list(operations)}, "acted": True, **more}


def failed(code: str) -> dict[str, Any]:
    return {"code": code, "params": [], "message": code, "effect": "unknown"}


@pytest.mark.parametrize("said, event", [
    pytest.param(report(**move("b")), "effect", id="it is at its destination"),
    pytest.param(report(False, **move("b")), "effect", id="it is there, before the agent has ended"),
    pytest.param(report(error=failed("INTERNAL_ERROR"), **move("b")), "effect", id="the task failed and the VM moved"),
    pytest.param(report(False, **move("b", operations=("pool_migrate",))), None, id="it is there, and still worked on"),
    pytest.param(report(**move("b", operations=("pool_migrate",))), "silence",
                 id="the agent gave up on work that goes on"),
    pytest.param(report(False, **move("a")), None, id="not yet"),
    pytest.param(report(task="success", **move("a")), "no_effect", id="the task succeeded and the VM did not move"),
    pytest.param(report(error=failed("lost connection"), **move("a")), "no_effect",
                 id="it failed and may be tried again"),
    pytest.param(report(error=failed("VM_LACKS_FEATURE"), **move("a")), "refused", id="it is refused for good"),
    pytest.param(report(vm=None), "effect", id="the VM is gone"),
    pytest.param(report(**move("c")), "effect", id="somebody moved it elsewhere"),
    pytest.param(report(**move(None, "Halted"), suspended=False, task="failure"), "effect",
                 id="its owner shut it down"),
    pytest.param(report(**{**move(None, "Halted"), "acted": False}), "effect", id="it was halted before we acted"),
    pytest.param(report(**move(None, "Halted"), suspended=True, task="failure"), "refused",
                 id="it lost power in our move"),
    pytest.param(report(**move("a"), started_at_before={"b": "1"}, started_at={"b": "2"}), "floating",
                 id="a toolstack restarted in mid-move"),
    pytest.param(report(**{**move("a"), "acted": False}, started_at_before={"b": "1"}, started_at={"b": "2"}),
                 "no_effect", id="a toolstack restarted before anything was begun"),
    pytest.param(report(**move("a"), started_at_before={"b": "1"}, started_at={}), "no_effect",
                 id="unread is not restarted"),
    pytest.param(report(), None, id="nothing could be read"),
    pytest.param(report(error={**failed("x"), "effect": "none"}), "no_effect", id="nothing was begun and nothing read"),
])
def test_a_move_is_judged_by_where_the_vm_is(said: Report, event: str | None) -> None:
    assert judge("vm_migrate", _ARGS, said).event == event


@pytest.mark.parametrize("said, event", [
    pytest.param(report(joiner="slave", on_master=True, live=True, enabled=True), "effect", id="joined"),
    pytest.param(report(joiner="slave", on_master=True, live=False, enabled=False), "no_effect",
                 id="past return: awaited"),
    pytest.param(report(joiner="standalone", on_master=True, live=False, enabled=False), "refused", id="a dead record"),
    pytest.param(report(joiner="standalone", on_master=False, task="gone"), "refused", id="without effect"),
    pytest.param(report(joiner="unreachable", task="gone"), "silence", id="begun, and the master was not read"),
    pytest.param(report(error=failed("JOIN_CHECKS_FAILED"), joiner="standalone", task=None), "refused",
                 id="never begun"),
    pytest.param(report(False, joiner="standalone", on_master=False), None, id="under way"),
])
def test_a_join_is_judged_by_both_sides(said: Report, event: str | None) -> None:
    assert judge("pool_join", {}, said).event == event


def reading(at_s: float, **more: Any) -> dict[str, Any]:
    return {"at_s": at_s, "enabled": False, "live": True, "resident": [], "incoming": [], "creating": [], **more}


@pytest.mark.parametrize("times, event", [
    pytest.param([reading(0), reading(2)], "effect", id="empty twice"),
    pytest.param([reading(0)], "no_effect", id="only once"),
    pytest.param([reading(0), reading(0.5)], "no_effect", id="too close together"),
    pytest.param([reading(0, enabled=True), reading(2)], "no_effect", id="enabled in between"),
    pytest.param([reading(0), reading(2, resident=["v"])], "no_effect", id="a VM on it"),
    pytest.param([reading(0), reading(2, incoming=["v"])], "no_effect", id="a VM on its way"),
    pytest.param([reading(0), reading(2, creating=["clone"])], "no_effect", id="something being made there"),
    pytest.param([], "no_effect", id="nothing read"),
])
def test_a_host_is_drained_only_when_it_was_read_so_twice(times: list[dict[str, Any]], event: str) -> None:
    assert judge("observe", {"times": 2, "apart_s": 2.0}, report(times=times)).event == event


@pytest.mark.parametrize("kind, args, good, bad", [
    ("host_disable", {"mark": "o"}, {"enabled": False, "mark": "o"}, {"enabled": False, "mark": "other"}),
    ("host_enable", {}, {"enabled": True}, {"enabled": False}),
    ("pool_init", {"name_label": "a"}, {"pool": "p", "name_label": "a"}, {"pool": "p", "name_label": "b"}),
    ("pool_init", {"name_label": None}, {"pool": "p", "name_label": "b"}, {}),
    ("pool_eject", {}, {"on_master": False}, {"on_master": True}),
    ("host_destroy", {}, {"on_master": False}, {}),
    ("vm_start", {}, {"vm": {"power_state": "Running", "operations": []}}, {"vm": {"power_state": "Halted"}}),
    ("vm_start", {}, {"vm": None}, {}),
    ("sync_database", {}, {"synced": True}, {"synced": False}),
])
def test_every_other_order_is_done_when_its_goal_was_read(kind: str, args: dict[str, Any], good: dict[str, Any],
                                                         bad: dict[str, Any]) -> None:
    assert judge(kind, args, report(**good)).event == "effect"
    assert judge(kind, args, report(**bad)).event == "no_effect"
    assert judge(kind, args, report(False, **bad)).event is None
    assert judge(kind, args, report(error=failed("RBAC_PERMISSION_DENIED"), **bad)).event == "refused"

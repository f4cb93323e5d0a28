"""A whole conductor to which services and agents say what they should not: refused, never a bug, nothing stored."""

import dataclasses
import inspect
import itertools
import logging
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from conductor_door import DEADLINE_S, FIRST, Door, door, heartbeat, refused, report
from conductor_world import empty_database

from common import conductor_api, errors, mac, rpc
from common.messages import HostReport, PoolReport, Report, Sync, VmReport
from conductor.views import Views

_NAMES = itertools.count(1)
ODD: list[Any] = [None, True, -1, 1.5, 2 ** 70, float("nan"), "", "x", "x" * 300, "a\0b", "\ud800", "\u202e", [],
                  ["h1"], [None], {}, {"a": 1}, {"name": 5}, {"name": ""}, {"name": None}, {"name": "a\nb"},
                  {"host": 5}, {"plan": []}, [[]], [{}]]
GOOD: dict[str, Any] = {"host": "h1", "name": "n", "changes": {"name": "x"}, "metadata": {"k": "v"},
                        "wanted": "disable", "reason": "r", "vm": "v", "forced_down": True, "limit": 1, "after": 0,
                        "wait_s": 0, "members": True, "options": {}, "filters": {}}


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Door]:
    """A conductor that has heard of one host and has one aggregate."""
    shutil.copyfile(empty_database(), tmp_path / "corral.sqlite")
    transport = rpc.transport(f"corral-inproc://strangers-{next(_NAMES)}/")
    with door(transport, f"sqlite:///{tmp_path}/corral.sqlite") as one:
        one.agent("h1").sync(heartbeat("h1", 1, report=report("p1", "u1")))
        one.people.call({"user": "ann"}, "aggregate_create", name="rack1")
        yield one


def code_of(held: Door, method: str, context: dict[str, Any], arguments: dict[str, Any]) -> str | None:
    """Return the code with which a call is refused, None for a result."""
    client = rpc.Client(held.transport, rpc.TOPIC_CONDUCTOR, "1.1", DEADLINE_S)
    try:
        client.call(context, method, **arguments)
    except errors.Error as exc:
        return exc.code
    return None


def test_no_argument_of_a_service_is_a_bug(held: Door) -> None:
    bugs = []
    for method in conductor_api.METHODS:
        taken = list(inspect.signature(getattr(Views, method)).parameters)[2:]
        good = {**GOOD, "id": 1 if re.match("aggregate|migration|service", method) else "none"}
        assert code_of(held, method, {}, {"more": 1}) == "bad_message"
        for name, value in itertools.product(taken, ODD):
            arguments = {one: value if one == name else good.get(one) for one in taken}
            if code_of(held, method, {"user": "ann"}, arguments) == "bug":
                bugs.append((method, arguments))
    assert not bugs


def test_a_service_can_not_store_a_name_that_nobody_can_read(held: Door) -> None:
    for name in ("", " ", " a", "a\n", "a\u202eb", "\u200b", "x" * 256):
        for method, arguments in (("aggregate_create", {"name": name}), ("aggregate_update", {"id": 1, "changes": {
                "name": name}}), ("aggregate_create", {"name": "a", "availability_zone": name})):
            assert code_of(held, method, {}, arguments) in ("invalid", "bad_message")
    assert [one["name"] for one in held.people.call({}, "aggregate_list")["aggregates"]] == ["rack1"]


def test_no_context_is_a_bug(held: Door) -> None:
    for context in ({"user": {"a": 1}}, {"user": "a\0\x1b[31m" * 100, "idempotency_key": ["k"]}, {"is_admin": True},
                    {"user_id": 5, "project_id": [None], "idempotency_key": {"a": "\ud800"}}):
        assert code_of(held, "host_disable", context, {"host": "h1", "reason": "r"}) is None
    for one in held.people.call({}, "operation_list")["operations"]:
        assert one["user"].isprintable() and len(one["user"]) <= 255


def sent(held: Door, number: Iterator[int], method: str, arguments: dict[str, Any]) -> str | None:
    """Say something as the agent of h1, signed; return the code with which it is refused."""
    if method == "sync":
        arguments = {"sync": {**arguments["sync"], "sequence": next(number)}}
    else:
        arguments = {"host": "h1", "incarnation": FIRST, "sequence": next(number), **arguments}
    try:
        held.raw(method, {**arguments, "mac": mac.sign(held.key("h1"), method, arguments)}, version="1.2")
    except errors.Error as exc:
        return exc.code
    return None


def test_no_message_of_an_agent_is_a_bug_and_none_spoils_what_others_see(held: Door,
                                                                         caplog: pytest.LogCaptureFixture) -> None:
    number = itertools.count(1000)
    vm = VmReport("v1", "web1", "Running", "u1").to_wire()
    pool = {**report("p1", "u1"), "vms": [vm]}
    base = heartbeat("h1", 1, report=pool).to_wire()
    said = [{**base, one.name: value} for one in dataclasses.fields(Sync) for value in ODD
            if one.name not in ("host", "incarnation", "sequence")]
    reports = [{**pool, one.name: value} for one in dataclasses.fields(PoolReport) for value in ODD]
    for kind, name in ((HostReport, "hosts"), (VmReport, "vms")):
        whole = pool[name][0]
        reports += [{**pool, name: [{**whole, one.name: value}]} for one in dataclasses.fields(kind) for value in ODD]
        reports += [{**pool, name: [{one: whole[one] for one in whole if one != left_out}]} for left_out in whole]
    for sync in said + [{**base, "report": one} for one in reports]:
        assert sent(held, number, "sync", {"sync": sync}) != "bug", sync
    for method in ("hypervisor_list", "vm_list", "host_list", "service_list", "aggregate_list", "migration_list"):
        assert code_of(held, method, {}, {}) is None, method
    assert code_of(held, "plan_create", {}, {"host": "h1", "wanted": "disable"}) != "bug"
    assert not [one for one in caplog.records if one.levelno >= logging.ERROR]


def test_no_report_of_an_agent_is_a_bug(held: Door) -> None:
    number = itertools.count(1000)
    held.people.call({"user": "ann"}, "host_disable", host="h1")
    order = held.agent("h1").sync(heartbeat("h1", next(number))).orders[0]
    claim = {"task": order["task"], "attempt": order["attempt"], "session": "s"}
    for name, value in itertools.product(claim, ODD):
        assert sent(held, number, "claim", {**claim, name: value}) != "bug", (name, value)
    assert sent(held, number, "claim", claim) is None
    whole = Report(order["task"], order["attempt"], False).to_wire()
    changed: list[dict[str, Any]] = [{one.name: value} for one in dataclasses.fields(Report) for value in ODD]
    changed += [{"readings": {name: value}} for name in ("enabled", "live", "mark") for value in ODD]
    for change in changed:
        assert sent(held, number, "report", {"report": {**whole, **change}}) != "bug", change


def test_a_stranger_without_a_key_is_told_the_same_whatever_he_says(held: Door) -> None:
    for change in ({}, {"role": 5}, {"report": "x"}, {"host": "h9"}):
        refused("mac_missing", held.raw, "sync", {"sync": heartbeat("h1", 9).to_wire() | change})

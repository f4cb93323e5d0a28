"""The simulator's sessions, tasks, events, table and generic calls, without HTTP."""

import json
from typing import Any

import pytest
from simulator_host import failure_of, one_host

from agent.simulator import DirectClient, Dropped, Failure, default_spec, direct_world
from agent.simulator.check_datamodel import compare
from agent.simulator.derived import full_record
from agent.simulator.spec import VmSpec, WorldSpec
from agent.simulator.steps import CALLS
from agent.simulator.table import DATA_FILE, NULL, Moment, Table, load_table

PYTHON = {"string": str, "int": int, "float": float, "bool": bool, "datetime": Moment}


def fits(kind: str, value: Any) -> bool:
    if kind.endswith(" set"):
        return isinstance(value, list) and all(fits(kind[:-4], item) for item in value)
    if kind.endswith(" map"):
        key_kind, value_kind = kind[1:-5].split(" -> ")
        return isinstance(value, dict) and all(
            fits(key_kind, key) and fits(value_kind, item) for key, item in value.items())
    if kind.endswith(" ref"):
        return isinstance(value, str) and value.startswith("OpaqueRef:")
    return type(value) is PYTHON.get(kind, str)


# ---- table
def test_every_field_of_every_record_has_the_type_of_the_table() -> None:
    spec = default_spec(hosts=2, vms=2)
    guest = VmSpec("running", "h1", state="running", disks=("shared", "local"), networks=("pool-wide",), group="g")
    world, clock = direct_world(WorldSpec(spec.hosts, spec.pools, spec.storage, spec.networks, (*spec.vms, guest)))
    client = DirectClient(world, clock, "127.1.0.1").login()
    client("task.create", "mine", "")
    db, seen = world.pools[1], set()
    for cls, info in world.table.classes.items():
        for ref in db.refs(cls):
            seen.add(cls)
            record = full_record(db, cls, ref)
            assert list(record) == list(info.defaults), cls
            for name, value in record.items():
                assert fits(info.fields[name].type, value), (cls, name, value)
                if info.fields[name].access == "gone":
                    assert failure_of(client, f"{cls}.get_{name}", ref) == ["MESSAGE_REMOVED"]
                else:
                    assert client(f"{cls}.get_{name}", ref) == value
    assert seen >= {"session", "task", "pool", "host", "host_metrics", "host_cpu", "VM", "VM_metrics", "VM_group",
                    "VM_guest_metrics", "VBD", "VDI", "VIF", "PIF", "SR", "PBD", "network", "SM"}


def test_every_message_with_too_many_arguments_says_how_many_it_wants() -> None:
    client = one_host()
    for message in load_table().messages.values():
        if message.needs_session:
            given = ["x"] * (len(message.params) + 1)
            assert failure_of(client, message.full_name, *given) == [
                "MESSAGE_PARAMETER_COUNT_MISMATCH", message.full_name, str(message.required), str(len(given))]


def test_every_served_message_has_behaviour() -> None:
    custom = {message.full_name for message in load_table().messages.values() if message.kind == "custom"}
    assert custom == set(CALLS)


def test_the_comparison_finds_each_kind_of_difference() -> None:
    table = load_table()
    real: dict[str, Any] = {}
    for cls, info in table.classes.items():
        access = {"rw": "RW", "ctor": "RO/constructor", "ro": "RO/runtime", "gone": "RO/runtime"}
        real[cls] = {"fields": {name: {"type": field.type, "q": access[field.access],
                                       "state": "removed" if field.access == "gone" else "published"}
                                for name, field in info.fields.items()}, "messages": {}}
    for message in table.messages.values():
        session = [["session_id", "session ref"]] if message.needs_session else []
        names = [name for name, _kind in message.params[len(message.params) - len(message.defaults):]]
        real[message.cls]["messages"][message.name] = {
            "params": session + [list(param) for param in message.params], "result": message.result,
            "async": message.is_async, "session": message.needs_session,
            "defaults": dict(zip(names, message.defaults, strict=True))}
    assert compare(table, real, {}) == []
    real["VM"]["fields"]["power_state"]["type"] = "string"
    del real["VM"]["fields"]["order"]
    del real["host"]["messages"]["disable"]
    real["host"]["messages"]["enable"]["async"] = False
    real["pool"]["messages"]["join"]["params"].pop()
    real["VM"]["messages"]["dance"] = {}
    wrong = "\n".join(compare(table, real, {}))
    for place in ("VM.power_state:", "VM.order: invented", "host.disable: no such", "host.enable: async",
                  "pool.join: parameters", "VM.dance: message is missing"):
        assert place in wrong
    assert Table(json.loads(DATA_FILE.read_text(encoding="utf-8"))).messages == table.messages


# ---- calls
def test_calls_are_refused_as_xapi_refuses_them() -> None:
    client = one_host()
    vm = client("VM.get_all")[0]
    assert failure_of(client, "host.nosuch") == ["MESSAGE_METHOD_UNKNOWN", "host.nosuch"]
    assert failure_of(client, "session.get_all") == ["MESSAGE_METHOD_UNKNOWN", "session.get_all"]
    assert failure_of(client, "host.disable") == ["MESSAGE_PARAMETER_COUNT_MISMATCH", "host.disable", "1", "0"]
    assert failure_of(client, "VM.get_power_state", "OpaqueRef:x") == ["HANDLE_INVALID", "VM", "OpaqueRef:x"]
    assert failure_of(client, "VM.get_by_uuid", "x") == ["UUID_INVALID", "VM", "x"]
    assert failure_of(client, "host.disable", {"a": "b"}) == [
        "INTERNAL_ERROR", "Failure(\"Expected string, got '{a:S(b)}'\")"]
    assert failure_of(client, "VM_metrics.get_VCPUs_utilisation", client("VM.get_metrics", vm)) == ["MESSAGE_REMOVED"]
    assert failure_of(client, "Async.session.logout") == [
        "Fault", "No async mode for this operation (rpc: session.logout)"]
    assert failure_of(client, "VM.set_uuid", vm, "x") == ["MESSAGE_METHOD_UNKNOWN", "VM.set_uuid"]
    client.session = "OpaqueRef:bad"
    assert failure_of(client, "host.get_all") == ["SESSION_INVALID", "OpaqueRef:bad"]


def test_a_message_without_behaviour_is_checked_like_any_other_and_then_says_so() -> None:
    client = one_host()
    vm = client("VM.get_all")[0]
    unserved = [message for message in load_table().messages.values() if message.kind == "unserved"]
    assert len(unserved) > 250
    assert failure_of(client, "VM.snapshot", vm, "x", []) == ["NOT_IMPLEMENTED", "VM.snapshot"]
    assert failure_of(client, "Async.VM.snapshot", vm, "x", []) == ["NOT_IMPLEMENTED", "VM.snapshot"]
    assert failure_of(client, "VM.snapshot") == ["MESSAGE_PARAMETER_COUNT_MISMATCH", "VM.snapshot", "2", "0"]
    assert failure_of(client, "VM.snapshot_with_quiesce", vm, "x") == ["MESSAGE_REMOVED"]
    assert failure_of(client, "VGPU.get_all") == ["NOT_IMPLEMENTED", "VGPU.get_all"]
    assert failure_of(client, "VM.dance", vm) == ["MESSAGE_METHOD_UNKNOWN", "VM.dance"]


@pytest.mark.parametrize("cls, fields, child_of", [
    ("VBD", {"type": "Disk", "mode": "RW", "userdevice": "7"}, "VBDs"),
    ("VIF", {"device": "3", "MAC": "52:54:00:00:00:01"}, "VIFs"),
])
def test_devices_are_made_and_removed_but_not_those_of_a_running_vm(cls: str, fields: dict[str, Any],
                                                                    child_of: str) -> None:
    client = one_host()
    vm, host = client("VM.get_by_name_label", "vm01")[0], client("host.get_all")[0]
    network = client("network.get_all")[0]
    ref = client(f"{cls}.create", {**fields, "VM": vm, "network": network, "nonsense": "x"})
    assert ref in client(f"VM.get_{child_of}", vm)
    client("VM.start_on", vm, host, False, False)
    assert failure_of(client, f"{cls}.destroy", ref)[0] == "OPERATION_NOT_ALLOWED"
    client("VM.hard_shutdown", vm)
    client(f"{cls}.destroy", ref)
    assert ref not in client(f"VM.get_{child_of}", vm)
    assert failure_of(client, f"{cls}.create", {"VM": "OpaqueRef:x"}) == ["HANDLE_INVALID", "VM", "OpaqueRef:x"]
    assert failure_of(client, f"{cls}.create", {"VM": 7})[0] == "INTERNAL_ERROR"


def test_plain_setters_do_what_their_name_says() -> None:
    client = one_host()
    vm, network = client("VM.get_by_name_label", "vm01")[0], client("network.get_all")[0]
    client("VM.set_order", vm, "0x10")
    client("VM.add_to_other_config", vm, "a", "b")
    client("network.add_purpose", network, "nbd")
    assert client("VM.get_order", vm) == 16
    assert client("VM.get_other_config", vm)["a"] == "b"
    assert failure_of(client, "VM.add_to_other_config", vm, "a", "c") == [
        "MAP_DUPLICATE_KEY", "VM", "other_config", vm, "a"]
    client("VM.remove_from_other_config", vm, "a")
    client("network.remove_purpose", network, "nbd")
    assert "a" not in client("VM.get_other_config", vm) and client("network.get_purpose", network) == []
    task = client("Async.VM.set_order", vm, 1)
    assert client("task.get_status", task) == "success"


@pytest.mark.parametrize("method, params", [
    ("task.set_status", ["done"]), ("VM.set_actions_after_crash", ["weep"]), ("VM.set_actions_after_reboot", ["weep"]),
    ("VM.add_to_blocked_operations", ["dance", "why"]), ("network.add_purpose", ["fun"])])
def test_a_word_that_an_enumeration_lacks_is_no_value(method: str, params: list[Any]) -> None:
    client = one_host()
    own = client("task.create", "x", "") if method.startswith("task") else client(method.split(".")[0] + ".get_all")[0]
    assert failure_of(client, method, own, *params) == ["INTERNAL_ERROR", 'Failure("Unknown tag/contents")']


@pytest.mark.parametrize("method, params, refused", [
    ("VM.pool_migrate", [NULL, {}], ["HANDLE_INVALID", "host", NULL]),
    ("VM.start_on", [NULL, False, False], ["HANDLE_INVALID", "host", NULL]),
    ("VM.assert_can_boot_here", [NULL], ["HANDLE_INVALID", "host", NULL]),
    ("VM.set_order", [2**63], ["INTERNAL_ERROR", 'Failure("Int64.of_string")']),
    ("VM.set_HVM_shadow_multiplier", [float("nan")], ["INVALID_VALUE", "HVM_shadow_multiplier", "nan"]),
    ("VM.set_HVM_shadow_multiplier", [float("inf")], ["INVALID_VALUE", "HVM_shadow_multiplier", "inf"])])
def test_what_stands_for_nothing_is_no_argument(method: str, params: list[Any], refused: list[str]) -> None:
    client = one_host()
    assert failure_of(client, method, client("VM.get_by_name_label", "vm01")[0], *params) == refused


@pytest.mark.parametrize("cls, owner", [("VBD", "VM"), ("VIF", "VM"), ("PBD", "host"), ("VDI", "SR")])
def test_what_belongs_to_nothing_is_not_made(cls: str, owner: str) -> None:
    assert failure_of(one_host(), f"{cls}.create", {}) == ["HANDLE_INVALID", owner, NULL]


def test_notices_are_written_and_found_by_object_and_time() -> None:
    client = one_host()
    pool = client("pool.get_uuid", client("pool.get_all")[0])
    first = client("message.create", "NOTE", 3, "Pool", pool, "text")
    client.pass_time(60)
    moment = client.world.moment()
    second = client("message.create", "NOTE", 3, "Pool", pool, "more")
    assert set(client("message.get", "Pool", pool, moment)) == {second}
    assert set(client("message.get_all_records")) == {first, second}
    client("message.destroy_many", [first, second])
    assert client("message.get_since", "19700101T00:00:00Z") == {}
    assert failure_of(client, "message.create", "NOTE", 3, "VM", "x", "") == ["UUID_INVALID", "VM", "x"]


def test_a_map_key_can_be_added_once_and_removed_without_being_there() -> None:
    client = one_host()
    pool = client("pool.get_all")[0]
    client("pool.add_to_other_config", pool, "lock", "a")
    assert failure_of(client, "pool.add_to_other_config", pool, "lock", "a") == [
        "MAP_DUPLICATE_KEY", "pool", "other_config", pool, "lock"]
    assert failure_of(client, "pool.add_to_other_config", pool, "", "a") == [
        "INTERNAL_ERROR", "Db_exn.Empty_key_in_map"]
    client("pool.remove_from_other_config", pool, "lock")
    client("pool.remove_from_other_config", pool, "lock")
    assert "lock" not in client("pool.get_other_config", pool)


def test_a_wrong_password_is_refused_only_after_a_while() -> None:
    client = one_host()
    begin = client.clock.at
    with pytest.raises(Failure) as refusal:
        client.login("wrong")
    assert refusal.value.description == ["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"]
    assert client.clock.at - begin == pytest.approx(2.3)


def test_a_foreign_session_is_found_by_uuid_and_can_be_ended() -> None:
    first = one_host()
    second = DirectClient(first.world, first.clock, first.address, originator="other").login()
    found = first("session.get_by_uuid", second("session.get_uuid", second.session))
    assert found == second.session
    assert first("session.get_originator", found) == "other"
    first.raw("session.logout", found)
    assert failure_of(second, "host.get_all") == ["SESSION_INVALID", found]
    assert failure_of(first, "session.get_record", found) == ["HANDLE_INVALID", "session", found]


def test_a_session_lists_the_tasks_that_were_begun_with_it_and_takes_none_along() -> None:
    first = one_host()
    second = DirectClient(first.world, first.clock, first.address).login()
    task = second("Async.host.disable", second("host.get_all")[0])
    own = second("task.create", "mine", "")
    assert first("session.get_tasks", second.session) == [task, own]
    assert first("session.get_tasks", first.session) == []
    second("task.destroy", task)
    assert first("session.get_record", second.session)["tasks"] == [own]
    first.raw("session.logout", second.session)
    assert first("task.get_name_label", own) == "mine"


def test_a_task_of_ones_own_is_the_parent_of_the_call_that_names_it() -> None:
    client = one_host()
    host = client("host.get_all")[0]
    parent = client("task.create", "ours", "text")
    client("task.add_to_other_config", parent, "key", "value")
    child = client("Async.host.disable", host, headers={"subtask-of": parent})
    assert client("task.get_subtask_of", child) == parent
    assert client("task.get_subtasks", parent) == [child]
    assert client("task.get_status", parent) == "pending"
    assert client("task.get_name_label", child) == "Async.host.disable"
    client("task.cancel", parent)
    client("task.destroy", parent)
    assert client("task.get_current_operations", parent) == {parent: "destroy"} | {parent: "destroy"}
    client("task.destroy", child)
    assert failure_of(client, "task.destroy", child) == ["HANDLE_INVALID", "task", child]


def test_completed_tasks_are_collected_when_there_are_too_many_or_too_old_ones() -> None:
    client = one_host()
    host = client("host.get_all")[0]
    tasks = [client("Async.host.enable", host) for _ in range(230)]
    assert failure_of(client, "task.get_status", tasks[0])[0] == "HANDLE_INVALID"
    assert client("task.get_status", tasks[-1]) == "success"
    client.pass_time(66 * 60)
    last = client("Async.host.enable", host)
    assert client("task.get_all") == [last]


# ---- events
def test_events_are_the_difference_and_not_a_log() -> None:
    client = one_host()
    vm, gone = client("VM.get_by_name_label", "vm01")[0], client("VM.create", {"name_label": "seen"})
    first = client("event.from", ["VM"], "", 0.0)
    assert {event["operation"] for event in first["events"]} == {"add"}
    assert {event["class"] for event in first["events"]} == {"vm"}
    assert first["valid_ref_counts"]["vm"] == 4
    for number in range(5):
        client("VM.set_name_label", vm, f"name {number}")
    for ref in (gone, client("VM.create", {"name_label": "never seen"})):
        client("VM.destroy", ref)
    second = client("event.from", ["vm"], first["token"], 1.0)
    modified = [event for event in second["events"] if event["operation"] == "mod"]
    assert [(event["ref"], event["snapshot"]["name_label"]) for event in modified] == [(vm, "name 4")]
    deleted = [event for event in second["events"] if event["operation"] == "del"]
    assert [event["ref"] for event in deleted] == [gone]
    assert "snapshot" not in deleted[0]
    client("VM.set_name_label", vm, "name 4")
    assert client("event.from", ["vm"], second["token"], 0.0)["events"] == []


def test_deletions_are_forgotten_when_there_are_too_many_and_the_counts_tell() -> None:
    client = one_host()
    gone = [client("VM.create", {"name_label": "gone"}) for _ in range(600)]
    first = client("event.from", ["vm"], "", 0.0)
    for vm in gone:
        client("VM.destroy", vm)
    second = client("event.from", ["vm"], first["token"], 0.0)
    told = [event["ref"] for event in second["events"] if event["operation"] == "del"]
    assert 256 <= len(told) <= 512 and set(told) == set(gone[-len(told):])
    assert second["valid_ref_counts"]["vm"] == first["valid_ref_counts"]["vm"] - 600 == len(client("VM.get_all"))


def test_a_subscription_to_one_object_hears_of_that_object_only() -> None:
    client = one_host()
    vm, other = (client("VM.get_by_name_label", name)[0] for name in ("vm01", "vm02"))
    first = client("event.from", [f"VM/{vm}"], "", 0.0)
    assert [event["ref"] for event in first["events"]] == [vm]
    client("VM.set_name_label", other, "x")
    begin = client.clock.at
    assert client("event.from", [f"vm/{vm}"], first["token"], 5.0)["events"] == []
    assert client.clock.at - begin == 5.0


def test_a_change_of_residence_is_a_change_of_both_hosts() -> None:
    client = one_host()
    vm, host = client("VM.get_by_name_label", "vm01")[0], client("host.get_all")[0]
    token = client("event.from", ["host"], "", 0.0)["token"]
    client("VM.start_on", vm, host, False, False)
    event = client("event.from", ["host"], token, 0.0)["events"][0]
    assert vm in event["snapshot"]["resident_VMs"]


def test_the_end_of_a_session_wakes_who_waits_for_events() -> None:
    client = one_host()
    other = DirectClient(client.world, client.clock, client.address).login()
    token = other("event.from", ["vm"], "", 0.0)["token"]
    waiting = client.world.call(other.address, "event.from", [other.session, ["vm"], token, 60.0])
    assert waiting.poll(client.world) == (False, None)
    client.raw("session.logout", other.session)
    with pytest.raises(Failure) as ended:
        waiting.poll(client.world)
    assert ended.value.description == ["SESSION_INVALID", other.session]


@pytest.mark.parametrize("token", ["xyz", "5", "1,x"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    assert failure_of(one_host(), "event.from", ["vm"], token, 0.0) == ["EVENT_FROM_TOKEN_PARSE_FAILURE", token]


def test_classes_that_do_not_exist_bring_no_events_and_no_error() -> None:
    assert one_host()("event.from", ["nosuch", "a/b/c"], "", 0.0)["events"] == []


# ---- faults and log
def test_a_fault_meets_the_next_call_only_and_the_log_tells_all() -> None:
    client = one_host()
    host = client("host.get_all")[0]
    client.world.fail_next("host.disable", "HOST_OFFLINE", host)
    assert failure_of(client, "host.disable", host) == ["HOST_OFFLINE", host]
    client.world.drop_next("host.disable", after=True)
    with pytest.raises(Dropped):
        client("host.disable", host)
    assert client("host.get_enabled", host) is False
    client.world.drop_next("host.enable")
    with pytest.raises(Dropped):
        client("host.enable", host)
    assert client("host.get_enabled", host) is False
    client.world.delay_next("host.enable", 7.0)
    begin = client.clock.at
    assert client("host.enable", host) is None
    assert (client.clock.at - begin, client("host.get_enabled", host)) == (7.0, True)
    log = [(one.method, one.result, one.originator) for one in client.world.calls if "able" in one.method]
    assert log[0] == ("host.disable", "HOST_OFFLINE", "direct")
    assert log[1] == ("host.disable", "dropped", "direct")
    assert log[3] == ("host.enable", "dropped", "direct")


def test_memory_that_never_was_reserved_is_null() -> None:
    client = one_host()
    vm = client("VM.get_by_name_label", "vm01")[0]
    assert client("VM.get_scheduled_to_be_resident_on", vm) == NULL

"""The simulator over real HTTP, driven by the XenAPI package and by raw requests."""

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import xmlrpc.client
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from agent.simulator import Simulator, default_spec
from agent.simulator.spec import HostSpec, NetworkSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec

SPEED = 100.0
DEADLINE_S = 60.0


@pytest.fixture
def sim() -> Iterator[Simulator]:
    simulator = Simulator(default_spec(hosts=3, vms=3), speed=SPEED)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def pool() -> Iterator[Simulator]:
    names = ("h1", "h2")
    guests = tuple(VmSpec(f"v{number}", "h1", state="running", disks=("shared",)) for number in range(3))
    spec = WorldSpec(tuple(HostSpec(name) for name in names), (PoolSpec(names),), (StorageSpec("shared", "h1"),),
                     (NetworkSpec("pool-wide", "h1", "eth1"),), guests)
    simulator = Simulator(spec, speed=SPEED / 5)
    simulator.start()
    yield simulator
    simulator.stop()


def session(simulator: Simulator, number: int = 0, password: str = "") -> Any:
    client = XenAPI.Session(simulator.hosts[number][1])
    client.xenapi.login_with_password("root", password or simulator.login[1], "1.0", "contract")
    return client


def events(client: Any, classes: list[str], token: str, timeout: float = 5.0) -> dict[str, Any]:
    answer: dict[str, Any] = getattr(client.xenapi.event, "from")(classes, token, timeout)
    return answer


def ended(client: Any, task: str) -> dict[str, Any]:
    """Follow a task by events until it has ended."""
    token = ""
    while True:
        answer = events(client, [f"task/{task}"], token)
        token = answer["token"]
        for event in answer["events"]:
            if event["snapshot"]["status"] != "pending":
                return dict(event["snapshot"])


def until(simulator: Simulator, claim: Callable[[], bool]) -> None:
    end = time.monotonic() + DEADLINE_S
    with simulator.lock:  # a call that begins to wait tells nobody, hence the short waits
        while not simulator.lock.wait_for(claim, 0.02):
            assert time.monotonic() < end


def post(simulator: Simulator, body: bytes, path: str = "/", method: str = "POST",
         headers: dict[str, str] | None = None) -> tuple[int, bytes, http.client.HTTPMessage]:
    address = simulator.hosts[0][1].removeprefix("http://")
    connection = http.client.HTTPConnection(address, timeout=DEADLINE_S)
    with contextlib.closing(connection):
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read(), response.headers


def test_login_join_and_membership_through_the_xenapi_package(sim: Simulator) -> None:
    master, joiner = session(sim), session(sim, 1)
    address = master.xenapi.host.get_address(master.xenapi.host.get_all()[0])
    uuid = joiner.xenapi.host.get_uuid(joiner.xenapi.host.get_all()[0])
    task = joiner.xenapi.Async.pool.join(address, "root", sim.login[1])
    assert ended(joiner, task)["status"] == "success"
    token = ""
    while not master.xenapi.host.get_all() or not any(
            record["uuid"] == uuid and record["enabled"] for record in master.xenapi.host.get_all_records().values()):
        token = events(master, ["host"], token)["token"]
    with pytest.raises(XenAPI.Failure) as refusal:
        session(sim, 1)
    assert refusal.value.details == ["HOST_IS_SLAVE", address]


def test_the_lines_in_the_documentation_work(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "doc" / "simulator.md").read_text(encoding="utf-8")
    simulator = Simulator(default_spec(), speed=100)
    simulator.start()
    try:
        names: dict[str, Any] = {}
        for part in text.split("```python\n")[1:3]:
            code = part.split("```")[0].replace(":41234", f":{simulator.port}")
            for number, address in enumerate(simulator.world.nodes, 1):
                code = code.replace(f"127.20.0.{number}", address)
            exec(code, names)
    finally:
        simulator.stop()
    assert capsys.readouterr().out == f"h1 {next(iter(simulator.world.nodes))} True\nTrue\n"


def test_a_wrong_password_and_a_bad_session_are_ordinary_failures(sim: Simulator) -> None:
    with pytest.raises(XenAPI.Failure) as refusal:
        session(sim, 0, "wrong")
    assert refusal.value.details == ["SESSION_AUTHENTICATION_FAILED", "root", "Authentication failure"]
    proxy = xmlrpc.client.ServerProxy(sim.hosts[0][1])
    assert proxy.host.get_all("OpaqueRef:bad") == {
        "Status": "Failure", "ErrorDescription": ["SESSION_INVALID", "OpaqueRef:bad"]}


def test_a_migration_is_followed_by_events_to_its_end(pool: Simulator) -> None:
    client = session(pool)
    vm = client.xenapi.VM.get_by_name_label("v0")[0]
    target = client.xenapi.host.get_by_name_label("h2")[0]
    token = events(client, ["vm"], "", 0.0)["token"]
    task = client.xenapi.Async.VM.pool_migrate(vm, target, {"live": "true"})
    residence: list[tuple[str, dict[str, str]]] = []
    while not residence or residence[-1] != (target, {}):
        answer = events(client, ["vm"], token)
        token = answer["token"]
        residence += [(event["snapshot"]["resident_on"], event["snapshot"]["current_operations"])
                      for event in answer["events"] if event["ref"] == vm]
    assert (target, {task: "pool_migrate"}) in residence
    assert client.xenapi.task.get_status(task) == "success"
    assert client.xenapi.task.get_result(task) == "<value></value>"


def test_a_synchronous_migration_answers_when_it_is_over_and_others_are_served_meanwhile(pool: Simulator) -> None:
    client, other = session(pool), session(pool)
    vm, target = client.xenapi.VM.get_by_name_label("v0")[0], client.xenapi.host.get_by_name_label("h2")[0]
    with ThreadPoolExecutor(1) as threads:
        moving = threads.submit(client.xenapi.VM.pool_migrate, vm, target, {})
        until(pool, lambda: bool(pool.world.jobs))
        labels = [record["name_label"] for record in other.xenapi.task.get_all_records().values()]
        assert labels == ["VM.pool_migrate"]
        assert moving.result(DEADLINE_S) == ""
    assert other.xenapi.VM.get_resident_on(vm) == target
    assert other.xenapi.task.get_all() == []


def test_the_header_subtask_of_makes_our_task_the_parent(pool: Simulator) -> None:
    client = session(pool)
    parent = client.xenapi.task.create("ours", "")
    body = xmlrpc.client.dumps((client._session, client.xenapi.host.get_all()[1]), "Async.host.disable").encode()
    status, reply, _headers = post(pool, body, headers={"Subtask-of": parent})
    child = re.findall(r"OpaqueRef:[0-9a-f-]+", reply.decode())[0]
    assert status == 200
    assert client.xenapi.task.get_subtask_of(child) == parent
    assert client.xenapi.task.get_subtasks(parent) == [child]


def test_a_logout_wakes_who_waits_for_events(pool: Simulator) -> None:
    waiting = session(pool)
    token = events(waiting, ["vm"], "", 0.0)["token"]
    proxy = xmlrpc.client.ServerProxy(pool.hosts[0][1])
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(getattr(proxy.event, "from"), waiting._session, ["vm"], token, 60.0)
        until(pool, lambda: any(call.method == "event.from" and call.result == "pending" for call in pool.world.calls))
        xmlrpc.client.ServerProxy(pool.hosts[0][1]).session.logout(waiting._session)
        assert answer.result(5)["ErrorDescription"] == ["SESSION_INVALID", waiting._session]


def test_a_restart_closes_connections_without_an_answer(pool: Simulator) -> None:
    client = session(pool)
    client.xenapi.host.restart_agent(client.xenapi.host.get_by_name_label("h1")[0])
    node = pool.world.node_named("h1")
    until(pool, lambda: node.power == "down")
    with pytest.raises((OSError, http.client.HTTPException)):
        client.xenapi.host.get_all()
    until(pool, lambda: node.power == "up")
    proxy = xmlrpc.client.ServerProxy(pool.hosts[0][1])
    assert proxy.host.get_all(client._session)["ErrorDescription"][0] == "SESSION_INVALID"  # type: ignore[index,call-overload]


# ---- the wire
def test_a_login_looks_on_the_wire_as_xapis_did(sim: Simulator) -> None:
    body = xmlrpc.client.dumps(("root", sim.login[1], "1.0", "wire"), "session.login_with_password").encode()
    status, reply, headers = post(sim, body, "/RPC2")
    assert status == 200
    assert re.sub(rb"OpaqueRef:[0-9a-f-]{36}", b"REF", reply) == (
        b'<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name>'
        b"<value>Success</value></member><member><name>Value</name><value>REF</value></member></struct></value>"
        b"</param></params></methodResponse>")
    assert (headers["content-type"], headers["connection"]) == ("text/xml", "keep-alive")
    assert headers["cache-control"] == "no-cache, no-store"


def test_a_failure_looks_on_the_wire_as_xapis_did(sim: Simulator) -> None:
    client = session(sim)
    body = xmlrpc.client.dumps((client._session,), "host.disable").encode()
    assert post(sim, body)[1] == (
        b'<?xml version="1.0"?><methodResponse><params><param><value><struct><member><name>Status</name>'
        b"<value>Failure</value></member><member><name>ErrorDescription</name><value><array><data>"
        b"<value>MESSAGE_PARAMETER_COUNT_MISMATCH</value><value>host.disable</value><value>1</value><value>0</value>"
        b"</data></array></value></member></struct></value></param></params></methodResponse>")


def test_values_have_the_types_of_the_real_wire(pool: Simulator) -> None:
    client = session(pool)
    vm = client.xenapi.VM.get_by_name_label("v0")[0]
    record = post(pool, xmlrpc.client.dumps((client._session, vm), "VM.get_record").encode())[1].decode()
    for part in ("<name>memory_static_max</name><value>2147483648</value>",
                 "<name>HVM_shadow_multiplier</name><value><double>1</double></value>",
                 "<name>is_a_template</name><value><boolean>0</boolean></value>", "<name>PV_args</name><value></value>",
                 "<name>snapshot_time</name><value><dateTime.iso8601>19700101T00:00:00Z</dateTime.iso8601></value>",
                 "<name>VTPMs</name><value><array><data></data></array></value>",
                 "<name>current_operations</name><value><struct></struct></value>"):
        assert part in record
    body = xmlrpc.client.dumps((client._session, ["pool"], "", 0.0), "event.from").encode()
    assert b"<name>vm</name><value><i4>5</i4></value>" in post(pool, body)[1]


def test_a_map_key_with_a_bracket_makes_the_reply_ill_formed_but_not_the_json(sim: Simulator) -> None:
    client = session(sim)
    ref = client.xenapi.pool.get_all()[0]
    client.xenapi.pool.add_to_other_config(ref, "a<", 'v<&>"')
    body = xmlrpc.client.dumps((client._session, ref), "pool.get_other_config").encode()
    assert b"<name>a<</name><value>v&lt;&amp;&gt;&quot;</value>" in post(sim, body)[1]
    with pytest.raises(Exception, match="not well-formed"):
        client.xenapi.pool.get_other_config(ref)
    asked = {"jsonrpc": "2.0", "id": 7, "method": "pool.get_other_config", "params": [client._session, ref]}
    status, reply, _headers = post(sim, json.dumps(asked).encode(), "/jsonrpc")
    assert (status, json.loads(reply)["result"]["a<"], json.loads(reply)["id"]) == (200, 'v<&>"', 7)
    client.xenapi.pool.remove_from_other_config(ref, "a<")
    assert "a<" not in client.xenapi.pool.get_other_config(ref)


@pytest.mark.parametrize(("request_body", "reply"), [
    ({"jsonrpc": "2.0", "id": 7, "method": "host.nosuch", "params": []},
     {"jsonrpc": "2.0", "error": {"code": 1, "message": "MESSAGE_METHOD_UNKNOWN", "data": ["host.nosuch"]}, "id": 7}),
    ({"id": 3, "method": "host.nosuch", "params": []},
     {"result": None, "error": ["MESSAGE_METHOD_UNKNOWN", "host.nosuch"], "id": 3}),
])
def test_json_failures_look_as_xapis_did(sim: Simulator, request_body: dict[str, Any], reply: dict[str, Any]) -> None:
    status, body, headers = post(sim, json.dumps(request_body).encode(), "/jsonrpc")
    assert (status, json.loads(body), headers["content-type"]) == (200, reply, "application/json")


@pytest.mark.parametrize(("method", "body", "status"), [
    ("POST", b"<methodCall>", 500), ("POST", b"\xff\xfe", 500), ("POST", b"", 500),
    ("POST", b"<?xml version='1.0'?><methodResponse><params></params></methodResponse>", 500),
    ("POST", b"x" * (301 * 1024), 500), ("GET", b"", 403), ("PUT", b"x", 403), ("HEAD", b"", 501),
    ("OPTIONS", b"", 200)])
def test_requests_that_are_no_calls_get_an_http_error(sim: Simulator, method: str, body: bytes, status: int) -> None:
    assert post(sim, body, method=method)[0] == status


def test_json_that_is_no_call_gets_an_http_error(sim: Simulator) -> None:
    for body in (b'{"jsonrpc":"2.0",', b"[]", b'{"jsonrpc":"2.0","method":"host.get_all","params":[]}'):
        assert post(sim, body, "/jsonrpc")[0] == 500


def test_a_request_without_a_length_is_refused(sim: Simulator) -> None:
    host, port = sim.hosts[0][1].removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), DEADLINE_S) as raw:
        raw.sendall(b"POST / HTTP/1.1\r\nhost: x\r\n\r\n")
        assert raw.recv(4096).startswith(b"HTTP/1.1 500 ")


def test_a_hundred_blocked_readers_are_all_woken_by_one_change(pool: Simulator) -> None:
    client = session(pool)
    vm = client.xenapi.VM.get_by_name_label("v0")[0]
    token = events(client, ["vm"], "", 0.0)["token"]
    answers: list[int] = []
    lock = threading.Lock()

    def read() -> None:
        proxy = xmlrpc.client.ServerProxy(pool.hosts[0][1])
        answer: Any = getattr(proxy.event, "from")(client._session, ["vm"], token, 30.0)
        with lock:
            answers.append(len(answer["Value"]["events"]))

    threads = [threading.Thread(target=read) for _ in range(100)]
    for thread in threads:
        thread.start()
    until(pool, lambda: sum(call.result == "pending" for call in pool.world.calls) == 100)
    client.xenapi.VM.set_name_label(vm, "new")
    for thread in threads:
        thread.join(DEADLINE_S)
    assert answers == [1] * 100


# ---- the program
def program(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-m", "agent.simulator.main", *options], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True)


def lines_until_ready(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip("\n"))
        if lines[-1] == "ready":
            break
    return lines


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_the_program_says_where_its_hosts_are_and_ends_cleanly(number: int, code: int) -> None:
    process = program("--hosts", "2", "--vms", "1")
    lines = lines_until_ready(process)
    assert re.fullmatch(r"host h1 http://127\.\d+\.0\.1:\d+", lines[0])
    assert re.fullmatch(r"host h2 http://127\.\d+\.0\.2:\d+", lines[1])
    assert lines[2:] == ["login root corral-sim", "ready"]
    process.send_signal(number)
    out, error = process.communicate(timeout=DEADLINE_S)
    assert (process.returncode, out, error) == (code, "", "")


def test_the_program_refuses_a_taken_port_and_a_bad_world_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "world.yaml").write_text("{hosts: [{name: a, address: 127.0.0.1}]}", encoding="utf-8")
    (tmp_path / "state.json").write_text('{"format": 1, "now": 1, "random": [3, [1], null], "pools": null}', "utf-8")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for options in (("--world", str(tmp_path / "world.yaml"), "--port", port), ("--world", "/nowhere.yaml"),
                        ("--hosts", "0"), ("--hosts", "70000"), ("--vms", "100000000"), ("--speed", "nan"),
                        ("--speed", "1e300"), ("--control", "99999"), ("--password", ""),
                        ("--world", str(tmp_path / "world.yaml"), "--hosts", "1"),
                        ("--state", str(tmp_path / "state.json"))):
            process = program(*options)
            out, error = process.communicate(timeout=DEADLINE_S)
            assert (process.returncode, out, error.count("\n")) == (2, "", 1), options
            assert error.startswith("corral-simulator: ")


def test_a_killed_simulator_goes_on_where_it_was(tmp_path: Path) -> None:
    state = tmp_path / "state.json"
    first = program("--hosts", "2", "--vms", "1", "--state", str(state), "--speed", "5")
    lines = lines_until_ready(first)
    client = XenAPI.Session(lines[1].split()[2])
    client.xenapi.login_with_password("root", "corral-sim")
    address = lines[0].split("//")[1].split(":")[0]
    task = client.xenapi.Async.pool.join(address, "root", "corral-sim")
    assert ended(client, task)["status"] == "success"
    marked = client.xenapi.task.create("a mark that must be on disk", "")
    while not state.exists() or marked not in state.read_text(encoding="utf-8"):
        events(client, ["task"], events(client, ["task"], "", 0.0)["token"], 0.05)
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    second = program("--hosts", "9", "--state", str(state), "--speed", "100")
    assert lines_until_ready(second) == lines
    master = XenAPI.Session(lines[0].split()[2])
    master.xenapi.login_with_password("root", "corral-sim")
    token = ""
    while [record["enabled"] for record in master.xenapi.host.get_all_records().values()] != [True, True]:
        token = events(master, ["host"], token)["token"]
    second.terminate()
    second.communicate(timeout=DEADLINE_S)
    assert second.returncode == 0

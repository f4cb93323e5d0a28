"""The control listener and the call log as a checker uses them."""

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import XenAPI

from agent.simulator import Simulator, default_spec

DEADLINE_S = 90.0  # a busy machine starts programs slowly


@pytest.fixture
def sim(tmp_path: Path) -> Iterator[Simulator]:
    simulator = Simulator(default_spec(hosts=2, vms=1), speed=50, control_port=0, calls_path=tmp_path / "calls.jsonl")
    simulator.start()
    yield simulator
    simulator.stop()


def session(simulator: Simulator) -> Any:
    client = XenAPI.Session(simulator.hosts[0][1])
    client.xenapi.login_with_password(*simulator.login, "1.0", "checked")
    return client


def ask(simulator: Simulator, path: str = "", method: str = "GET", body: Any = None) -> tuple[int, dict[str, Any]]:
    data = None if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(simulator.control_url + path, data, method=method)
    try:
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as exc:
        return exc.code, json.load(exc)


def test_faults_are_put_in_listed_and_ended_from_outside(sim: Simulator) -> None:
    client = session(sim)
    faults = [{"call": "host.get_all", "do": "error", "error": ["HOST_BROKEN"]},
              {"at": 3600, "do": "power_off", "host": "h2"}]
    assert ask(sim, "/faults", "POST", faults) == (200, {"numbers": [1, 2]})
    listed = ask(sim, "/faults")[1]
    assert [rule["call"] for rule in listed["rules"]] == ["host.get_all"]
    assert [one["do"] for one in listed["incidents"]] == ["power_off"]
    with pytest.raises(XenAPI.Failure) as refusal:
        client.xenapi.host.get_all()
    assert refusal.value.details == ["HOST_BROKEN"]
    assert ask(sim, "/faults/2", "DELETE") == (200, {"ended": 1})
    assert ask(sim, "/faults/2", "DELETE") == (404, {"ended": 0})
    assert ask(sim, "/faults", "DELETE") == (200, {"ended": 0})


def test_an_incident_wakes_the_world_and_is_seen_in_its_state(sim: Simulator) -> None:
    gone = threading.Event()

    def watch() -> None:
        with sim.lock:
            if sim.lock.wait_for(lambda: sim.world.node_named("h2").power == "off", DEADLINE_S):
                gone.set()

    watcher = threading.Thread(target=watch)
    watcher.start()
    ask(sim, "/faults", "POST", [{"at": 5, "do": "power_off", "host": "h2"}])
    watcher.join(DEADLINE_S)
    assert gone.is_set()
    status, state = ask(sim)
    assert (status, [host["power"] for host in state["hosts"]], state["speed"]) == (200, ["up", "off"], 50)


def test_the_call_log_goes_on_where_the_reader_left_it(sim: Simulator, tmp_path: Path) -> None:
    client = session(sim)
    last = ask(sim, "/calls")[1]["last"]
    client.xenapi.VM.get_all()
    task = client.xenapi.Async.host.disable(client.xenapi.host.get_all()[0])
    answer = ask(sim, f"/calls?after={last}")[1]
    assert [(one["method"], one["result"], one["originator"]) for one in answer["calls"]] == [
        (name, "Success", "checked") for name in ("VM.get_all", "host.get_all", "Async.host.disable")]
    assert answer["calls"][2]["task"] == task
    assert answer["last"] == answer["calls"][-1]["number"]
    written = [json.loads(line) for line in (tmp_path / "calls.jsonl").read_text(encoding="utf-8").splitlines()]
    assert written[-3:] == answer["calls"]


@pytest.mark.parametrize("path, method, body, status, words", [
    ("/faults", "POST", [{"call": "*"}], 400, "faults[0]: 'do' is missing"), ("/faults", "POST", b"{", 400, "not JSON"),
    ("/faults", "POST", [{"at": 1, "do": "cut", "host": "z"}], 400, "no host 'z'"), ("/faults", "PUT", b"", 405, "GET"),
    ("/faults/1", "GET", None, 405, "only with DELETE"), ("/calls?after=x", "GET", None, 400, "a number"),
    ("/calls", "POST", b"", 405, "only read"), ("/nowhere", "GET", None, 404, "nothing at")])
def test_a_wrong_request_is_told_why(sim: Simulator, path: str, method: str, body: Any, status: int,
                                     words: str) -> None:
    code, answer = ask(sim, path, method, body)
    assert (code, words in answer["error"]) == (status, True), answer


def test_the_program_listens_for_control_only_when_asked(tmp_path: Path) -> None:
    calls = tmp_path / "calls"
    process = subprocess.Popen([sys.executable, "-m", "agent.simulator.main", "--hosts", "1", "--vms", "0", "--control",
                                "--swarm", "7", "--calls", str(calls)], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True)
    assert process.stdout
    lines = [process.stdout.readline().split() for _ in range(4)]
    assert [line[0] for line in lines] == ["host", "control", "login", "ready"]
    with urllib.request.urlopen(lines[1][1], timeout=DEADLINE_S) as answer:
        assert json.load(answer)["hosts"][0]["name"] == "h1"
    process.terminate()
    assert process.communicate(timeout=DEADLINE_S) == ("", "")
    assert calls.exists()

"""The way by which the contract cases get at real hosts, tried at simulated ones as if those were real."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from xapi_cases import Case
from xapi_reach import assert_usable
from xapi_real_hosts import NotReady, RealHosts, RealXapi
from xapi_settings import HOME, MEMBERS
from xapi_steps import Run

from agent.simulator import Simulator
from agent.simulator.certificates import Authority
from agent.simulator.spec import HostSpec, PoolSpec, VmSpec, WorldSpec

DEADLINE_S = 120.0


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    guests = (VmSpec("theirs", "h1", state="running"),)
    running = Simulator(WorldSpec((HostSpec("a"), HostSpec("h1")), vms=guests), speed=200)
    running.start()
    yield running
    running.stop()


def xapi_of(simulator: Simulator) -> RealXapi:
    return RealXapi([url for _name, url in simulator.hosts], *simulator.login)


def test_hosts_are_brought_from_each_usual_state_into_each_other() -> None:
    simulator = Simulator(WorldSpec((HostSpec("a"), HostSpec("b"))), speed=200)
    simulator.start()
    try:
        for setting in ("pair", "alone", "two", "pair"):
            hosts = RealHosts(xapi_of(simulator), setting)
            assert {name for name, home in HOME.items() if home <= MEMBERS[setting]} <= set(hosts.names)
            members = hosts.clients["s"].call("host.get_all")
            assert len(members) == {"alone": 2, "two": 1, "pair": 2}[setting]
            if setting == "pair":
                assert hosts.clients["s"].call("VM.get_resident_on", hosts.names["vm3"]) == hosts.names["host2"]
                Run(hosts).steps([{"call": "VM.pool_migrate", "args": ["$vm1", "$host2", {}]}])
    finally:
        simulator.stop()


def test_a_case_that_left_another_master_and_a_mark_disturbs_no_other_one() -> None:
    simulator = Simulator(WorldSpec((HostSpec("a"), HostSpec("b"))), speed=200)
    simulator.start()
    try:
        before = RealHosts(xapi_of(simulator), "pair")
        Run(before).steps([
            {"call": "VM.add_to_other_config", "args": ["$vm1", "contract", "mark"]},
            {"call": "pool.designate_new_master", "args": ["$host2"]},
            {"until": {"login": "a", "host": 2}},
            {"until": {"call": "host.get_enabled", "args": ["$host1"], "by": "a", "gives": True}}])
        after = RealHosts(xapi_of(simulator), "pair")
        assert after.clients["s"].call("pool.get_master", after.names["pool"]) == after.names["host1"]
        assert after.clients["s"].call("VM.get_other_config", after.names["vm1"]) == {}
    finally:
        simulator.stop()


def test_a_host_that_runs_vms_of_others_is_not_made_to_join(simulator: Simulator) -> None:
    with pytest.raises(NotReady, match="while it runs theirs"):
        RealHosts(xapi_of(simulator), "pair")


def test_cases_that_make_no_sense_at_the_given_hosts_say_why() -> None:
    one = RealXapi(["http://192.0.2.1"], "root", "secret-word")
    assert one.lacks(Case("a", [], "alone")) == ""
    assert one.lacks(Case("a", [], "pair")) == "it needs 2 hosts, and 1 are given"
    assert one.lacks(Case("a", [], "alone", tls=True)) == "it needs HTTPS"
    assert one.lacks(Case("a", [{"act": {"kill": "h1"}}], "alone")) == "nobody can kill a real host from here"
    assert one.lacks(Case("a", [{"pass": 1}], "alone")) == "no real clock stands still"
    assert one.lacks(Case("a", [{"pass": 1}], "alone", real_time=True)) == ""


def test_hosts_that_cannot_be_used_are_refused_in_a_sentence(tmp_path: Path) -> None:
    spec = WorldSpec((HostSpec("a"), HostSpec("b"), HostSpec("c")), (PoolSpec(("a", "b")),))
    simulator = Simulator(spec, speed=200, tls_folder=tmp_path, self_signed=True)
    simulator.start()
    try:
        (_a, master), (_b, member), (_c, other) = simulator.hosts
        user, password = simulator.login
        assert_usable(RealXapi([master, other], user, password, str(tmp_path / "hosts.pem")))
        assert_usable(RealXapi([member, master], user, password))
        (tmp_path / "strange").mkdir()
        strange = Authority(tmp_path / "strange").ca_file
        for urls, login, ca_file, why in (
                ([member], password, "", "is a member of the pool of 127"),
                ([other, member], password, "", "is a member of the pool of 127"),
                ([master], "secret-word", "", "takes no login of 'root' with this password"),
                ([master, f"https://127.20.255.254:{simulator.port}"], password, "", "cannot be reached: "),
                ([master], password, str(strange), "its certificate is not to be trusted by"),
                ([master], password, str(tmp_path / "no.pem"), "cannot be read as certificates: No such file"),
                ([master.removeprefix("https://")], password, "", "is no URL of a host")):
            with pytest.raises(NotReady, match=why) as caught:
                assert_usable(RealXapi(urls, user, login, ca_file))
            assert "secret-word" not in str(caught.value)
    finally:
        simulator.stop()


def test_a_run_at_a_host_that_cannot_be_used_ends_with_one_sentence(simulator: Simulator) -> None:
    done = run_of(["--xapi-url", simulator.hosts[0][1], "--xapi-password", "secret-word"])
    assert done.returncode == 4
    assert done.stderr.count("takes no login of 'root' with this password") == 1
    assert "FAILED" not in done.stdout and "Traceback" not in done.stdout + done.stderr


def test_what_is_left_out_is_printed_and_the_password_is_not() -> None:
    done = run_of(["--collect-only", "--xapi-url", "http://192.0.2.1", "--xapi-password", "secret-word"])
    assert done.returncode == 0
    assert "observed/move/pool-migrate]: it needs 2 hosts, and 1 are given" in done.stdout
    assert "secret-word" not in done.stdout + done.stderr


def run_of(options: list[str]) -> subprocess.CompletedProcess[str]:
    """Run the cases in a process of their own; return how it ended."""
    cases = str(Path(__file__).with_name("test_xapi_cases.py"))
    command = [sys.executable, "-m", "pytest", "-q", cases, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, cwd=Path(__file__).parents[2],
                          env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"})  # they take long to load

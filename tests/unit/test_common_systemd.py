"""What systemd is told, over a real socket; and that systemd itself finds nothing wrong with the unit files."""

import os
import shutil
import socket
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from common.clock import SetClock
from common.systemd import Notifier

UNITS = sorted((Path(__file__).parents[2] / "etc" / "systemd").glob("*.service"))


class Systemd:
    """A socket as systemd opens one."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self._socket.setblocking(False)

    def heard(self) -> list[list[str]]:
        """Return the messages since the last question, as lines."""
        found = []
        while True:
            try:
                found.append(self._socket.recv(4096).decode().split("\n"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


@pytest.fixture(params=["a path", "an abstract name"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Systemd]:
    """Systemd's side."""
    one = Systemd(str(tmp_path / "notify") if request.param == "a path" else f"@corral-{uuid.uuid4()}")
    yield one
    one.close()


def test_the_first_round_trip_makes_it_ready_and_later_ones_keep_it_alive(systemd: Systemd) -> None:
    clock = SetClock()
    notifier = Notifier(systemd.address, clock, watchdog_s=40)
    notifier.heard()
    [first] = systemd.heard()
    assert "READY=1" in first and any(line.startswith("STATUS=") for line in first)
    clock.advance(9)
    notifier.heard()
    assert systemd.heard() == []
    clock.advance(1)
    notifier.heard()
    [later] = systemd.heard()
    assert "WATCHDOG=1" in later and "READY=1" not in later


def test_waiting_keeps_it_alive_but_does_not_make_it_ready(systemd: Systemd) -> None:
    clock = SetClock()
    notifier = Notifier(systemd.address, clock, watchdog_s=40)
    notifier.waiting("the broker\nis away")
    [first] = systemd.heard()
    assert "STATUS=the broker is away" in first and "WATCHDOG=1" in first
    assert any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in first) and "READY=1" not in first
    notifier.heard()
    systemd.heard()
    clock.advance(1)
    notifier.waiting("the database is away")
    [other] = systemd.heard()
    assert "STATUS=the database is away" in other and "WATCHDOG=1" in other
    assert not any(line.startswith("EXTEND_TIMEOUT_USEC=") for line in other)
    notifier.heard()
    [again] = systemd.heard()
    assert "READY=1" not in again and "STATUS=the database is away" not in again


def test_a_reload_is_told_with_its_time_and_its_end(systemd: Systemd) -> None:
    notifier = Notifier(systemd.address, SetClock(12.5))
    notifier.heard()
    systemd.heard()
    notifier.reloading()
    notifier.ready()
    assert systemd.heard() == [["RELOADING=1", "MONOTONIC_USEC=12500000"], ["READY=1"]]


def test_a_reload_before_it_was_ready_does_not_make_it_ready(systemd: Systemd) -> None:
    notifier = Notifier(systemd.address, SetClock())
    notifier.reloading()
    notifier.ready()
    assert systemd.heard() == []


def test_stopping_says_how_long_it_may_take(systemd: Systemd) -> None:
    Notifier(systemd.address, SetClock()).stopping(30)
    [said] = systemd.heard()
    assert said[:2] == ["STOPPING=1", "EXTEND_TIMEOUT_USEC=30000000"]


def test_without_systemd_and_with_one_that_is_gone_nothing_happens(tmp_path: Path) -> None:
    for address in (None, str(tmp_path / "nobody")):
        notifier = Notifier(address, SetClock())
        notifier.heard()
        notifier.waiting("why")
        notifier.reloading()
        notifier.ready()
        notifier.stopping(1)


@pytest.mark.parametrize("pid", ["", str(os.getpid()), "1"], ids=["any", "ours", "another"])
def test_the_environment_says_where_and_how_often(systemd: Systemd, pid: str) -> None:
    clock = SetClock()
    environment = {"NOTIFY_SOCKET": systemd.address, "WATCHDOG_USEC": "8000000", "WATCHDOG_PID": pid}
    notifier = Notifier.from_environment(environment, clock)
    notifier.heard()
    clock.advance(2)
    notifier.heard()
    # A watchdog that is meant for another process asks nothing of this one.
    assert len(systemd.heard()) == (1 if pid == "1" else 2)


@pytest.fixture(scope="session")
def analyze() -> str:
    """The path of systemd-analyze, installed if that is possible."""
    found = shutil.which("systemd-analyze")
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        subprocess.run(["apt-get", "install", "-q", "-y", "--no-install-recommends", "systemd"], check=True,
                       timeout=300, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})
        found = shutil.which("systemd-analyze")
    if found is None:
        pytest.fail("systemd-analyze is missing; install it: apt-get install systemd")
    return found


def test_there_is_a_unit_for_each_daemon() -> None:
    assert [path.name for path in UNITS] == ["corral-agent@.service", "corral-api.service", "corral-conductor.service"]


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_understands_every_line_of_the_unit(unit: Path, analyze: str, tmp_path: Path) -> None:
    lines = ["ExecStart=/bin/true" if line.startswith("ExecStart=") else line for line in unit.read_text().splitlines()]
    copy = tmp_path / unit.name.replace("@", "@h1")
    copy.write_text("\n".join(lines))
    done = subprocess.run([analyze, "verify", "--man=no", copy], capture_output=True, text=True, timeout=60,
                          check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_counts_the_unit_as_closed_up(unit: Path, analyze: str) -> None:
    done = subprocess.run([analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", unit],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_the_unit_gives_the_daemon_time_to_end_and_leaves_it_ended_when_restarting_is_of_no_use(unit: Path) -> None:
    values = dict(line.split("=", 1) for line in unit.read_text().splitlines() if "=" in line and line[0] not in "#[")
    assert int(values["TimeoutStopSec"]) > 30 and values["RestartPreventExitStatus"] == "2 3"
    assert values["Type"] == "notify" and values["ExecReload"].endswith("kill -HUP $MAINPID")

"""The runner as a process: signals under both kinds of threads, an end in time, logs with facts."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PATIENCE_S = 60.0

#: a daemon with one part, which does as the test says
PROGRAM = """
import sys
from common import concurrency
from common import errors, parts, service
import logging, threading

LOG = logging.getLogger("test")

class Part:
    def start(self):
        LOG.info("begun", extra={"operation": "o1", "host": "h1", "nothing": None})
        print("begun", flush=True)
    def stop(self):
        HOW_IT_STOPS
        print("stopped", flush=True)

answers = iter([errors.Unavailable("away"), errors.Unavailable("away"), errors.Invalid("the schema differs")])

def check():
    raise next(answers)

def run():
    daemon = service.Daemon("corral-api", "api", sys.argv[1:])
    def reload():
        print("reloaded", flush=True)
    return daemon.run(Part(), PARTS reload=reload)

sys.exit(service.guarded("test", run))
"""


class Program:
    """The daemon above as a process."""

    def __init__(self, folder: Path, stops: str = "pass", more: str = "", conf: str = "",
                 kind: str = "threads") -> None:
        (folder / "file.conf").write_text(f"[DEFAULT]\n{conf}\n")
        script = folder / "program.py"
        script.write_text(PROGRAM.replace("HOW_IT_STOPS", stops).replace("PARTS", more))
        self._log = (folder / "log").open("w+")
        self._popen = subprocess.Popen([sys.executable, script, folder / "file.conf"], text=True,
                                       stdout=subprocess.PIPE, stderr=self._log,
                                       env={**os.environ, "CORRAL_CONCURRENCY": kind,
                                            "PYTHONPATH": str(Path(__file__).parents[2])})
        assert self.line() == "begun"

    def line(self) -> str:
        """Return the next line that it prints."""
        assert self._popen.stdout is not None
        return self._popen.stdout.readline().strip()

    def send(self, number: signal.Signals) -> None:
        """Send a signal."""
        self._popen.send_signal(number)

    def status(self) -> int:
        """Wait for its end; return its exit status."""
        try:
            return self._popen.wait(PATIENCE_S)
        finally:
            self._popen.kill()

    def log(self) -> str:
        """Return what it has logged."""
        self._log.seek(0)
        return self._log.read()


@pytest.mark.parametrize("kind", ["threads", "eventlet"])
@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 0), (signal.SIGINT, 130)])
def test_a_signal_ends_it_by_stopping_its_parts(tmp_path: Path, kind: str, number: signal.Signals,
                                                status: int) -> None:
    program = Program(tmp_path, kind=kind)
    program.send(signal.SIGHUP)
    assert program.line() == "reloaded"
    program.send(number)
    assert program.line() == "stopped"
    assert program.status() == status


@pytest.mark.parametrize("kind", ["threads", "eventlet"])
def test_an_end_that_takes_too_long_is_cut_off_and_said(tmp_path: Path, kind: str) -> None:
    program = Program(tmp_path, stops="threading.Event().wait()", conf="graceful_stop_s = 0.3", kind=kind)
    program.send(signal.SIGTERM)
    assert program.status() == 0
    assert "did not end within 0.3 s and is cut off" in program.log()


@pytest.mark.parametrize("kind", ["threads", "eventlet"])
def test_a_second_signal_ends_it_at_once(tmp_path: Path, kind: str) -> None:
    program = Program(tmp_path, stops="print('stopping', flush=True); threading.Event().wait()", kind=kind)
    program.send(signal.SIGTERM)
    assert program.line() == "stopping"
    program.send(signal.SIGTERM)
    assert program.status() == 128 + signal.SIGTERM


def test_a_part_that_does_not_end_well_does_not_keep_it_from_ending(tmp_path: Path) -> None:
    program = Program(tmp_path, stops="raise ValueError('broken')")
    program.send(signal.SIGTERM)
    assert program.status() == 0
    assert "did not end well" in program.log() and "ValueError: broken" in program.log()


def test_a_condition_that_turns_out_wrong_later_ends_it_with_its_sentence(tmp_path: Path) -> None:
    program = Program(tmp_path, more="parts.Gate(check, daemon.pulse, daemon.end, 0.01),")
    assert program.status() == 2
    assert program.log().splitlines()[-1] == "test: the schema differs"


def test_facts_stand_in_the_line_and_in_the_json(tmp_path: Path) -> None:
    program = Program(tmp_path)
    program.send(signal.SIGTERM)
    program.status()
    assert "INFO test begun [host=h1 operation=o1]" in program.log()
    program = Program(tmp_path, conf="use_json = true")
    program.send(signal.SIGTERM)
    program.status()
    record = json.loads(program.log().splitlines()[0])
    assert (record["message"], record["extra"]) == ("begun", {"host": "h1", "nothing": None, "operation": "o1"})

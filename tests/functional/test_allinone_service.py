"""The all-in-one as a process: the demo, the ends by signal, and what keeps it from starting."""

import json
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from allinone_world import BIN, PATIENCE_S, ROOT, Process, allinone_words, guest, pool_world

#: what a person who pressed Ctrl-C puts up with
FEW_S = 10.0


def test_the_demo_tells_its_whole_story_and_ends_well() -> None:
    done = subprocess.run([sys.executable, "-m", "tools.demo"], cwd=ROOT, text=True, capture_output=True,
                          timeout=3 * PATIENCE_S, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert done.stdout.splitlines()[-1].startswith("demo: ok")
    assert "Traceback" not in done.stdout + done.stderr


@pytest.mark.parametrize("number, status", [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_a_signal_ends_it_within_seconds_in_mid_drain_while_somebody_watches(
        tmp_path: Path, number: signal.Signals, status: int) -> None:
    (tmp_path / "world.yaml").write_text(json.dumps(pool_world(2, [guest("big", "h2", 12)])))
    words = allinone_words(tmp_path / "state", "--world", str(tmp_path / "world.yaml"), "--speed", "1")
    with Process(words, tmp_path / "log") as process:
        process.corral.adopt("h1", "h2")
        operation = process.corral.begin("host-update --maintenance enable h2")
        watch = subprocess.Popen([BIN / "corral", "--endpoint", process.corral.url, "operation-watch", operation],
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        seen = next(line for line in watch.stdout or () if "move big" in line and "executing" in line)
        assert "The agent has claimed it" in seen
        process.process.send_signal(number)
        assert process.process.wait(FEW_S) == status
        watch.send_signal(signal.SIGINT)
        _, err = watch.communicate(timeout=PATIENCE_S)
        assert watch.returncode in (130, 5) and "Traceback" not in err
    assert "Traceback" not in process.log.read_text()


def test_a_second_one_on_the_same_folder_is_refused_in_a_sentence(tmp_path: Path) -> None:
    words = allinone_words(tmp_path / "state", "--hosts", "1", "--vms", "0")
    with Process(words, tmp_path / "log") as first:
        second = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
        assert (second.returncode, second.stdout) == (5, "")
        (line,) = second.stderr.splitlines()
        assert line.startswith("corral-allinone: Another corral-allinone runs on the folder")
        assert first.corral.run("host-list") == 0
    with Process(words, tmp_path / "log") as third:
        assert third.corral.run("host-list") == 0


def test_a_port_that_is_taken_is_said_in_a_sentence(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        words = allinone_words(tmp_path / "state", "--hosts", "2", "--vms", "0", "--port", port)
        done = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (5, "")
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("corral-allinone: ") and port in done.stderr


@pytest.mark.parametrize("words", [["--port", "99999"], ["--port", "-1"], ["--sync-interval", "0"],
                                   ["--sync-interval", "nan"], ["--sync-interval", "x"]])
def test_a_number_that_can_not_be_is_wrong_usage(tmp_path: Path, words: list[str]) -> None:
    done = subprocess.run(allinone_words(tmp_path / "state", *words), cwd=ROOT, text=True, capture_output=True,
                          timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (2, "") and f"argument {words[0]}: " in done.stderr


@pytest.mark.parametrize("world, place", [("hosts: [{name: h1, memory: much}]", "hosts[0].memory"), ("[", "YAML")])
def test_a_wrong_world_file_is_refused_with_the_place(tmp_path: Path, world: str, place: str) -> None:
    (tmp_path / "world.yaml").write_text(world)
    words = allinone_words(tmp_path / "state", "--world", str(tmp_path / "world.yaml"))
    done = subprocess.run(words, cwd=ROOT, text=True, capture_output=True, timeout=PATIENCE_S, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert place in line

"""corral as a process: output that nobody reads or that can't be written, and Ctrl-C before it has begun."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from conductor.cli.start import READER_GONE

_ROOT = Path(__file__).parents[2]
_IMPATIENT = ("import os, signal; from conductor.cli import start; "
              "start.run(lambda: os.kill(os.getpid(), signal.SIGINT) or (lambda: 0))")


def corral(*words: str | bytes, code: tuple[str, ...] = ("-m", "conductor.cli.start"), stdout: int | None = None,
           **environ: str) -> subprocess.CompletedProcess[str]:
    """Run the command without an API."""
    return subprocess.run([sys.executable, *code, *words], cwd=_ROOT, stderr=subprocess.PIPE, text=True, timeout=60,
                          stdout=subprocess.PIPE if stdout is None else stdout, check=False,
                          env={"PATH": os.environ["PATH"], "PYTHONPATH": str(_ROOT), "LANG": "C.UTF-8", **environ})


def test_a_reader_that_has_gone_ends_it_quietly() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        ended = corral("--help", stdout=writer)
    finally:
        os.close(writer)
    assert (ended.returncode, ended.stderr) == (READER_GONE, "")


def test_output_that_can_not_be_written_is_said_and_no_success() -> None:
    with Path("/dev/full").open("w") as full:
        ended = corral("--help", stdout=full.fileno())
    assert (ended.returncode, ended.stderr) == (1, "error: The output can't be written: No space left on device\n")


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-"])
def test_closed_output_is_lost_and_the_status_is_not(closed: str) -> None:
    line = f"{sys.executable} -m conductor.cli.start --endpoint http://127.0.0.1:1 host-list {closed}"
    ended = subprocess.run(["/bin/sh", "-c", line], cwd=_ROOT, check=False, timeout=60, capture_output=True, text=True)
    assert (ended.returncode, ended.stdout, "Traceback" in ended.stderr) == (5, "", False)


@pytest.mark.parametrize("environ", [{"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}, {}])
def test_words_that_are_no_text_are_refused_in_a_sentence(environ: dict[str, str]) -> None:
    ended = corral("host-show", b"\xff", **environ)
    assert ended.returncode == 2 and ended.stderr.startswith("error: '\\udcff' is no text")


def test_ctrl_c_while_the_libraries_load_leaves_no_traceback() -> None:
    ended = corral(code=("-c", _IMPATIENT))
    assert (ended.returncode, ended.stderr) == (-signal.SIGINT, "")

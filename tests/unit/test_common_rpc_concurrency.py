"""Which kinds of threads there are, and what does not go with green ones."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from common import concurrency, errors

_ROOT = Path(__file__).parents[2]


def run(program: str, kind: str) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, with that kind of threads."""
    return subprocess.run([sys.executable, "-c", program], cwd=_ROOT, text=True, capture_output=True, timeout=60,
                          env={**os.environ, concurrency.VARIABLE: kind}, check=False)


@pytest.mark.parametrize("url", ["postgresql+psycopg://u@h/d", "postgresql://u@h/d", "postgresql+psycopg_async://h/d"])
def test_green_threads_do_not_go_with_psycopg_3(url: str) -> None:
    with pytest.raises(errors.Invalid, match="use threads") as refusal:
        concurrency.check_database(url, "eventlet")
    assert refusal.value.code == "eventlet_with_psycopg"
    concurrency.check_database(url, "threads")


@pytest.mark.parametrize("url", ["sqlite:///x", "mysql+pymysql://u@h/d", "postgresql+psycopg2://u@h/d"])
def test_other_drivers_go_with_both(url: str) -> None:
    for kind in concurrency.KINDS:
        concurrency.check_database(url, kind)


def test_an_unknown_kind_ends_the_process_with_a_sentence() -> None:
    done = run("from common import concurrency", "fibers")
    assert done.returncode == 1
    assert done.stderr == "CORRAL_CONCURRENCY is threads or eventlet, not 'fibers'\n"


@pytest.mark.parametrize("kind, room, found", [
    ("eventlet", "conductor.main", "eventlet.green.thread eventlet.greenio.base _PySimpleQueue eventlet"),
    ("eventlet", "conductor.api.main", "eventlet.green.thread eventlet.greenio.base _PySimpleQueue eventlet"),
    ("eventlet", "agent.main", "eventlet.green.thread eventlet.greenio.base _PySimpleQueue eventlet"),
    ("threads", "agent.main", "_thread socket SimpleQueue threading"),
])
def test_a_daemon_has_patched_before_anything_else_is_imported_or_not_at_all(kind: str, room: str, found: str) -> None:
    done = run(f"import {room}, threading, socket, queue, oslo_service.backend as backend\n"
               "print(threading.Lock.__module__, socket.socket.__module__, queue.SimpleQueue.__name__,\n"
               "      backend.get_backend_type().value)", kind)
    assert done.returncode == 0, done.stderr
    assert done.stdout == found + "\n"
    # eventlet says so when locks were made before it came
    assert "not greened" not in done.stderr

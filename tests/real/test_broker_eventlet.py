"""Under green threads everything goes on at once: calls over RabbitMQ, HTTP, thread pools; and signals are prompt."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
LONG_S = 60.0

_BEGIN = """
from common import concurrency
import sys, threading, time
from concurrent.futures import ThreadPoolExecutor
from oslo_config import cfg
from common import rpc, service
conf = cfg.ConfigOpts()
conf([], project="corral", default_config_files=[])

def at_once(work, times=20):
    begin = time.monotonic()
    with ThreadPoolExecutor(times) as together:
        answers = list(together.map(work, range(times)))
    print(sorted(set(answers)), f"{time.monotonic() - begin:.2f}", flush=True)
"""

SERVER = _BEGIN + """
def slow(context, number):
    threading.Event().wait(0.2)
    return number % 2
server = rpc.Server(rpc.transport(sys.argv[1], conf, process="corral-test-green"), "test", "s1", "1.0", {"slow": slow})
stop = service.Stop()
stop.catch()
server.start()
assert server.listening(60)
print("ready", flush=True)
status = stop.wait()
server.stop()
sys.exit(status)
"""

CLIENT = _BEGIN + """
transport = rpc.transport(sys.argv[1], conf)
client = rpc.Client(transport, "test", "1.0", 30.0)
client.call({}, "slow", number=1)       # connects
at_once(lambda number: client.call({}, "slow", number=number))
transport.cleanup()
"""

HTTP = _BEGIN + """
import http.client
from conductor.api.serve import Service

def app(environ, start_response):
    threading.Event().wait(0.2)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [b"ok"]
serving = Service(app, "127.0.0.1", 0)
serving.start()
address = serving.url.removeprefix("http://")

def get(number):
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", "/")
    return connection.getresponse().read().decode()
at_once(get)
serving.stop()
"""


@contextmanager
def running(program: str, *words: str, kind: str = "eventlet") -> Iterator["subprocess.Popen[str]"]:
    """Run a program with green threads; it is gone afterwards."""
    environment = {**os.environ, "CORRAL_CONCURRENCY": kind, "PYTHONPATH": str(_ROOT)}
    with subprocess.Popen([sys.executable, "-c", program, *words], env=environment, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.kill()


def ended(process: "subprocess.Popen[str]") -> str:
    """Return what a program printed until it ended by itself."""
    out, err = process.communicate(timeout=LONG_S)
    assert process.returncode == 0, err
    return out


def first_line(process: "subprocess.Popen[str]") -> str:
    """Return what it prints first."""
    assert process.stdout is not None and process.stderr is not None
    return process.stdout.readline() or process.stderr.read()


@pytest.mark.parametrize("server, client", [("eventlet", "eventlet"), ("eventlet", "threads"), ("threads", "eventlet")])
def test_twenty_calls_of_a_fifth_of_a_second_go_on_at_once(vhost: str, server: str, client: str) -> None:
    with running(SERVER, vhost, kind=server) as serving:
        assert first_line(serving) == "ready\n"
        with running(CLIENT, vhost, kind=client) as calling:
            answers, seconds = ended(calling).rsplit(" ", 1)
        assert answers == "[0, 1]"
        # one after another they would take 4 s; 16 workers take them in two turns
        assert float(seconds) < 2.5
        begin = time.monotonic()
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(LONG_S) == 0
        assert time.monotonic() - begin < 5


def test_requests_over_http_go_on_at_once() -> None:
    with running(HTTP) as serving:
        answers, seconds = ended(serving).rsplit(" ", 1)
    assert answers == "['ok']"
    assert float(seconds) < 2.5


def test_a_green_process_is_ended_by_a_signal_while_the_broker_is_away() -> None:
    program = SERVER.replace('assert server.listening(60)', 'assert not server.listening(1)')
    with running(program, "rabbit://ann:pw@127.0.0.1:1/none") as serving:
        assert first_line(serving) == "ready\n"
        begin = time.monotonic()
        serving.send_signal(signal.SIGTERM)
        assert serving.wait(LONG_S) == 0
        assert time.monotonic() - begin < 5

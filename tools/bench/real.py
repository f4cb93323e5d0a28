"""Corral as it is installed: own processes over RabbitMQ and PostgreSQL, beside bare oslo.messaging calls."""

import os
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from oslo_config import cfg

from agent.simulator import Simulator
from common import mac, rpc
from tools import deployment
from tools.bench import bare, claiming, drain, many
from tools.bench.client import Corral
from tools.bench.figures import Figure
from tools.bench.processes import Watched
from tools.deployment import Deployment
from tools.servers import environment, postgresql, rabbitmq

SYNC_S = 10.0
#: seconds that the start of everything may take; on a machine that is not busy it takes a tenth
PATIENCE_S = 300.0
STARTS = 3
OVER = " over RabbitMQ"
#: what each kind of process imports, whose time no start can be shorter than
IMPORTS = {"conductor": "conductor.main", "API": "conductor.api.main", "agent": "agent.main"}


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures; takes about three minutes.  The servers are those of the environment, else private ones."""
    with environment.broker(os.environ) as broker, environment.postgresql_server(os.environ) as database:
        with drain.simulated() as simulator:
            plain = drain.plain_costs(simulator)
            with _corral(folder / "four", broker, database, simulator) as (running, _):
                yield from _four_hosts(running, simulator, plain)
        with many.simulated() as simulator, \
                _corral(folder / "many", broker, database, simulator, together=True) as (running, vhost):
            yield from many.measure(running, lambda queue: _depth(broker, vhost, queue))
            # So many agents take long to end in good order, and nobody measures that.
            running.agents["agents"].kill()


@contextmanager
def _corral(folder: Path, broker: rabbitmq.Access, database: postgresql.Access, simulator: Simulator,
            together: bool = False) -> Iterator[tuple[Deployment, str]]:
    """Run all of Corral in a vhost and a database of its own; give it with the vhost's name."""
    folder.mkdir()
    name = f"bench_{uuid.uuid4().hex[:12]}"
    try:
        with Deployment(folder, broker.vhost(name), database.database(name), sync_s=SYNC_S, together=together,
                        patience_s=PATIENCE_S, simulated=(dict(simulator.hosts), simulator.login[1])) as running:
            yield running, name
    finally:
        database.drop(name)
        broker.drop_vhost(name)


def _depth(broker: rabbitmq.Access, vhost: str, queue: str) -> int:
    return sum(int(row["messages"]) for row in broker.queues(vhost) if row["name"] == queue)


def _four_hosts(running: Deployment, simulator: Simulator, plain: list[Figure]) -> Iterator[Figure]:
    corral = Corral(running.url)
    corral.add_hosts(list(drain.HOSTS))
    yield from drain.drained(simulator, corral, Watched(*(one.pid for one in running.processes)), plain, OVER)
    kinds = {"conductor": running.conductors["c1"], "API": running.api, "agent": running.agents["h2"]}
    for kind, process in kinds.items():
        yield Figure(f"memory of one {kind} after a drain", Watched(process.pid).resident_mib(), "MiB")
    with bare.served(running.folder, running.broker_url) as peer:
        yield from _claims(running, peer.call)
    for kind, process in kinds.items():
        yield from _starts(kind, process)


def _claims(running: Deployment, bare_call: Callable[[], None]) -> list[Figure]:
    keys = mac.read_keys((running.folder / "keys").read_text(encoding="ascii"))
    transport = _transport(running.broker_url)
    try:
        return claiming.measure(running.url, transport, mac.read_key(keys.key_of(claiming.HOST)), bare_call)
    finally:
        transport.cleanup()


def _transport(url: str) -> Any:
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[], default_config_dirs=[])
    return rpc.transport(url, conf)


def _starts(kind: str, process: deployment.Process) -> Iterator[Figure]:
    """Restart a process alone, some times; yield how long it takes and what it holds then."""
    seconds, sizes = list[float](), list[float]()
    for _ in range(STARTS):
        process.stop()
        process.start()
        process.wait_ready()
        seconds.append(process.ready_s or 0.0)
        sizes.append(Watched(process.pid).resident_mib())
    imports = Figure(f"start of Python with the imports of one {kind}, median",
                     statistics.median(_import_s(IMPORTS[kind]) for _ in range(STARTS)), "s", {"n": STARTS})
    start = Figure(f"start of one {kind} until READY, median", statistics.median(seconds), "s",
                   {"n": STARTS, "means": "exec to systemd's notification; broker and database are there"})
    yield imports
    yield start
    yield start.beside(imports)
    yield Figure(f"memory of one {kind} when ready, median", statistics.median(sizes), "MiB", {"n": STARTS})


def _import_s(module: str) -> float:
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"import {module}"], check=True)
    return time.monotonic() - began

"""Broker, database, conductor and agents die in the middle of a drain, and nothing is lost or done twice."""

import http.client
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from agent.simulator import Simulator
from agent.simulator.spec import GIB, HostSpec, PoolSpec, StorageSpec, VmSpec, WorldSpec
from tools.bench.client import Corral, until
from tools.deployment import Deployment
from tools.independent import Pool
from tools.servers import postgresql, rabbitmq

HOSTS = ("h1", "h2", "h3")
VMS = 12


@pytest.fixture(scope="module")
def broker() -> Iterator[rabbitmq.Broker]:
    """A broker to be killed."""
    with rabbitmq.Broker() as own:
        yield own


@pytest.fixture(scope="module")
def database() -> Iterator[postgresql.Server]:
    """A database server to be killed."""
    with postgresql.Server() as own:
        yield own


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """One pool, all guests on h1."""
    guests = tuple(VmSpec(f"vm{number:02d}", "h1", memory=GIB, state="running", disks=("shared",))
                   for number in range(VMS))
    hosts = tuple(HostSpec(name, memory=64 * GIB, cpus=16) for name in HOSTS)
    simulator = Simulator(WorldSpec(hosts, (PoolSpec(HOSTS, "rack1"),), (StorageSpec("shared", "h1", default=True),),
                                    vms=guests), speed=10)
    simulator.start()
    yield simulator
    simulator.stop()


@pytest.fixture
def running(tmp_path: Path, broker: rabbitmq.Broker, database: postgresql.Server, simulator: Simulator,
            request: pytest.FixtureRequest) -> Iterator[Deployment]:
    """The pool's hosts are in an aggregate."""
    name = f"outage_{abs(hash(request.node.name)):x}"
    with Deployment(tmp_path, broker.vhost(name), database.database(name), conductors=2,
                    simulated=(dict(simulator.hosts), simulator.login[1])) as deployment:
        corral = Corral(deployment.url)
        corral.add_hosts(list(HOSTS))
        corral.close()
        yield deployment


def moves(simulator: Simulator) -> int:
    """Return how many migrations were begun, as the hypervisor has it."""
    with simulator.lock:
        return sum(call.method == "Async.VM.pool_migrate" and call.result == "Success"
                   for call in simulator.world.calls)


def begun(simulator: Simulator, count: int) -> None:
    """Wait until so many migrations were begun."""
    until(f"{count} migrations have begun", lambda: moves(simulator) >= count, 0.05)


def ask(url: str) -> tuple[int, str | None]:
    """Return the status of an answer, and after how many seconds it says to come again."""
    place = urlsplit(url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    connection.request("GET", "/v1/hosts/h1")
    answer = connection.getresponse()
    answer.read()
    connection.close()
    return answer.status, answer.headers.get("Retry-After")


def drained(deployment: Deployment, simulator: Simulator) -> None:
    """Wait for the end of the drain; check past Corral that every VM runs elsewhere and was moved once."""
    corral = Corral(deployment.url)
    corral.settle()
    corral.close()
    pool = Pool(deployment.hosts["h1"], "root", deployment.password)
    assert not pool.enabled("h1")
    assert sorted(vm for vms in pool.running().values() for vm in vms) == sorted(pool.vms())
    assert "h1" not in pool.running()
    assert moves(simulator) == VMS


def drain(deployment: Deployment) -> None:
    """Begin to empty h1."""
    corral = Corral(deployment.url)
    corral.maintain("h1", "enable")
    corral.close()


def test_a_broker_killed_in_mid_drain_costs_time_only(
        running: Deployment, simulator: Simulator, broker: rabbitmq.Broker) -> None:
    drain(running)
    begun(simulator, 2)
    broker.kill()
    began = time.monotonic()
    assert ask(running.url) == (503, "5")
    assert time.monotonic() - began < 30
    broker.start()
    drained(running, simulator)
    for process in running.processes:
        warned = [line for line in process.log.read_text().splitlines() if " WARNING " in line or " ERROR " in line]
        assert len(warned) < 12, "\n".join(warned)


def test_a_database_killed_in_mid_drain_costs_time_only(
        running: Deployment, simulator: Simulator, database: postgresql.Server) -> None:
    drain(running)
    begun(simulator, 2)
    database.kill()
    assert ask(running.url) == (503, "5")
    database.start()
    drained(running, simulator)


def test_conductors_api_and_agents_killed_in_mid_drain_go_on_where_they_were(
        running: Deployment, simulator: Simulator) -> None:
    drain(running)
    for count, process in enumerate([*running.processes, *running.processes], start=1):
        begun(simulator, min(count, VMS))
        process.kill()
        process.start()
    for process in running.processes:
        process.wait_ready()
    drained(running, simulator)

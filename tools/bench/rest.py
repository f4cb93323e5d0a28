"""The REST API over RabbitMQ and PostgreSQL, beside a bare oslo.messaging call and a constant WSGI answer.

What is compared takes turns of a second, so that a machine that is busy for a while is so
for all of them; ratios are medians over the rounds.
"""

import itertools
import os
import statistics
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

from conductor.db.models import Aggregate, Host, Membership
from conductor.db.session import Database, Session
from tools.bench import bare
from tools.bench.client import Client, Load, load, rest_load
from tools.bench.figures import Figure, percentile, spread
from tools.bench.processes import running
from tools.deployment import Deployment
from tools.servers import environment

AGGREGATES = "/v2.1/os-aggregates"
ROUNDS, ROUND_S, CLIENTS = 7, 1.0, (1, 4)
MANY, HOSTS_EACH, LISTS = 1000, 5, 25
#: what is compared, by name; each runs for a number of seconds with a number of clients
Runs = dict[str, Callable[[int, float], Load]]
BARE, CONSTANT = "bare oslo.messaging call", "constant WSGI answer"
SHOW, CREATE = "REST aggregate show over RabbitMQ", "REST aggregate create over RabbitMQ"


def measure(folder: Path) -> Iterator[Figure]:
    """Yield the figures; takes about a minute and a half.  The servers are the environment's, else private ones."""
    with environment.broker(os.environ) as broker, environment.postgresql_server(os.environ) as server:
        name = f"bench_{uuid.uuid4().hex[:12]}"
        folder = folder / "rest"
        folder.mkdir()
        try:
            database = server.database(name)
            with Deployment(folder, broker.vhost(name), database, simulated=({}, "")) as corral:
                yield from _rates(corral, folder)
                yield from _lists(corral.url, database)
        finally:
            server.drop(name)
            broker.drop_vhost(name)


def _rates(corral: Deployment, folder: Path) -> Iterator[Figure]:
    client = Client(corral.url)
    wanted = {"aggregate": {"name": "rack1", "availability_zone": "zone1"}}
    aggregate = client.ask("POST", AGGREGATES, wanted)["aggregate"]["id"]
    client.close()
    with bare.served(folder, corral.broker_url) as peer, \
            running([sys.executable, "-m", "tools.bench.constant"], folder / "constant.log") as constant:
        runs = _runs(corral.url, aggregate, peer, constant.url)
        for clients in CLIENTS:
            yield from _compared(runs, clients)


def _runs(url: str, aggregate: int, peer: bare.Bare, constant_url: str) -> Runs:
    def show(client: Client) -> None:
        client.ask("GET", f"{AGGREGATES}/{aggregate}")

    names = itertools.count()

    def create(client: Client) -> None:
        client.ask("POST", AGGREGATES, {"aggregate": {"name": f"made{next(names)}", "availability_zone": None}})

    return {BARE: lambda clients, seconds: load([peer.call] * clients, seconds),
            CONSTANT: lambda clients, seconds: rest_load(constant_url, show, clients, seconds),
            SHOW: lambda clients, seconds: rest_load(url, show, clients, seconds),
            CREATE: lambda clients, seconds: rest_load(url, create, clients, seconds)}


def _compared(runs: Runs, clients: int) -> Iterator[Figure]:
    """Yield rates and times of each, and the rates beside the bare call's."""
    found: dict[str, list[Load]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, run in runs.items():
            found[name].append(run(clients, ROUND_S))
    whose = "1 client" if clients == 1 else f"{clients} clients"
    for name, loads in found.items():
        rates, times = [one.per_second for one in loads], [1e3 * each for one in loads for each in one.times_s]
        yield Figure(f"{name}, {whose}, median", statistics.median(rates), "per second",
                     {"rounds": ROUNDS, "seconds": ROUND_S, "largest": max(rates), "smallest": min(rates)})
        yield from spread(f"{name}, time of each, {whose}", times, "ms")
    for name in (SHOW, CREATE):
        ratios = [mine.per_second / its.per_second for mine, its in zip(found[name], found[BARE], strict=True)]
        yield Figure(f"ratio of {name} to {BARE}, {whose}, median", statistics.median(ratios), "times",
                     {"rounds": ROUNDS, "largest": max(ratios), "smallest": min(ratios)})


def _lists(url: str, database_url: str) -> Iterator[Figure]:
    """Yield how long a list of many aggregates takes in one answer."""
    database = Database(database_url)
    database.run(_many)
    database.close()
    client = Client(url)
    times = []
    for _ in range(1 + LISTS):
        began = time.perf_counter()
        found = client.ask("GET", AGGREGATES)["aggregates"]
        times.append(1e3 * (time.perf_counter() - began))
    client.close()
    full = sum(len(one["hosts"]) == HOSTS_EACH for one in found)
    name = f"REST list of {len(found)} aggregates, {full} of them with {HOSTS_EACH} hosts, time of each"
    # The first one makes what later ones find made.
    yield Figure(f"{name}, median", statistics.median(times[1:]), "ms", {"n": LISTS, "first": times[0]})
    yield Figure(f"{name}, 99th percentile", percentile(times[1:], 99), "ms", {"n": LISTS})


def _many(session: Session) -> None:
    now = time.time()
    session.query(Aggregate).delete()
    session.add_all(Host(name=f"h{number}", uuid=str(uuid.uuid4()), address="", enrolled_at=now, last_sync_at=now,
                         incarnation="", agent_version="1.0") for number in range(MANY * HOSTS_EACH))
    rows = [Aggregate(uuid=str(uuid.uuid4()), name=f"many{number}", availability_zone="zone1", user_metadata={},
                      created_at=now) for number in range(MANY)]
    session.add_all(rows)
    session.flush()
    session.add_all(Membership(aggregate_id=row.id, host=f"h{HOSTS_EACH * number + each}", state="member")
                    for number, row in enumerate(rows) for each in range(HOSTS_EACH))

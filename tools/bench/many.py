"""What the heartbeats of many agents cost: their CPU, the conductor's, and whether they wait in the queue."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import LiteralString

import psycopg

from agent.simulator import Simulator
from agent.simulator.spec import GIB, HostSpec, PoolSpec, VmSpec, WorldSpec
from common import rpc
from tools.bench.client import until
from tools.bench.figures import Figure
from tools.bench.processes import Watched, pause
from tools.deployment import Deployment

AGENTS, IN_POOL, VMS_EACH = 200, 20, 5
#: the default interval, and for how long is watched
SYNC_S, WATCHED_S = 10.0, 60.0
LOOK_S = 0.2
#: seconds that the enrolment may take; on a machine that is not busy it takes a tenth
ENROLLED_S = 300.0


@contextmanager
def simulated() -> Iterator[Simulator]:
    """Give the hosts, in this process; nothing happens on them."""
    simulator = Simulator(world())
    simulator.start()
    try:
        yield simulator
    finally:
        simulator.stop()


def world() -> WorldSpec:
    """Return pools of the same size, with some guests on each host."""
    names = [f"h{number:03d}" for number in range(AGENTS)]
    pools = tuple(PoolSpec(tuple(names[first:first + IN_POOL]), f"pool{first // IN_POOL}")
                  for first in range(0, AGENTS, IN_POOL))
    guests = tuple(VmSpec(f"{name}-{number}", name, memory=GIB, state="running")
                   for name in names for number in range(VMS_EACH))
    return WorldSpec(tuple(HostSpec(name) for name in names), pools, vms=guests)


def measure(running: Deployment, depth: Callable[[str], int]) -> Iterator[Figure]:
    """Yield the figures of a deployment whose agents share a process; ``depth``: the messages in a queue."""
    enrolled_s = _enrolled(running)
    pause(SYNC_S)
    parts = {"conductor": Watched(*(one.pid for one in running.conductors.values())),
             "agents' process": Watched(*(one.pid for one in running.agents.values()))}
    before = {name: part.cpu_s() for name, part in parts.items()}
    began, count, depths = time.monotonic(), _syncs(running.database_url), list[int]()
    while time.monotonic() - began < WATCHED_S:
        pause(LOOK_S)
        depths.append(depth(rpc.TOPIC_AGENTS))
    took, count = time.monotonic() - began, _syncs(running.database_url) - count
    used = {name: part.cpu_s() - before[name] for name, part in parts.items()}
    what = {"agents": AGENTS, "pools": AGENTS // IN_POOL, "vms": AGENTS * VMS_EACH, "seconds": round(took, 1)}
    yield Figure(f"start of {AGENTS} agents in one process until all are enrolled and placed", enrolled_s, "s", what)
    yield Figure(f"syncs of {AGENTS} agents", count / took, "per second", {"n": count, **what})
    for name, part in parts.items():
        yield Figure(f"CPU of the {name} per sync, {AGENTS} agents", 1e3 * used[name] / max(count, 1), "ms",
                     {"n": count, "means": "all that it did meanwhile", **what})
        yield Figure(f"CPU of the {name}, {AGENTS} agents", 100 * used[name] / took, "% of a core", what)
        yield Figure(f"memory of the {name}, {AGENTS} agents", part.resident_mib(), "MiB", what)
    yield Figure(f"largest depth of {rpc.TOPIC_AGENTS}, {AGENTS} agents", max(depths), "messages",
                 {"looks": len(depths), **what})


def _enrolled(running: Deployment) -> float:
    """Wait until every host is known with its pool; return the seconds since the agents were started."""
    # Asked past the conductor, which has enough to do then.
    until(f"{AGENTS} agents are enrolled, each in its pool",
          lambda: _number(running.database_url, "SELECT count(*) FROM hosts WHERE pool IS NOT NULL") == AGENTS,
          0.5, ENROLLED_S)
    return time.monotonic() - running.agents["agents"].started_at


def _syncs(database_url: str) -> int:
    """Return how many messages the conductors have taken in from all agents, which number theirs."""
    return _number(database_url, "SELECT coalesce(sum(sequence), 0) FROM hosts")


def _number(database_url: str, query: LiteralString) -> int:
    with psycopg.connect(database_url.replace("+psycopg", "", 1)) as connection:
        found = connection.execute(query).fetchone()
    return int(found[0]) if found else 0

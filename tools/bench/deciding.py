"""A process with conductor, agents and API, but without hypervisors: what a migration costs us, not them.

Its parts are made by the same build functions as those of the daemons and the all-in-one.
Arguments: a state folder, a password, and name=url of each host.
"""

import sys
from pathlib import Path

import agent.build
import conductor.build
from common import rpc, service
from common.clock import SystemClock
from common.conductor_api import ConductorAPI
from conductor.api.app import make_app
from conductor.api.serve import Service as ApiService
from conductor.db.session import Database
from conductor.operations.settings import Settings


def main(state: str, password: str, *hosts: str) -> int:
    """Serve until told to stop."""
    service.log_to()
    stop = service.Stop()
    stop.catch()
    transport, clock = rpc.transport("corral-inproc://bench/"), SystemClock()
    database = Database(f"sqlite:///{Path(state) / 'corral.sqlite'}")
    database.upgrade()
    decides = conductor.build.Service(database, transport, clock, Settings(), "bench")
    decides.start()
    agents = []
    for name, url in (host.split("=", 1) for host in hosts):
        settings = agent.build.AgentSettings(host=name, url=url, username="root", password=password)
        agents.append(agent.build.build(settings, transport=transport, clock=clock))
        agents[-1].start()
    api = ApiService(make_app(ConductorAPI(transport)), "127.0.0.1", 0)
    api.start()
    print(f"ready: {api.url}", flush=True)
    status = stop.wait()
    api.stop()
    for one in agents:
        one.stop()
    decides.stop()
    return status


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))

"""A Corral behind a real Keystone, and tables of commands that real clients run against it.

A table is a YAML file: commands in order, each with its exit status and pieces of what it
prints.  ``Case`` says what may stand in a row.
"""

import re
import shlex
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from keystoneauth1 import loading
from keystonemiddleware import auth_token
from oslo_config import cfg

from common import rpc
from common.conductor_api import ConductorAPI
from conductor.api.app import make_app
from conductor.api.auth import Keystone, Strategy
from conductor.api.serve import Service
from tests.functional.allinone_world import GIB, House, Hypervisors, guest, pool_world
from tools.clients.client import Client, Program
from tools.servers import keystone

CASES = Path(__file__).parent / "cases"
#: seconds within which what a row waits for has to be there
PATIENCE_S = 60.0
#: seconds for a small VM to move, minutes for the big one, which is caught in the middle of its move
SPEED = 1.0


@dataclass(frozen=True)
class Case:
    """One row of a table."""

    run: str                                                #: with {names} that rows before have kept
    status: int = 0
    shows: list[str] = field(default_factory=list)          #: on standard output; one space stands for many
    says: list[str] = field(default_factory=list)           #: on standard error
    hides: list[str] = field(default_factory=list)          #: in neither
    keep: dict[str, str] = field(default_factory=dict)      #: a name for what a pattern finds in the output
    until: bool = False                                     #: it is run again until it is so
    runs: dict[str, list[str]] = field(default_factory=dict)        #: VMs by host afterwards, as the hypervisors say


def table(name: str) -> list[Case]:
    """Return a table's rows."""
    rows = yaml.safe_load((CASES / f"{name}.yaml").read_text(encoding="utf-8"))
    return [Case(**{key: [value] if key in ("shows", "says", "hides") and isinstance(value, str) else value
                    for key, value in row.items()}) for row in rows]


def play(rows: list[Case], client: Client, hypervisors: Hypervisors) -> list[str]:
    """Run all rows; return a sentence for each that was not as it has to be."""
    known: dict[str, str] = {}
    found = []
    for row in rows:
        deadline, pause = time.monotonic() + PATIENCE_S, threading.Event()
        while problem := _try(row, client, known, hypervisors):
            if not row.until or time.monotonic() > deadline:
                found.append(problem)
                break
            pause.wait(0.2)
    return found


def _try(row: Case, client: Client, known: dict[str, str], hypervisors: Hypervisors) -> str:
    def named(text: str) -> str:
        return re.sub(r"\{(\w+)\}", lambda name: known.get(name[1], name[0]), text)

    line = named(row.run)
    done = client.run(*shlex.split(line))
    out, err = (re.sub("[ \t]+", " ", text) for text in (done.out, done.err))
    for name, pattern in row.keep.items():
        if seen := re.search(pattern, out):
            known[name] = seen[1]
    wrong = [f"ends with {done.status}, not {row.status}"] if done.status != row.status else []
    wrong += [f"prints no {words!r}" for words in map(named, row.shows) if words not in out]
    wrong += [f"says no {words!r}" for words in map(named, row.says) if words not in err]
    wrong += [f"prints {words!r}" for words in (*row.hides, "Traceback") if words in out + err]
    wrong += [f"prints nothing like {pattern}" for name, pattern in row.keep.items() if name not in known]
    running = hypervisors.pool().running() if row.runs and not wrong else {}
    wrong += [f"leaves {running.get(host, [])} on {host}" for host, vms in row.runs.items()
              if not wrong and running.get(host, []) != vms]
    return f"$ {line}\n  " + ", ".join(wrong) + f"\n{out}{err[-1500:]}" if wrong else ""


def configuration(server: keystone.Access) -> Any:
    """Return a configuration as that of corral-api behind Keystone, whose service user is ``corral``."""
    conf = cfg.ConfigOpts()
    conf([], project="corral", default_config_files=[], default_config_dirs=[])
    for group, options in auth_token.list_opts():
        conf.register_opts(options, group=group)
    conf.register_opts(loading.get_auth_plugin_conf_options(loading.get_plugin_loader("password")),
                       group="keystone_authtoken")
    for name, value in {"auth_type": "password", "auth_url": server.url, "www_authenticate_uri": server.url,
                        "username": "corral", "password": "corral", "user_domain_id": "default",
                        "project_domain_id": "default", "project_name": "service"}.items():
        conf.set_override(name, value, group="keystone_authtoken")
    return conf


def world() -> dict[str, Any]:
    """Return a pool of four hosts with two small VMs, and one that takes long to move."""
    return pool_world(4, [guest("web1", "h1"), guest("web2", "h2"), guest("slow", "h3", 200)], memory=512 * GIB)


@contextmanager
def corral(folder: Path, strategy: Strategy) -> Iterator[tuple[House, str]]:
    """Run a Corral whose first three hosts are in aggregate 1; yield it and the address of an API with ``strategy``."""
    # Heartbeats as in earnest: on a machine that is busy with other tests, an agent is soon missed.
    with House(folder, world(), "--sync-interval", "5", speed=SPEED) as house:
        transport = rpc.transport(f"corral-inproc://{abs(hash((folder / 'state').resolve())):x}/")
        served = Service(make_app(ConductorAPI(transport), auth=strategy), "127.0.0.1", 0)
        served.start()
        house.corral.adopt("h1", "h2", "h3")
        try:
            yield house, served.url
        finally:
            served.stop()


@contextmanager
def in_catalogue(folder: Path, server: keystone.Access, strategy: Strategy,
                 program: Program) -> Iterator[tuple[House, Client]]:
    """Run a Corral in a region of its own, and a client that finds it by the catalogue."""
    region = folder.name
    with corral(folder, strategy) as (house, url):
        server.endpoint("identity", region, server.url)
        server.endpoint("compute", region, f"{url}/v2.1")
        with Client(program, server.environ(region)) as client:
            yield house, client


def authenticator(server: keystone.Access) -> Keystone:
    """Return the API's strategy for that Keystone."""
    return Keystone(configuration(server), operator_projects=["admin"])

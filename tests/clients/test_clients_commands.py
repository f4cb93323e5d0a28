"""Every command of every client about what Corral has, against a running Corral and a real Keystone."""

import re
import subprocess
from pathlib import Path

import pytest

from conductor.api.auth import Strategy
from tests.clients.clients_world import in_catalogue, play, table
from tools.clients import client, environments
from tools.clients.client import Client, Program
from tools.servers.keystone import Server

PROGRAMS = {"novaclient6": client.NOVACLIENT_6, "novaclient9": client.NOVACLIENT_9,
            "novaclient18": client.NOVACLIENT_18, "openstackclient": client.OPENSTACKCLIENT,
            "openstacksdk": client.OPENSTACKSDK}

#: how each client lists its commands, and where they stand in that
LISTS = {"nova": ("--help", r"^ {4}([a-z-]+)(?=\s)"),
         "openstack": ("command list --group openstack.compute -f value -c Commands", "'([a-z ]+)'")}
#: those that are about what Corral has
OURS = re.compile("(aggregate|host|service|compute service|hypervisor|availability.zone|migration|server.migrat(ion|e)|"
                  "live-migration)($|[ -])")
#: the first needs an image service; the second is asked for at the wrong address by the client
NOT_HERE = {"aggregate cache image", "server migration show"}
#: the methods of the library that are about it: of its compute proxy, and of its cloud layer
METHODS = """
import re
from openstack.compute.v2._proxy import Proxy
from openstack.connection import Connection
print(*(name for name in dir(Proxy) if re.search("aggregate|host|service|hypervisor|zone|migrat", name)))
print(*("cloud." + name for name in dir(Connection) if re.search("aggregate|hypervisor|availability_zone", name)))
"""
#: one needs an image service, one is no call, one is of another service
METHODS_NOT_HERE = {"aggregate_precache_images", "register_service_argparse_arguments",
                    "cloud.list_share_availability_zones"}


@pytest.mark.parametrize("name", [name for name in PROGRAMS if name != "openstacksdk"])
def test_every_command_of_ours_is_in_the_table(name: str) -> None:
    program = PROGRAMS[name]
    words, pattern = LISTS[program.name]
    with Client(program, {}) as running:
        listed = running.run(*words.split()).out
    wanted = {one for one in re.findall(pattern, listed, re.MULTILINE) if OURS.match(one)} - NOT_HERE
    rows = [f"{row.run} " for row in table(name)]
    assert len(wanted) > 20
    assert not {one for one in wanted if not any(row.startswith(f"{one} ") for row in rows)}


def test_every_method_of_ours_is_in_the_table_of_the_library() -> None:
    python = environments.built("openstacksdk") / "bin" / "python"
    listed = subprocess.run([python, "-c", METHODS], text=True, capture_output=True, check=True, timeout=120).stdout
    wanted = {one for one in listed.split() if not one.startswith("_")} - METHODS_NOT_HERE
    called = {row.run.partition(" ")[0] for row in table("openstacksdk")}
    assert len(wanted) > 30 and not wanted - called


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_command_ends_and_prints_as_its_users_expect(tmp_path: Path, keystone: Server, strategy: Strategy,
                                                          name: str) -> None:
    program: Program = PROGRAMS[name]
    with in_catalogue(tmp_path, keystone, strategy, program) as (house, running):
        problems = play(table(name), running, house)
    assert not problems, "\n".join(problems)

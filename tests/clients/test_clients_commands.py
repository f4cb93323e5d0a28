"""Every command of every client about what Corral has, against a running Corral and a real Keystone."""

from pathlib import Path

import pytest

from conductor.api.auth import Strategy
from tests.clients.clients_world import in_catalogue, play, table
from tools.clients import client
from tools.clients.client import Program
from tools.servers.keystone import Server

PROGRAMS = {"novaclient6": client.NOVACLIENT_6, "novaclient9": client.NOVACLIENT_9,
            "novaclient18": client.NOVACLIENT_18, "openstackclient": client.OPENSTACKCLIENT,
            "openstacksdk": client.OPENSTACKSDK}


@pytest.mark.parametrize("name", PROGRAMS)
def test_each_command_ends_and_prints_as_its_users_expect(tmp_path: Path, keystone: Server, strategy: Strategy,
                                                          name: str) -> None:
    program: Program = PROGRAMS[name]
    with in_catalogue(tmp_path, keystone, strategy, program) as (house, running):
        problems = play(table(name), running, house)
    assert not problems, "\n".join(problems)

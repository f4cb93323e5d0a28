"""Tempest, the suite of tests that OpenStack has for Nova, against a Corral whose aggregates are plain by default."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from common import rpc
from common.conductor_api import ConductorAPI
from conductor.api.app import make_app
from conductor.api.auth import Strategy
from conductor.api.serve import Service
from tests.functional.allinone_world import Parts, guest, pool_world, until
from tools.clients import environments
from tools.servers.keystone import ADMIN, PASSWORD, Server

REGION = "tempest"
#: seconds that the suite may take on a machine that is busy with other tests
PATIENCE_S = 400
#: all that it has about what Corral serves
ABOUT = (r"compute\.(test_versions|admin\.test_(aggregates|availability_zone|hosts|hypervisor|services)(_negative)?|"
         r"servers\.test_availability_zone|admin\.test_migrations.*test_list_migrations$)")
#: it makes a VM, as only Nova does
NOT_HERE = "test_aggregate_add_host_create_server_with_az"

CONFIGURATION = """\
[oslo_concurrency]
lock_path = {folder}/locks
[auth]
use_dynamic_credentials = false
test_accounts_file = {folder}/accounts.yaml
tempest_roles = member
create_isolated_networks = false
[identity]
uri_v3 = {keystone}
auth_version = v3
region = {region}
[identity-feature-enabled]
api_v2 = false
[compute]
region = {region}
max_microversion = 2.42
[service_available]
neutron = false
cinder = true
glance = true
swift = false
nova = true
"""
ACCOUNT = """\
- {{username: {user}, password: {password}, project_name: {project}, user_domain_name: Default,
   project_domain_name: Default, roles: [{role}], types: {types}}}
"""
#: user, role and project beside the administrator
PEOPLE = (("member1", "member", "one"), ("member2", "member", "two"), ("reader1", "reader", "one"),
          ("reader2", "reader", "two"))


@pytest.fixture
def plain(tmp_path: Path, keystone: Server, strategy: Strategy) -> Iterator[None]:
    """A Corral of three hosts with one VM in the catalogue, with ``[aggregates] pool_backed_by_default = false``."""
    world, hosts = pool_world(3, [guest("web1", "h1")]), ("h1", "h2", "h3")
    with Parts(tmp_path / "corral", world, *hosts, pool_backed_by_default=False) as running:
        transport = rpc.transport(f"corral-inproc://{abs(hash(tmp_path / 'corral')):x}/")
        served = Service(make_app(ConductorAPI(transport), auth=strategy), "127.0.0.1", 0)
        served.start()
        keystone.endpoint("identity", REGION, keystone.url)
        keystone.endpoint("compute", REGION, f"{served.url}/v2.1")
        until("the hosts were read", lambda: all(running.corral.is_read(host) for host in hosts))
        yield
        served.stop()


def tempest(folder: Path, keystone: Server, *words: str) -> str:
    """Run Tempest in a workspace of its own; return what it printed."""
    accounts = [ACCOUNT.format(user=ADMIN, password=PASSWORD, project=ADMIN, role="admin", types="[admin]")]
    for user, role, project in PEOPLE:
        keystone.user(user, PASSWORD, role, project)
        accounts.append(ACCOUNT.format(user=user, password=PASSWORD, project=project, role=role, types="[]"))
    binaries = environments.built("tempest") / "bin"
    environ = {"PATH": f"{binaries}:/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8"}
    subprocess.run([binaries / "tempest", "init", "--workspace-path", folder / "workspaces", folder / "here"],
                   env=environ, cwd=folder, check=True, capture_output=True, timeout=PATIENCE_S)
    (folder / "accounts.yaml").write_text("".join(accounts))
    (folder / "here" / "etc" / "tempest.conf").write_text(
        CONFIGURATION.format(folder=folder, keystone=keystone.url, region=REGION))
    return subprocess.run([binaries / "tempest", "run", "--serial", *words], env=environ, cwd=folder / "here",
                          text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
                          timeout=PATIENCE_S).stdout


def test_a_suite_written_for_nova_passes_as_it_stands(plain: None, tmp_path: Path, keystone: Server) -> None:
    said = tempest(tmp_path, keystone, "--regex", ABOUT, "--exclude-regex", NOT_HERE)
    counts = {name: int(number) for name, number in re.findall(r"^ - (\w+): (\d+)$", said, re.MULTILINE)}
    assert counts.get("Failed") == 0 and counts["Passed"] >= 60, said[-8000:]

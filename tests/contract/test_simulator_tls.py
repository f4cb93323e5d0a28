"""HTTPS at simulated hosts: what is presented, who is trusted, and that plain HTTP goes on beside it."""

import hashlib
import ssl
import subprocess
import sys
import xmlrpc.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import XenAPI

from agent.simulator import Simulator, WorldError, default_spec
from agent.simulator.certificates import fingerprint_of

DEADLINE_S = 90.0  # a busy machine starts programs slowly


@pytest.fixture(scope="module")
def sim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    simulator = Simulator(default_spec(hosts=2, vms=1), speed=100, tls_folder=tmp_path_factory.mktemp("tls"))
    simulator.start()
    yield simulator
    simulator.stop()


def trusting(simulator: Simulator) -> ssl.SSLContext:
    assert simulator.authority
    return ssl.create_default_context(cafile=str(simulator.authority.ca_file))


def session(simulator: Simulator, number: int = 0) -> Any:
    transport = xmlrpc.client.SafeTransport(context=trusting(simulator))
    client = XenAPI.Session(simulator.hosts[number][1], transport=transport)
    client.xenapi.login_with_password(*simulator.login, "1.0", "tls")
    return client


def prints(client: Any, kind: str = "host") -> set[str]:
    """Return the fingerprints of a kind that the API shows."""
    records = client.xenapi.Certificate.get_all_records().values()
    return {record["fingerprint"] for record in records if record["type"] == kind}


def test_the_xenapi_package_verifies_a_host_by_the_authority_and_its_address(sim: Simulator) -> None:
    assert all(url.startswith("https://") for _name, url in sim.hosts)
    client = session(sim)
    assert len(client.xenapi.VM.get_all()) == 2
    token = getattr(client.xenapi.event, "from")(["vm"], "", 0.0)["token"]
    assert getattr(client.xenapi.event, "from")(["vm"], token, 0.01)["events"] == []


def test_a_client_that_does_not_know_the_authority_refuses(sim: Simulator) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        XenAPI.Session(sim.hosts[0][1]).xenapi.login_with_password(*sim.login)


def test_another_hosts_certificate_is_refused(sim: Simulator, tmp_path: Path) -> None:
    assert sim.authority
    other = Simulator(default_spec(hosts=1, vms=0), tls_folder=tmp_path)
    with pytest.raises(ssl.SSLCertVerificationError):
        other.start()
        try:
            transport = xmlrpc.client.SafeTransport(context=trusting(sim))
            XenAPI.Session(other.hosts[0][1], transport=transport).xenapi.login_with_password(*sim.login)
        finally:
            other.stop()


def test_plain_http_is_answered_on_the_same_port(sim: Simulator) -> None:
    client = XenAPI.Session(sim.hosts[0][1].replace("https:", "http:"))
    client.xenapi.login_with_password(*sim.login)
    assert len(client.xenapi.host.get_all()) == 1


def test_the_api_shows_the_certificate_that_is_presented(sim: Simulator) -> None:
    client = session(sim)
    host = client.xenapi.host.get_all()[0]
    url = urlsplit(sim.hosts[0][1])
    presented = ssl.get_server_certificate((str(url.hostname), url.port or 0))
    assert client.xenapi.host.get_server_certificate(host).strip() == presented.strip()
    record = client.xenapi.Certificate.get_record(client.xenapi.host.get_certificates(host)[0])
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(presented)).hexdigest().upper()
    assert (record["type"], record["fingerprint"].replace(":", "")) == ("host", digest)
    assert record["fingerprint"] == fingerprint_of(presented) == sim.certificates[str(url.hostname)].fingerprint


def test_only_tls_1_2_is_spoken(sim: Simulator) -> None:
    context = trusting(sim)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    client = XenAPI.Session(sim.hosts[0][1], transport=xmlrpc.client.SafeTransport(context=context))
    with pytest.raises(ssl.SSLError, match="protocol version"):
        client.xenapi.login_with_password(*sim.login)


def test_a_joined_host_keeps_its_certificate_in_the_pool(sim: Simulator) -> None:
    joiner, master = session(sim, 1), session(sim)
    shown = prints(joiner)
    joiner.xenapi.pool.join(urlsplit(sim.hosts[0][1]).hostname, *sim.login)
    assert prints(master) == {one.fingerprint for one in sim.certificates.values()}
    assert shown < prints(master)


def test_certificates_in_a_folder_are_used_again(tmp_path: Path) -> None:
    first = Simulator(default_spec(hosts=1, vms=0), tls_folder=tmp_path)
    second = Simulator(default_spec(hosts=1, vms=0), tls_folder=tmp_path)
    assert first.authority and second.authority
    assert first.authority.fingerprint == second.authority.fingerprint
    both = set(first.certificates) & set(second.certificates)
    assert all(first.certificates[one] == second.certificates[one] for one in both)
    for simulator in (first, second):
        simulator.start()
        simulator.stop()


@pytest.mark.parametrize("content", [b"", b"nonsense", b"-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n"])
def test_an_authority_that_cannot_be_read_is_an_error_of_one_sentence(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "ca.pem").write_bytes(content)
    with pytest.raises(WorldError, match="cannot use the authority in"):
        Simulator(default_spec(hosts=1, vms=0), tls_folder=tmp_path)


def test_the_program_says_which_authority_to_trust(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-m", "agent.simulator.main", "--hosts", "1", "--vms", "0", "--tls",
                                str(tmp_path)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    lines = [process.stdout.readline().split() for _ in range(5)]
    process.terminate()
    out, error = process.communicate(timeout=DEADLINE_S)
    assert [line[0] for line in lines] == ["host", "ca", "certificate", "login", "ready"]
    assert lines[0][2].startswith("https://127.")
    assert lines[1][1:] == [str(tmp_path / "ca.pem"), fingerprint_of((tmp_path / "ca.pem").read_text())]
    assert len(lines[2][2]) == 32 * 3 - 1
    assert (process.returncode, out, error) == (0, "", "")


def test_self_signed_certificates_without_tls_are_refused() -> None:
    ended = subprocess.run([sys.executable, "-m", "agent.simulator.main", "--self-signed"], capture_output=True,
                           text=True, timeout=DEADLINE_S, check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "corral-simulator: --self-signed says how certificates are made: it goes with --tls\n")


def test_without_the_certificate_library_the_program_says_what_to_install() -> None:
    code = ("import sys; sys.modules['cryptography'] = None; from agent.simulator.main import main; "
            "sys.exit(main(['--tls']))")
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=DEADLINE_S,
                           check=False)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == (
        "corral-simulator: TLS needs the package `cryptography`: pip install cryptography\n")


def test_a_simulator_that_goes_on_presents_the_certificates_that_it_had(tmp_path: Path) -> None:
    shown = []
    for _ in range(2):
        simulator = Simulator(default_spec(hosts=1, vms=0), tls_folder=tmp_path, state_path=tmp_path / "state.json")
        simulator.start()
        client = session(simulator)
        shown.append((prints(client), prints(client, "host_internal")))
        simulator.stop()
    assert shown[0] == shown[1] and shown[0][0] != shown[0][1]


def test_a_refreshed_internal_certificate_is_still_there_when_the_simulator_goes_on(tmp_path: Path) -> None:
    shown = []
    for time in range(2):
        simulator = Simulator(default_spec(hosts=1, vms=0), speed=100, tls_folder=tmp_path,
                              state_path=tmp_path / "state.json")
        simulator.start()
        client = session(simulator)
        shown.append(prints(client, "host_internal"))
        if not time:
            client.xenapi.host.refresh_server_certificate(client.xenapi.host.get_all()[0])
            shown.append(prints(client, "host_internal"))
        simulator.stop()
    first, refreshed, again = shown
    assert first != refreshed == again


def test_without_tls_no_certificate_can_be_refreshed() -> None:
    simulator = Simulator(default_spec(hosts=1, vms=0))
    simulator.start()
    client = XenAPI.Session(simulator.hosts[0][1])
    client.xenapi.login_with_password(*simulator.login)
    with pytest.raises(XenAPI.Failure) as caught:
        client.xenapi.host.refresh_server_certificate(client.xenapi.host.get_all()[0])
    simulator.stop()
    assert caught.value.details[0] == "NOT_IMPLEMENTED"


def test_self_signed_certificates_of_all_hosts_are_in_one_file_and_each_vouches_for_its_host_only(
        tmp_path: Path) -> None:
    first = Simulator(default_spec(hosts=2, vms=0), tls_folder=tmp_path, self_signed=True)
    first.start()
    for number in range(2):
        assert session(first, number)
    own = [ssl.create_default_context(cadata=one.pem) for one in first.certificates.values()]
    stranger = xmlrpc.client.SafeTransport(context=own[1])
    with pytest.raises(ssl.SSLCertVerificationError):
        XenAPI.Session(first.hosts[0][1], transport=stranger).xenapi.login_with_password(*first.login)
    first.stop()
    for self_signed, same in ((True, True), (False, False), (True, False)):  # another kind is made anew
        second = Simulator(default_spec(hosts=2, vms=0), port=first.port, tls_folder=tmp_path, self_signed=self_signed)
        both = set(first.certificates) & set(second.certificates)
        assert both and all((first.certificates[one] == second.certificates[one]) is same for one in both)
        second.start()
        second.stop()

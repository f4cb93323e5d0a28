"""The agent trusts a hypervisor only with a certificate of its authority and its name; else it says why not."""

import contextlib
import select
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import trustme

from agent.simulator import Simulator, default_spec
from agent.xenapi.session import Access, XenHypervisor
from common.clock import SystemClock


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulator]:
    """One host that speaks plain HTTP."""
    simulator = Simulator(default_spec(hosts=1, vms=0), speed=100)
    simulator.start()
    yield simulator
    simulator.stop()


@contextlib.contextmanager
def tls_before(url: str, certificate: trustme.LeafCert) -> Iterator[str]:
    """Terminate TLS before ``url``, as stunnel does before xapi; yield the https URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    listener = socket.create_server(("127.0.0.1", 0))
    target = (urlsplit(url).hostname, urlsplit(url).port)

    def serve(client: socket.socket) -> None:
        with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as secure, \
                socket.create_connection(target) as plain:
            while True:
                pair = [secure] if secure.pending() else select.select([secure, plain], [], [])[0]
                for one in pair:
                    data = one.recv(65536)
                    if not data:
                        return
                    (plain if one is secure else secure).sendall(data)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"https://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()


def located(simulator: Simulator, served: trustme.LeafCert, trusted: trustme.CA, folder: Path) -> tuple[str, str]:
    """Return the role that the agent finds and the message of its trouble."""
    ca_file = folder / "ca.pem"
    trusted.cert_pem.write_to_path(ca_file)
    with tls_before(simulator.hosts[0][1], served) as url:
        hypervisor = XenHypervisor(Access(url, *simulator.login, ca_file=str(ca_file)), "test", SystemClock())
        here = hypervisor.locate()
        hypervisor.close()
    trouble = here.trouble or {}
    return here.role, f"{trouble.get('code')}: {trouble.get('message')}"


def test_a_certificate_of_the_authority_and_the_name_is_trusted(simulator: Simulator, tmp_path: Path) -> None:
    ours = trustme.CA()
    assert located(simulator, ours.issue_cert("127.0.0.1"), ours, tmp_path)[0] == "standalone"


def test_a_certificate_of_another_authority_is_refused_with_a_sentence(simulator: Simulator, tmp_path: Path) -> None:
    role, trouble = located(simulator, trustme.CA().issue_cert("127.0.0.1"), trustme.CA(), tmp_path)
    assert role == "unreachable"
    assert trouble.startswith("hypervisor_tls: ")
    assert "certificate" in trouble


def test_a_certificate_for_another_name_is_refused_with_a_sentence(simulator: Simulator, tmp_path: Path) -> None:
    ours = trustme.CA()
    role, trouble = located(simulator, ours.issue_cert("192.0.2.1"), ours, tmp_path)
    assert role == "unreachable"
    assert trouble.startswith("hypervisor_tls: ")
    assert "127.0.0.1" in trouble


def test_no_password_is_sent_to_a_host_that_is_not_trusted(simulator: Simulator, tmp_path: Path) -> None:
    before = len(simulator.world.calls)
    located(simulator, trustme.CA().issue_cert("127.0.0.1"), trustme.CA(), tmp_path)
    assert len(simulator.world.calls) == before

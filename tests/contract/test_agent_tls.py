"""The agent trusts a hypervisor only by its authority and name, or by its pinned certificate; else it says why not."""

import contextlib
import datetime
import logging
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
import trustme
from agent_desk import DEADLINE_S, pooled_spec
from oslo_config import cfg

from agent.settings import settings_from
from agent.simulator import Simulator, default_spec
from agent.simulator.certificates import Authority, SelfSigned, fingerprint_of
from agent.xenapi.session import Access, XenHypervisor
from agent.xenapi.trust import pins_of
from common import config, errors
from common.clock import SystemClock

#: an address that no test serves, and a fingerprint that nobody presents
ELSEWHERE, NOBODYS = "192.0.2.1", ":".join(["AB"] * 32)
NOW = datetime.datetime.now(datetime.UTC)
DAY = datetime.timedelta(days=1)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Simulator]:
    """One host that speaks HTTPS as xapi's stunnel does, TLS 1.2 only, and plain HTTP."""
    simulator = Simulator(default_spec(hosts=1, vms=0), speed=100, tls_folder=tmp_path_factory.mktemp("tls"))
    simulator.start()
    yield simulator
    simulator.stop()


@contextlib.contextmanager
def tls_before(simulator: Simulator, context: ssl.SSLContext) -> Iterator[str]:
    """Terminate TLS before the host, on 127.0.0.1, with another certificate; yield the https URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    parts = urlsplit(simulator.hosts[0][1])
    target = (str(parts.hostname), parts.port or 0)

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


def serving(certificate: trustme.LeafCert) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    return context


def located(simulator: Simulator, url: str | None = None, **trust: Any) -> tuple[str, str]:
    """Return the role that the agent finds and its trouble: code and message."""
    access = Access(url or simulator.hosts[0][1], *simulator.login, **trust)
    hypervisor = XenHypervisor(access, "test", SystemClock())
    here = hypervisor.locate()
    hypervisor.close()
    trouble = here.trouble or {}
    return here.role, f"{trouble.get('code')}: {trouble.get('message')}"


def ca_file(simulator: Simulator) -> str:
    assert simulator.authority is not None
    return str(simulator.authority.ca_file)


def presented(simulator: Simulator) -> str:
    """Return the fingerprint of what the host presents, as xapi's Certificate record and the simulator tell it."""
    return next(iter(simulator.certificates.values())).fingerprint


def test_a_certificate_of_the_authority_and_the_name_is_trusted(simulator: Simulator) -> None:
    assert located(simulator, ca_file=ca_file(simulator))[0] == "standalone"


def test_a_pinned_certificate_is_trusted_whoever_issued_it(simulator: Simulator) -> None:
    assert located(simulator, pins=(presented(simulator),))[0] == "standalone"


def test_a_certificate_may_be_changed_while_the_old_and_the_new_are_pinned(simulator: Simulator) -> None:
    assert located(simulator, pins=(NOBODYS, presented(simulator)))[0] == "standalone"


def test_a_certificate_that_is_its_own_authority_is_trusted_by_its_file(simulator: Simulator, tmp_path: Path) -> None:
    # As xapi's self-signed one, which operators copy from the host.
    own = SelfSigned(tmp_path)
    made = own.certificate("h1", "127.0.0.1")
    with tls_before(simulator, made.context()) as url:
        assert located(simulator, url, ca_file=str(own.ca_file))[0] == "standalone"
        assert located(simulator, url, pins=(made.fingerprint,))[0] == "standalone"
        assert located(simulator, url)[1].startswith("hypervisor_tls: ")
        assert located(simulator, url, ca_file=ca_file(simulator))[1].startswith("hypervisor_tls: ")


Served = Callable[[Path], tuple[ssl.SSLContext, str]]


def of_dates(not_before: datetime.datetime, not_after: datetime.datetime) -> Served:
    def served(folder: Path) -> tuple[ssl.SSLContext, str]:
        authority = trustme.CA()
        authority.cert_pem.write_to_path(folder / "ca.pem")
        return serving(authority.issue_cert("127.0.0.1", not_before=not_before, not_after=not_after)), str(
            folder / "ca.pem")

    return served


def of_name(address: str) -> Served:
    def served(folder: Path) -> tuple[ssl.SSLContext, str]:
        authority = Authority(folder)
        return authority.certificate("other", address).context(), str(authority.ca_file)

    return served


def of_other_authority(folder: Path) -> tuple[ssl.SSLContext, str]:
    (folder / "trusted").mkdir()
    return of_name("127.0.0.1")(folder)[0], str(Authority(folder / "trusted").ca_file)


@pytest.mark.parametrize(("served", "sentence"), [
    pytest.param(of_name(ELSEWHERE), "is for another name: IP address mismatch, certificate is not valid",
                 id="another-name"),
    pytest.param(of_other_authority, "is not vouched for by ", id="another-authority"),
    pytest.param(of_dates(NOW - 9 * DAY, NOW - DAY), "has expired. Let the host have a new one", id="expired"),
    pytest.param(of_dates(NOW + DAY, NOW + 9 * DAY), "is not yet valid. Compare the clocks", id="not-yet-valid"),
])
def test_a_certificate_that_does_not_hold_is_refused_before_anything_is_sent(
        served: Served, sentence: str, simulator: Simulator, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    before = len(simulator.world.calls)
    context, trusted = served(tmp_path)
    with tls_before(simulator, context) as url:
        shown = ssl.get_server_certificate((str(urlsplit(url).hostname), urlsplit(url).port or 0))
        with caplog.at_level(logging.WARNING):
            role, trouble = located(simulator, url, ca_file=trusted)
    assert role == "unreachable"
    assert trouble.startswith(f"hypervisor_tls: {url} is not trusted: ")
    assert sentence in trouble and fingerprint_of(shown) in trouble and "[xenapi] pins" in trouble
    assert trouble in caplog.text, "it stands in the agent's log too"
    assert len(simulator.world.calls) == before


def test_another_certificate_than_the_pinned_is_refused_before_anything_is_sent(simulator: Simulator) -> None:
    before = len(simulator.world.calls)
    role, trouble = located(simulator, pins=(NOBODYS,))
    assert role == "unreachable"
    assert trouble.startswith("hypervisor_tls: ")
    assert f"it presents SHA-256 {presented(simulator)}, expected is {NOBODYS}" in trouble
    assert len(simulator.world.calls) == before


def test_with_pins_and_authorities_both_have_to_hold(simulator: Simulator, tmp_path: Path) -> None:
    own, other = ca_file(simulator), str(Authority(tmp_path).ca_file)
    assert located(simulator, ca_file=own, pins=(presented(simulator),))[0] == "standalone"
    assert located(simulator, ca_file=own, pins=(NOBODYS,))[1].startswith("hypervisor_tls: ")
    assert located(simulator, ca_file=other, pins=(presented(simulator),))[1].startswith("hypervisor_tls: ")


def test_each_connection_is_compared_not_only_the_first(simulator: Simulator, tmp_path: Path) -> None:
    contexts = [Authority(tmp_path).certificate("h1", "127.0.0.1").context()]
    first = Authority(tmp_path).certificate("h1", "127.0.0.1").fingerprint
    with tls_before(simulator, contexts[0]) as url:
        hypervisor = XenHypervisor(Access(url, *simulator.login, pins=(first,)), "test", SystemClock())
        assert hypervisor.locate().role == "standalone"
        (tmp_path / "second").mkdir()
        contexts[0].load_cert_chain(Authority(tmp_path / "second").certificate("h1", "127.0.0.1").path)
        before = len(simulator.world.calls)
        with pytest.raises(errors.Unavailable) as refusal:
            hypervisor.open()
        assert refusal.value.code == "hypervisor_tls"
        assert len(simulator.world.calls) == before


def test_a_port_without_tls_is_refused_with_a_sentence(simulator: Simulator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        def answer() -> None:
            with contextlib.suppress(OSError), listener.accept()[0] as client:
                client.recv(1)
                client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        _role, trouble = located(simulator, f"https://127.0.0.1:{listener.getsockname()[1]}")
        thread.join(DEADLINE_S)
    assert trouble.startswith("hypervisor_tls: ") and "no TLS can be agreed upon" in trouble


def test_pins_may_be_written_as_openssl_and_xapi_show_them() -> None:
    plain = "0123456789abcdef" * 4
    pin = ":".join(plain[at:at + 2] for at in range(0, 64, 2)).upper()
    assert pins_of([plain, f" {pin} ", pin.lower()]) == (pin,)


@pytest.mark.parametrize("wrong", ["", "AB:CD", "g" * 64, ":".join(["AB"] * 20)],
                         ids=["empty", "short", "not-hexadecimal", "sha1"])
def test_what_is_no_fingerprint_is_a_mistake_of_the_configuration(wrong: str) -> None:
    with pytest.raises(errors.Invalid, match="is no SHA-256 fingerprint"):
        pins_of([wrong])


def configured(folder: Path, lines: str) -> SimpleNamespace:
    """Return the settings that an agent's file says, or what is wrong with it."""
    (folder / "password").write_text("geheim")
    (folder / "password").chmod(0o600)
    (folder / "agent.conf").write_text(f"[agent]\nhost = h1\n[xenapi]\npassword_file = {folder}/password\n{lines}")
    conf = cfg.ConfigOpts()
    config.load(conf, "corral-agent", ["--config-file", str(folder / "agent.conf")], "agent")
    try:
        return SimpleNamespace(settings=settings_from(conf)[0], wrong="")
    except errors.Invalid as exc:
        return SimpleNamespace(settings=None, wrong=exc.message)


def test_pins_reach_the_agent_from_its_file(tmp_path: Path) -> None:
    found = configured(tmp_path, f"url = https://h\npins = {NOBODYS},{NOBODYS.replace('AB', '01')}\n")
    assert found.settings.pins == (NOBODYS, NOBODYS.replace("AB", "01"))


@pytest.mark.parametrize(("lines", "sentence"), [
    pytest.param(f"url = http://h\npins = {NOBODYS}", "pins need an https url", id="pins-without-tls"),
    pytest.param(f"url = https://h\nverify = false\npins = {NOBODYS}", "pins need an https url, and verify on",
                 id="pins-without-verification"),
    pytest.param("url = https://h\npins = AA", "is no SHA-256 fingerprint", id="no-fingerprint"),
    pytest.param("url = https://h\nca_file = /nowhere/ca.pem", "the file /nowhere/ca.pem can't be used: No such file",
                 id="no-ca-file"),
    pytest.param("url = https://h\nca_file = /dev/null", "it holds no certificates", id="empty-ca-file"),
])
def test_what_can_not_be_trusted_by_is_told_at_the_start(lines: str, sentence: str, tmp_path: Path) -> None:
    assert sentence in configured(tmp_path, lines).wrong


def test_a_members_agent_trusts_its_master_only_if_that_is_pinned_too(tmp_path: Path) -> None:
    simulator = Simulator(pooled_spec(vms=0), speed=100, tls_folder=tmp_path)
    simulator.start()
    try:
        urls = dict(simulator.hosts)
        address = {name: str(urlsplit(url).hostname) for name, url in urls.items()}
        pin = {name: simulator.certificates[address[name]].fingerprint for name in urls}

        def of_h2(*pins: str) -> dict[str, Any]:
            member = XenHypervisor(Access(urls["h2"], *simulator.login, pins=pins), "test", SystemClock())
            member.know("sync", {"?": address["h1"]})
            here = member.locate()
            member.close()
            return {"role": here.role, **(here.trouble or {})}

        refused = of_h2(pin["h2"])
        assert refused["code"] == "hypervisor_tls"
        told = f"the certificate of {address['h1']} is not pinned: it presents SHA-256 {pin['h1']}"
        assert told in refused["message"]
        assert of_h2(pin["h2"], pin["h1"]) == {"role": "slave"}
    finally:
        simulator.stop()

"""Whether the hosts that the options name can be used at all: asked once, so that one sentence says what is wrong.

Tells nothing of the state they are in; that is xapi_real_hosts'.
"""

import socket
import ssl
from contextlib import closing
from urllib.parse import urlsplit

from xapi_client import Client
from xapi_real_hosts import NotReady, RealXapi, running

ANSWERS_S = 20.0  #: a real xapi takes 5 s for a wrong password


def assert_usable(xapi: RealXapi) -> None:
    """Log in at each host and out again.  Raises NotReady with a sentence, in which the password is not."""
    for url in xapi.urls:
        _assert_url(url)
        _assert_answers(url, xapi.ca_file)
    for url in xapi.urls:
        _assert_ours(url, xapi)


def _assert_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        raise NotReady(f"{url!r} is no URL of a host: it is https://ADDRESS, or http://ADDRESS")


def _assert_answers(url: str, ca_file: str) -> None:
    """Connect, and see whether the certificate is vouched for if it must be."""
    parts = urlsplit(url)
    host, tls = str(parts.hostname), parts.scheme == "https"
    if ca_file and not tls:
        raise NotReady(f"{url} has no certificate that --xapi-ca could vouch for: give it as https://")
    try:
        with closing(socket.create_connection((host, parts.port or (443 if tls else 80)), ANSWERS_S)) as plain:
            if tls:
                _context(ca_file).wrap_socket(plain, server_hostname=host).close()
    except ssl.SSLCertVerificationError as exc:
        raise NotReady(f"{url}: its certificate is not to be trusted by {ca_file}: {exc.verify_message}") from None
    except ssl.SSLError as exc:
        raise NotReady(f"{url}: no TLS is spoken there: {exc.reason or exc}") from None
    except TimeoutError:
        raise NotReady(f"{url} does not answer within {ANSWERS_S:.0f} s") from None
    except OSError as exc:
        raise NotReady(f"{url} cannot be reached: {exc.strerror or exc}") from None


def _context(ca_file: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if not ca_file:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context
    try:
        context.load_verify_locations(ca_file)
    except OSError as exc:
        raise NotReady(f"--xapi-ca {ca_file} cannot be read as certificates: {exc.strerror or exc}") from None
    return context


def _assert_ours(url: str, xapi: RealXapi) -> None:
    """Log in; a member will do if its master is another one of the hosts."""
    with closing(Client(url, ANSWERS_S)) as client:
        outcome = client.login(xapi.user, xapi.password)
        if outcome.kind == "gives":
            if url != xapi.urls[0] and len(client.call("host.get_all")) == 1:  # it will have to join
                running(client)
            client.call("session.logout")
            return
    code, *params = outcome.value if outcome.kind == "fails" else [""]
    if code == "HOST_IS_SLAVE" and params[0] in [_address(other) for other in xapi.urls if other != url]:
        return
    raise NotReady({
        "HOST_IS_SLAVE": f"{url} is a member of the pool of {params and params[0]}: give its master too, or instead",
        "SESSION_AUTHENTICATION_FAILED": f"{url} takes no login of {xapi.user!r} with this password; "
                                         "--xapi-user and --xapi-password say others",
        "": f"{url}: what is there does not answer as a xapi does ({outcome.kind}: {outcome.value})",
    }.get(code, f"{url} takes no login now: {outcome.value}"))


def _address(url: str) -> str:
    return socket.gethostbyname(str(urlsplit(url).hostname))

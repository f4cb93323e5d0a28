"""Whom the agent speaks to over TLS: hosts whose certificate an authority vouches for, or that are pinned.

It refuses in sentences that say what was presented, what was expected and what helps.  It
knows sockets and certificates, no request.
"""

import hashlib
import re
import socket
import ssl
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass

from common import errors

#: what OpenSSL finds wrong -> what helps
_OTHER_NAME, _EXPIRED, _EARLY = frozenset({62, 64}), 10, 9
_FINGERPRINT = re.compile(r"([0-9A-F]{2}:){31}[0-9A-F]{2}")


class Untrusted(OSError):
    """The peer is not whom we were told to trust, so nothing was sent."""


@dataclass(frozen=True)
class Trust:
    """Which peers are trusted.

    With ``pins`` a certificate has to be one of these; nothing else of it is asked, unless
    ``ca_file`` is given too.  Without both the system's authorities have to vouch for it.
    ``verify`` false without pins trusts anybody.
    """

    ca_file: str | None = None
    verify: bool = True
    pins: tuple[str, ...] = ()

    def context(self) -> ssl.SSLContext:
        """Return the client's end.  Raises Invalid when the authorities can't be read."""
        if not self.verify or (self.pins and self.ca_file is None):
            return _blind()
        try:
            context = ssl.create_default_context(cafile=self.ca_file)
        except OSError as exc:
            reason = "it holds no certificates" if isinstance(exc, ssl.SSLError) else exc.strerror
            raise errors.Invalid(f"[xenapi] ca_file: the file {self.ca_file} can't be used: {reason}",
                                 code="bad_configuration") from exc
        # xapi's own certificates are their own authorities, without the extensions that newer Pythons ask for.
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        return context

    def secured(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> ssl.SSLSocket:
        """Return ``plain`` with TLS to a peer that is trusted; else it is closed.

        Raises Untrusted, and OSError when the connection broke.  One time-out, the socket's, for all of it.
        """
        place, timeout_s = plain.getpeername(), plain.gettimeout()
        try:
            secure = context.wrap_socket(plain, server_hostname=host)
        except ssl.SSLCertVerificationError as exc:
            plain.close()
            raise Untrusted(self._sentence(exc, host, _shown_at(place, host, timeout_s))) from exc
        except ssl.SSLError as exc:
            plain.close()
            if isinstance(exc, ssl.SSLEOFError | ssl.SSLZeroReturnError):
                raise
            raise Untrusted(f"no TLS can be agreed upon with {host} ({exc.reason or exc}); TLS 1.2 or newer is "
                            "expected: is it the port of xapi's HTTPS?") from exc
        except OSError:
            plain.close()
            raise
        if self.pins and (shown := fingerprint_of(secure.getpeercert(True) or b"")) not in self.pins:
            secure.close()
            raise Untrusted(f"the certificate of {host} is not pinned: it presents SHA-256 {shown}, expected is "
                            f"{' or '.join(self.pins)}. If it is the one that xapi's Certificate record of this host "
                            "shows, add it to [xenapi] pins")
        return secure

    def _sentence(self, exc: ssl.SSLCertVerificationError, host: str, shown: str) -> str:
        if exc.verify_code in _OTHER_NAME:
            why = (f"is for another name: {exc.verify_message}. Use a name or address that it holds in [xenapi] url, "
                   "or let the host have a new one")
        elif exc.verify_code == _EXPIRED:
            why = "has expired. Let the host have a new one"
        elif exc.verify_code == _EARLY:
            why = "is not yet valid. Compare the clocks of the host and of this machine"
        else:
            wanted = self.ca_file or "an authority that this system trusts"
            why = (f"is not vouched for by {wanted}: {exc.verify_message}. Add its issuer, or itself, to [xenapi] "
                   "ca_file")
        return f"the certificate of {host} (SHA-256 {shown}) {why}; or pin it with [xenapi] pins"


def fingerprint_of(der: bytes) -> str:
    """Return the SHA-256 of a certificate as xapi's Certificate records show it: upper case, colons."""
    return hashlib.sha256(der).digest().hex(":").upper()


def pins_of(texts: Iterable[str]) -> tuple[str, ...]:
    """Return fingerprints in the form of ``fingerprint_of``, whatever the case and with colons or without.

    Raises Invalid.
    """
    found = []
    for text in texts:
        plain = text.strip().upper().replace(":", "")
        pin = ":".join(plain[at:at + 2] for at in range(0, len(plain), 2))
        if not _FINGERPRINT.fullmatch(pin):
            raise errors.Invalid(f"[xenapi] pins: {text.strip()!r} is no SHA-256 fingerprint; wanted are 32 pairs of "
                                 "hexadecimal digits, like AB:CD:...", code="bad_configuration")
        found.append(pin)
    return tuple(dict.fromkeys(found))


def _blind() -> ssl.SSLContext:
    """Return a context that asks nothing of a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


def _shown_at(place: tuple[str, int], host: str, timeout_s: float | None) -> str:
    """Return the fingerprint that is presented there, for a sentence; a refused handshake does not tell it."""
    with suppress(OSError), socket.create_connection(place[:2], timeout_s) as plain, \
            _blind().wrap_socket(plain, server_hostname=host) as secure:
        return fingerprint_of(secure.getpeercert(True) or b"")
    return "unknown"

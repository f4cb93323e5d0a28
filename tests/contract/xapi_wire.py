"""What goes over a connection below the calls: bytes as they are, and the beginning of TLS.  Knows no cases."""

import hashlib
import socket
import ssl
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.x509.oid import NameOID

DAYS_OF_A_YEAR = 365


class Raw:
    """A connection of its own to `url`, on which anything may be sent; it ends with the `with`."""

    def __init__(self, url: str, read_s: float) -> None:
        self._socket = _connected(url, read_s)
        if url.startswith("https:"):
            self._socket = _careless().wrap_socket(self._socket)
        self.came = ""        #: all that was answered so far
        self.ended = False    #: whether the other end has closed

    def __enter__(self) -> "Raw":
        return self

    def __exit__(self, *_error: object) -> None:
        self._socket.close()

    def send(self, content: bytes) -> None:
        """Send the bytes; that the other end has closed already shows when reading."""
        with suppress(ConnectionError, ssl.SSLError):
            self._socket.sendall(content)

    def read(self) -> None:
        """Wait for more of the answer, or its end.  Raises TimeoutError."""
        try:
            piece = self._socket.recv(65536)
        except (ConnectionError, ssl.SSLError):
            piece = b""
        self.came += piece.decode("utf-8", "replace")
        self.ended = not piece


def handshake(url: str, name: str, trusted: str | None, version: str) -> dict[str, Any]:
    """Begin TLS of that version with the host at `url` as `name`; return what was agreed and what it presents.

    `name` is "" when none is said.  `trusted` is the certificate to trust, as PEM, "" trusts what everybody
    does, None anything.
    Raises ssl.SSLError when one of both refuses.
    """
    context = _careless() if trusted is None else ssl.create_default_context(cadata=trusted or None)
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # xapi's certificates lack what newer Pythons ask for
    context.minimum_version = context.maximum_version = ssl.TLSVersion[f"TLSv{version.replace('.', '_')}"]
    with _connected(url, 30.0) as plain, context.wrap_socket(plain, server_hostname=name or None) as secure:
        cipher, *_bits = secure.cipher() or ("",)
        return {"version": secure.version(), "cipher": cipher, **presented(secure.getpeercert(binary_form=True) or b"")}


def presented(certificate: bytes) -> dict[str, Any]:
    """Return what a certificate says."""
    read = x509.load_der_x509_certificate(certificate)
    names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    digest = hashlib.sha256(certificate).hexdigest().upper()
    return {
        "pem": ssl.DER_cert_to_PEM_cert(certificate),
        "fingerprint": ":".join(digest[at:at + 2] for at in range(0, len(digest), 2)),
        "common_name": read.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value,
        "hosts": names.get_values_for_type(x509.DNSName),
        "addresses": [str(one) for one in names.get_values_for_type(x509.IPAddress)],
        "years": (read.not_valid_after_utc - read.not_valid_before_utc).days // DAYS_OF_A_YEAR,
    }


def _connected(url: str, read_s: float) -> socket.socket:
    parts = urlsplit(url)
    return socket.create_connection((str(parts.hostname), parts.port or (443 if parts.scheme == "https" else 80)),
                                    read_s)


def _careless() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context

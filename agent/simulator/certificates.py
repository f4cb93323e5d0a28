"""An authority of the simulator's own, and a certificate for each host: what `--tls` needs.

Files in a folder: `ca.pem`, `ca.key`, and for each address certificate and key in one. What is there and
still fits is taken again, so that clients may keep trusting it. The only module that needs the package
`cryptography`, so it is imported only when asked for. Knows addresses; knows no worlds.
"""

import datetime
import hashlib
import ipaddress
import os
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.simulator.failure import WorldError

LASTS = datetime.timedelta(days=3650)  # as xapi's own
EARLIER = datetime.timedelta(days=1)  # clients' clocks may be late


@dataclass(frozen=True)
class HostCertificate:
    """What one host presents; `fingerprint` is SHA-256 as xapi writes it."""

    path: Path
    pem: str
    fingerprint: str
    not_before: float
    not_after: float

    def context(self) -> ssl.SSLContext:
        """Return the server's end; only TLS 1.2, like xapi's stunnel."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.path)
        return context


class Authority:
    """A certificate authority in a folder."""

    def __init__(self, folder: Path) -> None:
        if not folder.is_dir():
            raise WorldError(f"there is no folder {folder} to keep certificates in")
        self.folder, self.ca_file = folder, folder / "ca.pem"
        self._now = datetime.datetime.now(datetime.UTC)
        if not self.ca_file.exists():
            self._begin()
        try:
            self._certificate = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
            self._key = _read_key((folder / "ca.key").read_bytes())
        except (OSError, ValueError, TypeError) as exc:
            raise WorldError(f"cannot use the authority in {folder}: {exc}") from exc

    @property
    def fingerprint(self) -> str:
        """Return the authority's own fingerprint."""
        return fingerprint_of(self.ca_file.read_text(encoding="ascii"))

    def certificate(self, name: str, address: str) -> HostCertificate:
        """Return the certificate of a host, valid for its name and its address; made if need be."""

        path = self.folder / f"{address}.pem"
        if not path.exists() or not self._fits(path, name):
            self._issue(path, name, address)
        pem = path.read_text(encoding="ascii").partition("-----BEGIN PRIVATE KEY")[0]
        found = x509.load_pem_x509_certificate(pem.encode())
        return HostCertificate(path, pem, fingerprint_of(pem), found.not_valid_before_utc.timestamp(),
                               found.not_valid_after_utc.timestamp())

    def _fits(self, path: Path, name: str) -> bool:

        try:
            found = x509.load_pem_x509_certificate(path.read_bytes())
            found.verify_directly_issued_by(self._certificate)
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False  # somebody else's, or of an older authority
        return names.get_values_for_type(x509.DNSName) == [_host_name(name)] and found.not_valid_after_utc > self._now

    def _begin(self) -> None:

        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject(f"corral-simulator {x509.random_serial_number():x}"[:40])
        builder = self._draft(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        usage = x509.KeyUsage(False, False, False, False, False, key_cert_sign=True, crl_sign=True,
                              encipher_only=False, decipher_only=False)
        _write(self.folder / "ca.key", _key_pem(key))
        _write(self.ca_file, _signed(builder.add_extension(usage, True), key))

    def _issue(self, path: Path, name: str, address: str) -> None:

        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(_host_name(name)),
                                             x509.IPAddress(ipaddress.ip_address(address))])
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = self._draft(_subject(address), self._certificate.subject, key).add_extension(names, False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        _write(path, _signed(builder.add_extension(issuer, False), self._key) + _key_pem(key))

    def _draft(self, subject: x509.Name, issuer: x509.Name,
               key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:

        identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(self._now - EARLIER)
                .not_valid_after(self._now + LASTS).add_extension(identity, False))


def fingerprint_of(pem: str) -> str:
    """Return the SHA-256 fingerprint of a certificate, upper case with colons."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest().upper()
    return ":".join(digest[at:at + 2] for at in range(0, len(digest), 2))


def _host_name(name: str) -> str:
    """Return a name as DNS allows it."""
    return "".join(char if (char.isascii() and char.isalnum()) or char in "-." else "-" for char in name) or "host"


def _subject(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _signed(builder: x509.CertificateBuilder, key: ec.EllipticCurvePrivateKey) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(form.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())


def _read_key(pem: bytes) -> ec.EllipticCurvePrivateKey:
    key = form.load_pem_private_key(pem, None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise ValueError("the key is of another kind")
    return key


def _write(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    draft.replace(path)

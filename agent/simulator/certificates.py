"""Certificates for each host, of an authority of the simulator's own or each its own: what `--tls` needs.

Files in a folder: `ca.pem` and `ca.key`, or `hosts.pem`, and for each address certificate and key in one, twice. What
is there and still fits is taken again, so that clients may keep trusting it. The only module that needs the package
`cryptography`, so it is imported only when asked for. Knows addresses; knows no worlds.
"""

import datetime
import hashlib
import ipaddress
import os
import ssl
from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from agent.simulator.failure import WorldError

LASTS = datetime.timedelta(days=3650)  # as xapi's own
EARLIER = datetime.timedelta(days=1)  # clients' clocks may be late
RSA_BITS = 2048
Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey


@dataclass(frozen=True)
class HostCertificate:
    """What one host presents; `fingerprint` is SHA-256 as xapi writes it."""

    path: Path
    pem: str
    fingerprint: str
    not_before: float
    not_after: float

    @property
    def facts(self) -> dict[str, Any]:
        """Return what a machine is told of it, as JSON values."""
        return {"pem": self.pem, "fingerprint": self.fingerprint, "not_before": self.not_before,
                "not_after": self.not_after}

    def context(self) -> ssl.SSLContext:
        """Return the server's end; only TLS 1.2, like xapi's stunnel."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self.path)
        return context


class Issuer(ABC):
    """Certificates in a folder; what is there and still fits is taken again. `ca_file` is what clients may trust."""

    def __init__(self, folder: Path) -> None:
        try:
            folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as exc:
            raise WorldError(f"{folder} is no folder to keep certificates in: {exc.strerror}") from exc
        self.folder, self.ca_file = folder, folder / "ca.pem"
        self._now = datetime.datetime.now(datetime.UTC)

    @property
    @abstractmethod
    def fingerprint(self) -> str:
        """Return the authority's own fingerprint, "" when there is none."""

    def certificate(self, name: str, address: str) -> HostCertificate:
        """Return the certificate of a host, valid for its name and its address; made if need be."""
        return self._kept(self.folder / f"{address}.pem", name, address)

    def internal(self, name: str, address: str, *, anew: bool = False) -> HostCertificate:
        """Return a host's certificate for talk with its pool, which nobody else is shown; `anew` makes another."""
        path = self.folder / f"{address}.internal.pem"
        if anew:
            path.unlink(missing_ok=True)
        return self._kept(path, name, address)

    def _kept(self, path: Path, name: str, address: str) -> HostCertificate:
        if not path.exists() or not self._fits(path, name):
            self._issue(path, name, address)
        pem = path.read_text(encoding="ascii").partition("-----BEGIN PRIVATE KEY")[0]
        found = x509.load_pem_x509_certificate(pem.encode())
        return HostCertificate(path, pem, fingerprint_of(pem), found.not_valid_before_utc.timestamp(),
                               found.not_valid_after_utc.timestamp())

    def _fits(self, path: Path, name: str) -> bool:
        try:
            found = x509.load_pem_x509_certificate(path.read_bytes())
            found.verify_directly_issued_by(self._issuer_of(found))
            names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        except (OSError, ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
            return False  # somebody else's, or of an older authority
        return names.get_values_for_type(x509.DNSName) == [_host_name(name)] and found.not_valid_after_utc > self._now

    @abstractmethod
    def _issuer_of(self, found: x509.Certificate) -> x509.Certificate:
        """Return what must have signed a certificate that is there already."""

    @abstractmethod
    def _issue(self, path: Path, name: str, address: str) -> None:
        """Write a new key and certificate."""

    def _draft(self, subject: x509.Name, issuer: x509.Name, key: Key) -> x509.CertificateBuilder:
        return (x509.CertificateBuilder().subject_name(subject).issuer_name(issuer).public_key(key.public_key())
                .serial_number(x509.random_serial_number()).not_valid_before(self._now - EARLIER)
                .not_valid_after(self._now + LASTS))


class Authority(Issuer):
    """One authority that vouches for all hosts, with elliptic keys, which are made at once."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        if not self.ca_file.exists():
            self._begin()
        try:
            self._certificate = x509.load_pem_x509_certificate(self.ca_file.read_bytes())
            self._key = _read_key((folder / "ca.key").read_bytes())
        except (OSError, ValueError, TypeError) as exc:
            raise WorldError(f"cannot use the authority in {folder}: {exc}") from exc

    @property
    def fingerprint(self) -> str:
        """See Issuer."""
        return fingerprint_of(self.ca_file.read_text(encoding="ascii"))

    def _issuer_of(self, found: x509.Certificate) -> x509.Certificate:
        return self._certificate

    def _begin(self) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = _subject(f"corral-simulator {x509.random_serial_number():x}"[:40])
        identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        builder = self._draft(name, name, key).add_extension(identity, False)
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        usage = x509.KeyUsage(False, False, False, False, False, key_cert_sign=True, crl_sign=True,
                              encipher_only=False, decipher_only=False)
        _write(self.folder / "ca.key", _key_pem(key))
        _write(self.ca_file, _signed(builder.add_extension(usage, True), key))

    def _issue(self, path: Path, name: str, address: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        identity = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
        issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        builder = self._draft(_subject(address), self._certificate.subject, key).add_extension(identity, False)
        builder = builder.add_extension(_names(name, address), False)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        _write(path, _signed(builder.add_extension(issuer, False), self._key) + _key_pem(key))


class SelfSigned(Issuer):
    """Certificates that each vouch for themselves and have RSA keys, as xapi's; `ca_file` holds those presented."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.ca_file = folder / "hosts.pem"
        self._presented: dict[str, str] = {}  # by address

    @property
    def fingerprint(self) -> str:
        """See Issuer."""
        return ""

    def certificate(self, name: str, address: str) -> HostCertificate:
        """See Issuer."""
        made = super().certificate(name, address)
        self._presented[address] = made.pem
        _write(self.ca_file, "".join(self._presented.values()).encode("ascii"))
        return made

    def _issuer_of(self, found: x509.Certificate) -> x509.Certificate:
        return found

    def _issue(self, path: Path, name: str, address: str) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
        builder = self._draft(_subject(address), _subject(address), key).add_extension(_names(name, address), False)
        _write(path, _signed(builder, key) + _key_pem(key))


def fingerprint_of(pem: str) -> str:
    """Return the SHA-256 fingerprint of a certificate, upper case with colons."""
    digest = hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem.strip())).hexdigest().upper()
    return ":".join(digest[at:at + 2] for at in range(0, len(digest), 2))


def _host_name(name: str) -> str:
    """Return a name as DNS allows it."""
    return "".join(char if (char.isascii() and char.isalnum()) or char in "-." else "-" for char in name) or "host"


def _subject(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _names(name: str, address: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.DNSName(_host_name(name)), x509.IPAddress(ipaddress.ip_address(address))])


def _signed(builder: x509.CertificateBuilder, key: Key) -> bytes:
    return builder.sign(key, hashes.SHA256()).public_bytes(form.Encoding.PEM)


def _key_pem(key: Key) -> bytes:
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

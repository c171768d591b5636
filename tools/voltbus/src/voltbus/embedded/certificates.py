"""The certificates of a local stack: an authority for trying out, and what the gateway shows.

Made once and kept in the stack's home, readable by its owner only. A station that trusts `ca.pem`
may connect by TLS, and by a certificate that this authority signs for it (SignCertificate).
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voltbus.embedded.folders import write_private
from voltbus.embedded.ports import LOOPBACK

if TYPE_CHECKING:
    from pathlib import Path

ORGANIZATION = "Voltbus"
AUTHORITY_LASTS = timedelta(days=3650)
SERVER_LASTS = timedelta(days=365)
RENEWED_BEFORE = timedelta(days=30)
_EARLIER = timedelta(hours=1)  # clocks of stations are not exact
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "key_cert_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)


@dataclass(frozen=True, slots=True)
class Certificates:
    """Files in the home's `certificates` folder, PEM."""

    authority: Path  # what stations and the gateway trust
    authority_key: Path  # only auth reads it
    server: Path  # what the gateway shows
    server_key: Path


def make_certificates(folder: Path, now: datetime | None = None) -> Certificates:
    """The certificates of this folder; those that are missing or soon at their end are made."""
    now = now or datetime.now(UTC)
    files = Certificates(
        authority=folder / "ca.pem",
        authority_key=folder / "ca.key",
        server=folder / "gateway.pem",
        server_key=folder / "gateway.key",
    )
    if not (files.authority_key.exists() and _lasts(files.authority, now)):
        _make_authority(files, now)
    if not (
        files.server_key.exists()
        and _lasts(files.server, now)
        and _is_of(files.server, files.authority)
    ):
        _make_server(files, now)
    return files


def _make_authority(files: Certificates, now: datetime) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    name = _name("Voltbus local authority")
    builder = _builder(name, name, key, key.public_key(), (now, now + AUTHORITY_LASTS))
    made = builder.add_extension(
        x509.BasicConstraints(ca=True, path_length=0), critical=True
    ).add_extension(_usage("key_cert_sign", "crl_sign"), critical=True)
    _write(files.authority_key, files.authority, key, made.sign(key, hashes.SHA256()))


def _make_server(files: Certificates, now: datetime) -> None:
    authority = _read(files.authority)
    signer = serialization.load_pem_private_key(files.authority_key.read_bytes(), None)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)  # noqa: S101 - we have made it
    key = ec.generate_private_key(ec.SECP256R1())
    names = x509.SubjectAlternativeName(
        [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address(LOOPBACK))]
    )
    ends = min(now + SERVER_LASTS, authority.not_valid_after_utc)
    made = (
        _builder(_name("localhost"), authority.subject, key, signer.public_key(), (now, ends))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage("digital_signature", "key_agreement"), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(names, critical=False)
    )
    _write(files.server_key, files.server, key, made.sign(signer, hashes.SHA256()))


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    issuer_key: ec.EllipticCurvePublicKey,
    between: tuple[datetime, datetime],
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(between[0] - _EARLIER)
        .not_valid_after(between[1])
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key), critical=False
        )
    )


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def _usage(*names: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{name: name in names for name in _USAGES})


def _write(
    key_file: Path, file: Path, key: ec.EllipticCurvePrivateKey, made: x509.Certificate
) -> None:
    write_private(
        key_file,
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )
    write_private(file, made.public_bytes(serialization.Encoding.PEM))


def _read(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(file.read_bytes())


def _lasts(file: Path, now: datetime) -> bool:
    try:
        return _read(file).not_valid_after_utc - RENEWED_BEFORE > now
    except (OSError, ValueError):
        return False


def _is_of(file: Path, authority: Path) -> bool:
    """Tell whether the authority issued it, with what strict verifiers want (RFC 5280 4.2.1.1)."""
    try:
        own = _read(file)
        own.verify_directly_issued_by(_read(authority))
        own.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    except (ValueError, InvalidSignature, x509.ExtensionNotFound):
        return False
    return True

"""Authorities, servers and stations with certificates, made for a test."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from pathlib import Path

Key = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def _rsa_key() -> Key:
    """One for all: making one takes a tenth of a second."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def new_key(kind: str = "ec") -> Key:
    """An RSA or an elliptic curve key."""
    if kind == "rsa":
        return _rsa_key()
    return ec.generate_private_key(ec.SECP256R1())


def name(common_name: str, organization: str = "Operator AB") -> x509.Name:
    """A subject."""
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )


def strict_context(authority: Path) -> ssl.SSLContext:
    """A station's side of TLS that verifies as Python 3.13 does, on every version."""
    context = ssl.create_default_context(cafile=authority)
    context.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    return context


def shake_hands(server: ssl.SSLContext, client: ssl.SSLContext) -> None:
    """Let both sides of a connection in memory verify each other; raises ssl.SSLError."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    sides = [
        server.wrap_bio(to_server, to_client, server_side=True),
        client.wrap_bio(to_client, to_server, server_hostname="localhost"),
    ]
    for _ in range(10):
        for side in list(sides):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
            sides.remove(side)
    assert not sides, "the handshake did not end"


class Authority:
    """Signs certificates and writes PEM files into a folder."""

    def __init__(self, folder: Path, common_name: str = "Test CA", *, old: bool = False) -> None:
        """``old``: it leaves out what RFC 5280 wants and older authorities did not write."""
        self._folder = folder
        self._old = old
        self._key = new_key()
        self._name = name(common_name)
        self._count = 0
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        builder = self._builder(self._name, self._key, 3650, signer=self._key)
        builder = builder.add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        if not old:
            builder = builder.add_extension(usage, critical=True)
        self.certificate = builder.sign(self._key, hashes.SHA256())
        self.file = self._write(f"{common_name}.pem", self.certificate)
        self.key_file = self._write_key(f"{common_name}.key", self._key)

    def server(self, kind: str = "ec", file: str = "server") -> tuple[Path, Path]:
        """A certificate for 127.0.0.1: (certificate file, key file)."""
        key = new_key(kind)
        names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
        builder = self._builder(name("localhost"), key, 30).add_extension(names, critical=False)
        return self._finish(builder, key, ExtendedKeyUsageOID.SERVER_AUTH, file)

    def station(
        self,
        common_name: str,
        organization: str = "Operator AB",
        days: int = 30,
        *,
        key: Key | None = None,
        since: int = -60,
        itself: bool = False,
    ) -> tuple[Path, Path]:
        """A station's certificate; negative ``days``: it has expired. ``itself``: self-signed."""
        key = key or new_key()
        subject = name(common_name, organization)
        issuer = subject if itself else None
        builder = self._builder(subject, key, days, since, issuer, signer=key if itself else None)
        self._count += 1
        file = f"station-{self._count}"
        return self._finish(
            builder, key, ExtendedKeyUsageOID.CLIENT_AUTH, file, key if itself else None
        )

    def revoking(self, *files: Path, ends_in_days: int = 7) -> bytes:
        """The authority's list of revoked certificates, with these on it."""
        now = datetime.now(UTC)
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self._name)
            .last_update(now - timedelta(days=30))
            .next_update(now + timedelta(days=ends_in_days))
        )
        for file in files:
            serial = x509.load_pem_x509_certificate(file.read_bytes()).serial_number
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(now)
            builder = builder.add_revoked_certificate(revoked.build())
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def _builder(
        self,
        subject: x509.Name,
        key: Key,
        days: int,
        since: int = -60,
        issuer: x509.Name | None = None,
        *,
        signer: Key | None = None,
    ) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer or self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + timedelta(days=since))
            .not_valid_after(now + timedelta(days=days))
        )
        if self._old:
            return builder
        above = (signer or self._key).public_key()
        return builder.add_extension(
            x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False
        ).add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(above), critical=False)

    def _finish(
        self,
        builder: x509.CertificateBuilder,
        key: Key,
        usage: x509.ObjectIdentifier,
        file: str,
        signer: Key | None = None,
    ) -> tuple[Path, Path]:
        extended = x509.ExtendedKeyUsage([usage])
        certificate = builder.add_extension(extended, critical=False).sign(
            signer or self._key, hashes.SHA256()
        )
        return self._write(f"{file}.pem", certificate), self._write_key(f"{file}.key", key)

    def _write_key(self, file: str, key: Key) -> Path:
        path = self._folder / file
        path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )
        return path

    def _write(self, file: str, certificate: x509.Certificate) -> Path:
        path = self._folder / file
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path

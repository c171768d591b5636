"""Requests of a station, and certificates as an authority elsewhere issues them."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from auth.auth_examples import HOUR, NOW, STATION
from auth.plug_and_charge.pki import Pki

PKI = Pki(NOW)
KEY = ec.generate_private_key(ec.SECP256R1())
OPERATOR = "Operator AB"


@cache
def request(key: Any = KEY, common_name: str = "SECC-1") -> str:
    """The same each time: another signature would make another request."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Somebody"),
        ]
    )
    made = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def certificate(
    common_name: str = STATION,
    organization: str = OPERATOR,
    key: Any = KEY,
    *,
    begins: datetime = NOW - HOUR,
    ends: datetime = NOW + timedelta(days=30),
    extensions: tuple[x509.ExtensionType, ...] = (),
    signer: Any = PKI.sub1,
) -> x509.Certificate:
    """What the authority signs."""
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(signer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )
    for extension in extensions:
        builder = builder.add_extension(extension, critical=False)
    return builder.sign(signer.key, hashes.SHA256())


CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
ABOVE = PKI.sub1.certificate
ROOT = PKI.root.certificate

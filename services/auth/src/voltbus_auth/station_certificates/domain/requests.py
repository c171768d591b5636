"""Stations' signing requests: which are good, and what a certificate for them must say (A02)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from voltbus_backbone.values.foreign import refuse_unreadable

LONGEST_REQUEST = 5500
SHORTEST_RSA = 2048
SHORTEST_EC = 256
STATION = "ChargingStationCertificate"
V2G = frozenset({"V2GCertificate", "V2G20Certificate"})

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey


class NotSignedError(ValueError):
    """No certificate is made for this request.

    ``code`` is a reasonCode of OCPP 2.x StatusInfoType (2.0.1 Part 2, Appendix 5); the text is one
    sentence, fit for the station and for operators.
    """

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(reason)
        self.code = code


@dataclass(frozen=True, slots=True)
class SigningRequest:
    """What a request says, once its own signature was found good."""

    key: PublicKey
    common_name: str | None
    organization: str | None


def read_request(csr: str) -> SigningRequest:
    """The request in this PEM text.

    Raises:
        NotSignedError: it is none, or none that anybody should sign.
    """
    if len(csr) > LONGEST_REQUEST:
        raise NotSignedError("InvalidCSR", "The request is too long.")
    unreadable = NotSignedError("InvalidCSR", "The request cannot be read.")
    with refuse_unreadable(unreadable, NotSignedError):
        request = x509.load_pem_x509_csr(csr.encode())
        if not request.is_signature_valid:
            raise NotSignedError("InvalidCSR", "The request is not signed by its own key.")
        key, subject = request.public_key(), request.subject
        if not strong(key):
            raise NotSignedError(
                "InvalidCSR", "The key is too weak, or of a kind that is not signed."
            )
        assert isinstance(key, PublicKey)  # noqa: S101 - strong() has seen it
        return SigningRequest(
            key, first(subject, NameOID.COMMON_NAME), first(subject, NameOID.ORGANIZATION_NAME)
        )


def strong(key: object) -> bool:
    """Whether OCPP allows this public key (A00: RSA of 2048 bits or more, EC of 256)."""
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= SHORTEST_RSA
    return isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= SHORTEST_EC


def first(name: x509.Name, oid: x509.ObjectIdentifier) -> str | None:
    """The first value of this attribute."""
    for attribute in name.get_attributes_for_oid(oid):
        return str(attribute.value)
    return None


def fingerprint(key: PublicKey) -> str:
    """SHA-256 of the key's SubjectPublicKeyInfo, hex."""
    info = key.public_bytes(
        serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    return sha256(info).hexdigest()


def application_id(station_id: str, certificate_type: str, csr: str) -> str:
    """The same for the same request of the same station."""
    digest = sha256()
    for part in (station_id, certificate_type, csr):
        digest.update(part.encode())
        digest.update(b"\0")
    return digest.hexdigest()[:32]

"""The certificates that are accepted: those of ISO 15118-2 and -20, and no weaker ones.

Anything that this module does not understand is refused: a critical extension that nobody here
reads might forbid the very use that is made of the certificate (RFC 5280 §4.2).
"""

from __future__ import annotations

import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

if TYPE_CHECKING:
    from collections.abc import Iterator

    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes

E = TypeVar("E", bound=x509.ExtensionType)

# 15118-2: secp256r1; 15118-20: secp521r1 and Ed448.
_CURVES = frozenset({"secp256r1", "secp521r1"})
_HASHES = frozenset({"sha256", "sha384", "sha512"})
_READ = frozenset(
    {
        x509.BasicConstraints.oid,
        x509.KeyUsage.oid,
        x509.ExtendedKeyUsage.oid,
        x509.SubjectKeyIdentifier.oid,
        x509.AuthorityKeyIdentifier.oid,
        x509.AuthorityInformationAccess.oid,
        x509.SubjectAlternativeName.oid,
        x509.CRLDistributionPoints.oid,
        x509.CertificatePolicies.oid,
    }
)
# A contract certificate proves who the driver is, as a client does. Its profile has no extended
# usage at all; one that is for servers or responders only is not meant for it.
_CONTRACT_USES = frozenset(
    {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
)
# The subject's domain component tells the branch of the PKI: CPO, OEM, MO, CPS.
_CONTRACT_BRANCH = "mo"


@contextmanager
def strictly() -> Iterator[None]:
    """What the library only warns of (a serial number below 1, say) is malformed here."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", CryptographyDeprecationWarning)
        yield


def extension(certificate: x509.Certificate, kind: type[E]) -> E | None:
    """The extension of a kind, if it is there."""
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def strong(key: CertificatePublicKeyTypes) -> bool:
    """Whether ISO 15118 has this kind of key."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in _CURVES
    return isinstance(key, ed448.Ed448PublicKey)


def verifies(
    key: CertificatePublicKeyTypes,
    signature: bytes,
    signed: bytes,
    algorithm: hashes.HashAlgorithm | None,
) -> bool:
    """Whether the signature was made with this key over these bytes, by an accepted algorithm."""
    if not strong(key):
        return False
    try:
        if isinstance(key, ec.EllipticCurvePublicKey):
            if algorithm is None or algorithm.name not in _HASHES:
                return False
            key.verify(signature, signed, ec.ECDSA(algorithm))
        elif isinstance(key, ed448.Ed448PublicKey):
            key.verify(signature, signed)
    except InvalidSignature:
        return False
    return True


def issued(certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
    """Whether the issuer's key signed the certificate under the issuer's name."""
    if certificate.issuer != issuer.subject:
        return False
    named = extension(certificate, x509.AuthorityKeyIdentifier)
    own = extension(issuer, x509.SubjectKeyIdentifier)
    if (
        named is not None
        and named.key_identifier is not None
        and own is not None
        and named.key_identifier != own.digest
    ):
        return False
    return verifies(
        issuer.public_key(),
        certificate.signature,
        certificate.tbs_certificate_bytes,
        certificate.signature_hash_algorithm,
    )


def fault_of_any(certificate: x509.Certificate) -> str | None:
    """What is wrong with a certificate, whatever it is for."""
    if not strong(certificate.public_key()):
        return "a key is of a kind that ISO 15118 does not have"
    if any(one.critical and one.oid not in _READ for one in certificate.extensions):
        return "a critical extension is unknown"
    return None


def fault_of_authority(certificate: x509.Certificate, below: int) -> str | None:
    """What is wrong with a certificate that issues others; ``below`` are the CAs under it."""
    constraints = extension(certificate, x509.BasicConstraints)
    if constraints is None or not constraints.ca:
        return "a certificate that issued another is no authority's"
    if constraints.path_length is not None and below > constraints.path_length:
        return "an authority has more authorities below it than it may"
    usage = extension(certificate, x509.KeyUsage)
    if usage is not None and not usage.key_cert_sign:
        return "an authority's key may not sign certificates"
    return fault_of_any(certificate)


def fault_of_contract(certificate: x509.Certificate) -> str | None:
    """What is wrong with a contract's own certificate."""
    constraints = extension(certificate, x509.BasicConstraints)
    if constraints is not None and constraints.ca:
        return "the contract's certificate is an authority's"
    usage = extension(certificate, x509.KeyUsage)
    if usage is None or not usage.digital_signature:
        return "the contract's key may not sign"
    extended = extension(certificate, x509.ExtendedKeyUsage)
    if extended is not None and _CONTRACT_USES.isdisjoint(extended):
        return "the certificate is for another use than a contract"
    branches = certificate.subject.get_attributes_for_oid(NameOID.DOMAIN_COMPONENT)
    if any(str(branch.value).casefold() != _CONTRACT_BRANCH for branch in branches):
        return "the certificate is of another branch than the contracts'"
    return fault_of_any(certificate)


def contract_id(certificate: x509.Certificate) -> str | None:
    """The eMAID that a contract's certificate was made for: its common name."""
    names = certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(names[0].value) if len(names) == 1 else None

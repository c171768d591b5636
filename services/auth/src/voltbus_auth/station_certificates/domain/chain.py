"""What an authority returned: a chain that the station can use, or not.

Pure. Nothing of it is taken on trust: whoever may write to the topic of answers could otherwise
have stations installed with anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voltbus_auth.station_certificates.domain.requests import (
    STATION,
    PublicKey,
    fingerprint,
    first,
    strong,
)
from voltbus_backbone.values.foreign import refuse_unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

LONGEST_CHAIN = 10_000  # characters of certificateChain (2.x CertificateSignedRequest)


class MisfitError(ValueError):
    """The chain is not what was asked for; the text is one sentence."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the certificate must say. ``None`` for a name: any."""

    key_sha256: str
    certificate_type: str
    common_name: str | None
    organization: str | None


@dataclass(frozen=True, slots=True)
class Issued:
    """A chain as it goes to the station (PEM, no root), and what its first certificate says."""

    chain: str
    serial: str
    not_before: datetime
    not_after: datetime
    subject: str
    issuer: str


def read_chain(
    text: str, terms: Terms, now: datetime, anchors: Sequence[x509.Certificate] = ()
) -> Issued:
    """The chain, if it fits.

    ``anchors``: authorities to one of which it must lead; none given: any will do.

    Raises:
        MisfitError: it does not fit.
    """
    unreadable = MisfitError("It is no chain of PEM certificates that can be read.")
    with refuse_unreadable(unreadable, MisfitError):
        return _read(text, terms, now, anchors)


def _read(text: str, terms: Terms, now: datetime, anchors: Sequence[x509.Certificate]) -> Issued:
    found = x509.load_pem_x509_certificates(text.encode())
    leaf, *above = found
    _check_leaf(leaf, terms)
    _check_order(found)
    for one in found:
        if not one.not_valid_before_utc <= now < one.not_valid_after_utc:
            raise MisfitError("A certificate of the chain has expired or is not valid yet.")
    for one in above:
        if not _is_authority(one):
            raise MisfitError("A certificate above the first is not an authority's.")
    top = found[-1]
    if anchors and not any(top == anchor or _signed_by(top, anchor) for anchor in anchors):
        raise MisfitError("The chain leads to no authority that is expected.")
    return issued(leaf, above)


def issued(leaf: x509.Certificate, above: Sequence[x509.Certificate]) -> Issued:
    """A chain for a station, without the root: stations have that, or must not believe it.

    Raises:
        MisfitError: it is longer than OCPP can carry.
    """
    sent = (leaf, *(one for one in above if one.subject != one.issuer))
    chain = "".join(one.public_bytes(serialization.Encoding.PEM).decode() for one in sent)
    if len(chain) > LONGEST_CHAIN:
        raise MisfitError("The chain is longer than a station takes.")
    return Issued(
        chain=chain,
        serial=f"{leaf.serial_number:x}",
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
    )


def _check_leaf(leaf: x509.Certificate, terms: Terms) -> None:
    try:
        key = leaf.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise MisfitError("The certificate's key cannot be read.") from None
    if not strong(key) or not isinstance(key, PublicKey) or fingerprint(key) != terms.key_sha256:
        raise MisfitError("The first certificate is not for the key of the request.")
    if terms.common_name not in {None, first(leaf.subject, NameOID.COMMON_NAME)}:
        raise MisfitError("The certificate's common name is another one.")
    if terms.organization not in {None, first(leaf.subject, NameOID.ORGANIZATION_NAME)}:
        raise MisfitError("The certificate's organization is another one.")
    if _is_authority(leaf):
        raise MisfitError("The first certificate is an authority's.")
    _check_purpose(leaf, terms)


def _check_purpose(leaf: x509.Certificate, terms: Terms) -> None:
    """A station's certificate logs in (TLS client), one of ISO 15118 serves cars (TLS server)."""
    extensions = _extensions(leaf)
    for extension in extensions:
        if isinstance(extension.value, x509.KeyUsage) and not extension.value.digital_signature:
            raise MisfitError("The certificate may not sign, so no TLS is possible with it.")
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            wanted = (
                ExtendedKeyUsageOID.CLIENT_AUTH
                if terms.certificate_type == STATION
                else ExtendedKeyUsageOID.SERVER_AUTH
            )
            if not {wanted, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE} & {*extension.value}:
                raise MisfitError("The certificate is marked for another purpose.")


def _check_order(found: Sequence[x509.Certificate]) -> None:
    for lower, upper in pairwise(found):
        if not _signed_by(lower, upper):
            raise MisfitError("A certificate of the chain is not signed by the next.")


def _signed_by(lower: x509.Certificate, upper: x509.Certificate) -> bool:
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _is_authority(certificate: x509.Certificate) -> bool:
    return any(
        isinstance(one.value, x509.BasicConstraints) and one.value.ca
        for one in _extensions(certificate)
    )


def _extensions(certificate: x509.Certificate) -> x509.Extensions:
    try:
        return certificate.extensions
    except (ValueError, x509.DuplicateExtension):
        raise MisfitError("The certificate's extensions cannot be read.") from None

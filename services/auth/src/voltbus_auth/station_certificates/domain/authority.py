"""The built-in authority, for trying out: what it makes of a signing request (A02).

Pure but for the key's own randomness. What is certified is the name under which the station logged
in, never a name that it wrote into its request.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from voltbus_auth.station_certificates.domain.chain import issued
from voltbus_auth.station_certificates.domain.requests import NotSignedError, PublicKey

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_auth.station_certificates.domain.chain import Issued

# Stations' clocks are not exact: a certificate holds from a little before it is made.
_EARLIER = timedelta(hours=1)
_LONGEST_NAME = 64  # of a common name (RFC 5280, upper bounds)

PrivateKey = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@dataclass(frozen=True)
class Authority:
    """Whoever signs. ``chain``: its own certificate first, then those above it."""

    chain: tuple[x509.Certificate, ...]
    key: PrivateKey = field(repr=False)
    organization: str
    validity: timedelta

    def sign(self, key: PublicKey, station_id: str, now: datetime) -> Issued:
        """A certificate for the key, with what is above it but the root.

        Raises:
            NotSignedError: the station's id is no common name.
            MisfitError: the chain is longer than OCPP's.
        """
        issuer = self.chain[0]
        made = _unsigned(key, station_id, self.organization)
        made = made.issuer_name(issuer.subject).not_valid_before(now - _EARLIER)
        made = made.not_valid_after(min(now + self.validity, issuer.not_valid_after_utc))
        made = made.add_extension(_issuer_key(issuer), critical=False)
        leaf = made.sign(self.key, hashes.SHA256())
        return issued(leaf, self.chain)


def read_authority(
    certificates: bytes, key: bytes, *, organization: str, validity: timedelta
) -> Authority:
    """The authority in these PEM files.

    Raises:
        ValueError: they are not an authority's certificate and its RSA or EC key.
        TypeError: the key is encrypted.
    """
    chain = tuple(x509.load_pem_x509_certificates(certificates))
    private = serialization.load_pem_private_key(key, password=None)
    if not isinstance(private, PrivateKey):
        raise ValueError("neither RSA nor EC")  # noqa: TRY004 - what is wrong is the file's value
    if chain[0].public_key() != private.public_key():
        raise ValueError("the key is another certificate's")
    try:
        constraints = chain[0].extensions.get_extension_for_class(x509.BasicConstraints).value
    except x509.ExtensionNotFound:
        raise ValueError("not an authority's certificate") from None
    if not constraints.ca:
        raise ValueError("not an authority's certificate")
    return Authority(chain, private, organization, validity)


def _unsigned(key: PublicKey, station_id: str, organization: str) -> x509.CertificateBuilder:
    if not 0 < len(station_id) <= _LONGEST_NAME:
        raise NotSignedError(
            "UnsupportedRequest", "The station's id is too long for a common name."
        )
    usages = dict.fromkeys(
        (
            "content_commitment",
            "data_encipherment",
            "key_cert_sign",
            "crl_sign",
            "encipher_only",
            "decipher_only",
            "key_encipherment",
            "key_agreement",
        ),
        False,
    )
    usage = x509.KeyUsage(digital_signature=True, **usages)
    purposes = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
    return (
        x509.CertificateBuilder()
        .subject_name(
            x509.Name(
                [
                    x509.NameAttribute(NameOID.ORGANIZATION_NAME, organization),
                    x509.NameAttribute(NameOID.COMMON_NAME, station_id),
                ]
            )
        )
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(purposes, critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _issuer_key(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    try:
        own = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    except x509.ExtensionNotFound:
        key = issuer.public_key()
        assert isinstance(key, PublicKey)  # noqa: S101 - read_authority has seen its private half
        return x509.AuthorityKeyIdentifier.from_issuer_public_key(key)
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(own)

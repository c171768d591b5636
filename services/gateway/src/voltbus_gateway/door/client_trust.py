"""Which station certificates are trusted: authorities, revocation lists, and key lengths.

TLS verifies chain and dates at the handshake. This module is used at log-in in addition, and again
on open connections when the files change: which authority issued a certificate, and whether it has
revoked it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from voltbus_backbone.values.foreign import refuse_unreadable

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

log = structlog.get_logger(__name__)

SHORTEST_RSA = 2048
SHORTEST_EC = 224
_BEGIN_CRL = b"-----BEGIN X509 CRL-----"
_END_CRL = b"-----END X509 CRL-----"


@dataclass(frozen=True, slots=True)
class CertificateId:
    """Identifies a certificate by its issuer's fingerprint and its serial number.

    ``issuer`` is None when the issuer is not in the file: a sub-authority that the station sent.
    """

    issuer: str | None
    serial: int


class ClientTrust:
    """The authorities of ``VOLTBUS_TLS_CLIENT_CA_FILE``, with their lists of revoked certificates.

    ``lists`` None: revocation is not looked at. Where it is, every issuer must be known, since only
    its own list can name what it revoked. A list past its next update still holds, with a warning:
    refusing the fleet because a list was late would be worse.
    """

    def __init__(
        self,
        authorities: bytes,
        lists: bytes | None,
        now: datetime,
        before: ClientTrust | None = None,
    ) -> None:
        """Read both files' contents.

        Lists that cannot be used leave those of ``before`` in force, so that they never stand in
        the way of taking an authority out.

        Raises:
            ValueError: the authorities are not PEM; or the lists are of no use, and there was no
                other trust before.
        """
        with refuse_unreadable(ValueError("the authorities cannot be read")):
            self._authorities = x509.load_pem_x509_certificates(authorities)
            self._fingerprints = {_fingerprint(authority) for authority in self._authorities}
        self._revoked: dict[str, set[int]] | None = None
        if lists is not None:
            try:
                with refuse_unreadable(ValueError("the lists cannot be read")):
                    self._revoked = _read_revoked(lists, self._authorities, now)
            except ValueError as error:
                if before is None:
                    raise
                log.warning("tls.revocation_lists.unusable", error=type(error).__name__)
                self._revoked = before._revoked  # noqa: SLF001 - of our own kind

    def identify(self, certificate: x509.Certificate) -> CertificateId:
        """Return the issuer and serial number of a certificate."""
        for authority in self._authorities:
            if authority.subject == certificate.issuer and _is_signed_by(certificate, authority):
                return CertificateId(_fingerprint(authority), certificate.serial_number)
        return CertificateId(None, certificate.serial_number)

    def find_problem(self, found: CertificateId) -> str | None:
        """Return why a certificate that TLS has verified is refused; None: it is accepted."""
        if self._revoked is None:
            return None
        if found.issuer is None:
            return "certificate_issuer"
        if found.serial in self._revoked.get(found.issuer, ()):
            return "certificate_revoked"
        return None

    def is_trusted(self, found: CertificateId | None) -> bool:
        """Return whether an open connection's certificate would still be accepted."""
        return (
            found is not None
            and found.issuer in self._fingerprints
            and self.find_problem(found) is None
        )


def is_weak(certificate: x509.Certificate) -> bool:
    """Return whether its key is too short, or of a kind that OCPP does not know (A00)."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return True
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size < SHORTEST_RSA
    return not (isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= SHORTEST_EC)


def _read_revoked(
    lists: bytes, authorities: Sequence[x509.Certificate], now: datetime
) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for part in lists.split(_BEGIN_CRL)[1:]:
        body, end, _ = part.partition(_END_CRL)
        revocation_list = x509.load_pem_x509_crl(_BEGIN_CRL + body + end + b"\n")
        issuers = [
            authority for authority in authorities if _is_list_of(revocation_list, authority)
        ]
        if not issuers:  # of an authority that was taken out, say
            log.warning(
                "tls.revocation_list.foreign", issuer=revocation_list.issuer.rfc4514_string()
            )
        if revocation_list.next_update_utc is not None and revocation_list.next_update_utc < now:
            log.warning("tls.revocation_list.old", issuer=revocation_list.issuer.rfc4514_string())
        for issuer in issuers:
            found.setdefault(_fingerprint(issuer), set()).update(
                entry.serial_number for entry in revocation_list
            )
    if not found:
        raise ValueError("there is no list of any of the authorities")
    return found


def _is_list_of(found: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    if found.issuer != authority.subject:
        return False
    key = authority.public_key()
    return isinstance(
        key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    ) and found.is_signature_valid(key)


def _is_signed_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()

"""Whose station certificates are believed: authorities, lists of revoked ones, and keys too short.

TLS verifies chain and dates at the handshake. What is here is checked beside it at the door, and
again on open connections when the files change: which authority issued a certificate, and whether
it has revoked it.
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
class Issued:
    """Which certificate it is: its issuer, by the fingerprint of that one's, and its number.

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
            self._fingerprints = {_fingerprint(one) for one in self._authorities}
        self._revoked: dict[str, set[int]] | None = None
        if lists is not None:
            try:
                with refuse_unreadable(ValueError("the lists cannot be read")):
                    self._revoked = _revoked(lists, self._authorities, now)
            except ValueError as error:
                if before is None:
                    raise
                log.warning("tls.revocation_lists.unusable", error=type(error).__name__)
                self._revoked = before._revoked  # noqa: SLF001 - of our own kind

    def issued(self, certificate: x509.Certificate) -> Issued:
        """Which certificate this is."""
        for one in self._authorities:
            if one.subject == certificate.issuer and _signed(certificate, one):
                return Issued(_fingerprint(one), certificate.serial_number)
        return Issued(None, certificate.serial_number)

    def problem(self, found: Issued) -> str | None:
        """Why a certificate that TLS has verified is refused all the same; None: it is not."""
        if self._revoked is None:
            return None
        if found.issuer is None:
            return "certificate_issuer"
        if found.serial in self._revoked.get(found.issuer, ()):
            return "certificate_revoked"
        return None

    def still(self, found: Issued | None) -> bool:
        """Whether an open connection's certificate would certainly be let in again."""
        return (
            found is not None and found.issuer in self._fingerprints and self.problem(found) is None
        )


def weak(certificate: x509.Certificate) -> bool:
    """Whether its key is too short, or of a kind that OCPP does not know (A00)."""
    try:
        key = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm):
        return True
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size < SHORTEST_RSA
    return not (isinstance(key, ec.EllipticCurvePublicKey) and key.key_size >= SHORTEST_EC)


def _revoked(
    lists: bytes, authorities: Sequence[x509.Certificate], now: datetime
) -> dict[str, set[int]]:
    found: dict[str, set[int]] = {}
    for part in lists.split(_BEGIN_CRL)[1:]:
        body, end, _ = part.partition(_END_CRL)
        one = x509.load_pem_x509_crl(_BEGIN_CRL + body + end + b"\n")
        issuers = [each for each in authorities if _lists_for(one, each)]
        if not issuers:  # of an authority that was taken out, say
            log.warning("tls.revocation_list.foreign", issuer=one.issuer.rfc4514_string())
        if one.next_update_utc is not None and one.next_update_utc < now:
            log.warning("tls.revocation_list.old", issuer=one.issuer.rfc4514_string())
        for issuer in issuers:
            found.setdefault(_fingerprint(issuer), set()).update(
                entry.serial_number for entry in one
            )
    if not found:
        raise ValueError("there is no list of any of the authorities")
    return found


def _lists_for(found: x509.CertificateRevocationList, authority: x509.Certificate) -> bool:
    if found.issuer != authority.subject:
        return False
    key = authority.public_key()
    return isinstance(
        key, rsa.RSAPublicKey | ec.EllipticCurvePublicKey
    ) and found.is_signature_valid(key)


def _signed(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm):
        return False
    return True


def _fingerprint(certificate: x509.Certificate) -> str:
    return certificate.fingerprint(hashes.SHA256()).hex()

"""The roots as an operator gives them: read, checked, and known by their fingerprint."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from voltbus_auth.plug_and_charge.domain.chain import Root
from voltbus_auth.plug_and_charge.domain.profile import fault_of_authority, strictly
from voltbus_backbone.values.foreign import refuse_unreadable

if TYPE_CHECKING:
    from datetime import datetime

# Whose roots vouch for contracts: a V2G root for all branches, a mobility operator's for its own.
TYPES = ("V2G", "MO")


@dataclass(frozen=True, slots=True)
class Authority:
    """A root as it is stored. ``fingerprint``: SHA-256, hex; ``certificate``: PEM."""

    fingerprint: str
    type: str
    certificate: str
    responder_url: str | None
    added_at: datetime

    def root(self) -> Root:
        """Ready to verify chains."""
        return Root(
            x509.load_pem_x509_certificate(self.certificate.encode()), self.type, self.responder_url
        )


def read_authority(pem: str, kind: str, responder_url: str | None, at: datetime) -> Authority:
    """An authority out of a PEM text that holds one certificate.

    Raises:
        ValueError: it holds something else, or no authority's certificate that can be used now.
    """
    with refuse_unreadable(ValueError("give one certificate as PEM text")), strictly():
        found = x509.load_pem_x509_certificates(pem.encode())
        fault = fault_of_authority(found[0], 0)
    if len(found) != 1 or "PRIVATE KEY" in pem:
        raise ValueError("give one certificate and nothing else")
    if fault is not None:
        raise ValueError(fault)
    certificate = found[0]
    if certificate.not_valid_after_utc < at:
        raise ValueError("the certificate has expired")
    return Authority(
        fingerprint=certificate.fingerprint(hashes.SHA256()).hex(),
        type=kind,
        certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        responder_url=responder_url,
        added_at=at,
    )

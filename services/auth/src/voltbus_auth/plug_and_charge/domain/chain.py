"""From a presented certificate to a root that the operator trusts (RFC 5280 §6, cut to size)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from cryptography import x509
from cryptography.hazmat.primitives import hashes

from voltbus_auth.plug_and_charge.domain.profile import (
    fault_of_authority,
    fault_of_contract,
    issued,
    strictly,
)
from voltbus_backbone.values.foreign import refuse_unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

# Root, two sub-authorities and a leaf are ISO 15118's chain; one more for a cross-signed root.
_LONGEST = 5
_MOST_PRESENTED = 10


@dataclass(frozen=True, slots=True)
class Root:
    """An authority that the operator trusts.

    ``type`` is V2G or MO. ``responder_url`` replaces the OCSP responder that certificates issued
    by it name.
    """

    certificate: x509.Certificate
    type: str
    responder_url: str | None = None


@dataclass(frozen=True, slots=True)
class Path:
    """A verified way from a certificate (first) to a root (last)."""

    certificates: tuple[x509.Certificate, ...]

    def has_begun(self, now: datetime) -> bool:
        """Whether every certificate is valid already."""
        return all(one.not_valid_before_utc <= now for one in self.certificates)

    def has_expired(self, now: datetime) -> bool:
        """Whether any certificate is valid no more."""
        return self.until < now

    @property
    def until(self) -> datetime:
        """When the first of them expires."""
        return min(one.not_valid_after_utc for one in self.certificates)


class Untrusted(Exception):  # noqa: N818 - a state of a chain, named as such
    """No way leads to a trusted root. ``reason`` names no subject."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def read_chain(pem: str) -> tuple[x509.Certificate, ...]:
    """The certificates of a PEM text, the presented one first.

    Raises:
        Untrusted: it is no PEM, or holds more certificates than any chain needs.
    """
    with refuse_unreadable(Untrusted("the chain cannot be read")), strictly():
        found = tuple(x509.load_pem_x509_certificates(pem.encode()))
    if len(found) > _MOST_PRESENTED:
        raise Untrusted("the chain is too long")
    return found


def find_contract_path(
    presented: Sequence[x509.Certificate], roots: Sequence[Root], now: datetime
) -> Path:
    """The way from a contract's certificate (the first) to a root, best unexpired.

    Raises:
        Untrusted: there is none, or each has a fault that is not about time.
    """
    return _find(presented, roots, now, contract=True)


def find_authority_path(
    presented: Sequence[x509.Certificate], roots: Sequence[Root], now: datetime
) -> Path:
    """The same for an authority's certificate.

    Raises:
        Untrusted: as above.
    """
    return _find(presented, roots, now, contract=False)


def _find(
    presented: Sequence[x509.Certificate],
    roots: Sequence[Root],
    now: datetime,
    *,
    contract: bool,
) -> Path:
    reason = "the chain leads to no trusted root"
    late: Path | None = None
    with refuse_unreadable(Untrusted("a certificate cannot be read")):
        for certificates in _Search(presented, roots).ways():
            fault = _fault(certificates, contract=contract)
            if fault is not None:
                reason = fault
                continue
            path = Path(certificates)
            if path.has_begun(now) and not path.has_expired(now):
                return path
            late = late or path
    if late is None:
        raise Untrusted(reason)
    return late


def _fault(certificates: Sequence[x509.Certificate], *, contract: bool) -> str | None:
    """The first thing wrong with a chain whose signatures hold, validity in time aside."""
    leaf, authorities = certificates[0], certificates[1:]
    below = 0
    if contract:
        fault = fault_of_contract(leaf)
        if fault is not None:
            return fault
    else:
        authorities = certificates
    for authority in authorities:
        fault = fault_of_authority(authority, below)
        if fault is not None:
            return fault
        # One that only renews its own name does not count (RFC 5280 §4.2.1.9).
        below += authority.subject != authority.issuer
    return None


class _Search:
    """Every way from the first certificate to a root; each signature is checked once at most."""

    def __init__(self, presented: Sequence[x509.Certificate], roots: Sequence[Root]) -> None:
        self._presented = presented
        self._roots = [root.certificate for root in roots]
        self._known: dict[tuple[bytes, bytes], bool] = {}

    def ways(self) -> Iterator[tuple[x509.Certificate, ...]]:
        if self._presented:
            yield from self._from((self._presented[0],))

    def _from(self, way: tuple[x509.Certificate, ...]) -> Iterator[tuple[x509.Certificate, ...]]:
        for root in self._roots:
            if root == way[-1]:
                yield way
            elif self._issued(way[-1], root):
                yield (*way, root)
        if len(way) + 1 < _LONGEST:
            for authority in self._presented[1:]:
                if authority not in way and self._issued(way[-1], authority):
                    yield from self._from((*way, authority))

    def _issued(self, certificate: x509.Certificate, issuer: x509.Certificate) -> bool:
        pair = (_name(certificate), _name(issuer))
        if pair not in self._known:
            self._known[pair] = issued(certificate, issuer)
        return self._known[pair]


def _name(certificate: x509.Certificate) -> bytes:
    return certificate.fingerprint(hashes.SHA256())

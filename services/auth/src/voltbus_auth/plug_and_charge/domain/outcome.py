"""What a contract certificate comes to: its status, and the decision on its token (C07).

=======================  =====================  ==================
found                    certificateStatus      status
=======================  =====================  ==================
valid, the token is      ContractCancelled      Blocked, Expired,
one of those (FR.13)                            Invalid, Unknown
valid, else (FR.14)      Accepted               the token's
expired (FR.15)          CertificateExpired     Expired
revoked (FR.16)          CertificateRevoked     Invalid
unverifiable (FR.17)     CertChainError         Invalid
=======================  =====================  ==================

A certificate that no responder can be asked about counts as unverifiable, unless the policy says
otherwise. What cannot be verified is said before what has expired: an unknown chain's dates are
nobody's word.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.plug_and_charge.domain.chain import Untrusted, find_contract_path, read_chain
from voltbus_auth.plug_and_charge.domain.profile import contract_id
from voltbus_auth.plug_and_charge.domain.revocation import checks_of_hashes, checks_of_path
from voltbus_backbone.contract.auth import Decision, Revocation
from voltbus_backbone.contract.values import AuthorizationStatus
from voltbus_backbone.values import emaid

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from voltbus_auth.plug_and_charge.domain.chain import Path, Root
    from voltbus_auth.plug_and_charge.domain.revocation import CertId, Check, Told
    from voltbus_backbone.contract.auth import Authorize

_EMAID = "emaid"
_CANCELLED = frozenset(
    {
        AuthorizationStatus.BLOCKED,
        AuthorizationStatus.EXPIRED,
        AuthorizationStatus.INVALID,
        AuthorizationStatus.UNKNOWN,
    }
)


class Finding(StrEnum):
    """What a certificate was found to be."""

    VALID = "valid"
    EXPIRED = "expired"
    REVOKED = "revoked"
    UNVERIFIABLE = "unverifiable"


_REFUSED = {
    Finding.EXPIRED: ("CertificateExpired", AuthorizationStatus.EXPIRED),
    Finding.REVOKED: ("CertificateRevoked", AuthorizationStatus.INVALID),
    Finding.UNVERIFIABLE: ("CertChainError", AuthorizationStatus.INVALID),
}


@dataclass(frozen=True, slots=True)
class Found:
    """The finding with its reason in words. ``until``: when a valid chain's first part expires."""

    finding: Finding
    reason: str
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Examination:
    """What can be said without asking anybody: a finding, or what responders must be asked."""

    found: Found | None
    checks: tuple[Check, ...] = ()
    until: datetime | None = None


def has_certificate(message: Authorize) -> bool:
    """Whether an Authorize comes with a contract certificate, whole or by its hashes."""
    return bool(message.certificate or message.certificate_hashes)


def examine(message: Authorize, roots: Sequence[Root], now: datetime) -> Examination:
    """Look at what was presented: chain, contract id, validity."""
    try:
        if not message.certificate:
            return Examination(None, tuple(checks_of_hashes(message.certificate_hashes, roots)))
        presented = read_chain(message.certificate)
        path = find_contract_path(presented, roots, now)
        found = _fault(path, message, now)
        if found is not None:
            return Examination(found)
        checks = tuple(checks_of_path(path, message.certificate_hashes, roots))
        return Examination(None, checks, path.until)
    except Untrusted as error:
        return Examination(Found(Finding.UNVERIFIABLE, error.reason))
    except ValueError:
        return Examination(Found(Finding.UNVERIFIABLE, "a certificate hash cannot be read"))


def _fault(path: Path, message: Authorize, now: datetime) -> Found | None:
    token = message.id_token
    made_for = contract_id(path.certificates[0])
    if token.type.casefold() != _EMAID or made_for is None or not emaid.same(made_for, token.value):
        return Found(Finding.UNVERIFIABLE, "the certificate is another contract's than the token")
    if not path.has_begun(now):
        return Found(Finding.UNVERIFIABLE, "a certificate is not valid yet")
    if path.has_expired(now):
        return Found(Finding.EXPIRED, "a certificate has expired")
    return None


def judge(
    examination: Examination, answers: Mapping[CertId, Told | None], *, require_ocsp: bool = True
) -> Found:
    """The finding, once the responders were asked; None stands for one that could not be."""
    if examination.found is not None:
        return examination.found
    told = [answers.get(check.id) for check in examination.checks]
    statuses = {one.status for one in told if one is not None}
    if Revocation.REVOKED in statuses:
        return Found(Finding.REVOKED, "a certificate is revoked")
    if Revocation.UNKNOWN in statuses:
        return Found(Finding.UNVERIFIABLE, "a responder does not know a certificate")
    if None in told and require_ocsp:
        return Found(Finding.UNVERIFIABLE, "no responder told whether a certificate is revoked")
    return Found(Finding.VALID, "the certificate is valid", examination.until)


def conclude(found: Found, decision: Decision) -> Decision:
    """The decision on the token, as the certificate leaves it."""
    if found.finding is not Finding.VALID:
        certificate_status, status = _REFUSED[found.finding]
        return Decision(
            status=status, certificate_status=certificate_status, language=decision.language
        )
    if decision.status in _CANCELLED:
        return msgspec.structs.replace(decision, certificate_status="ContractCancelled")
    expiry = decision.cache_expiry
    if expiry is not None and found.until is not None:
        # The station may remember an acceptance no longer than the certificate lasts.
        expiry = min(expiry, found.until)
    return msgspec.structs.replace(decision, certificate_status="Accepted", cache_expiry=expiry)


def decide(
    message: Authorize,
    roots: Sequence[Root],
    answers: Mapping[CertId, Told | None],
    decision: Decision,
    now: datetime,
    *,
    require_ocsp: bool = True,
) -> Decision:
    """The whole of it: chain, roots, hashes, answers and the token's decision to the answer."""
    found = judge(examine(message, roots, now), answers, require_ocsp=require_ocsp)
    return conclude(found, decision)

"""The outcomes of C07, exactly: certificate status and authorization status go together."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from auth.auth_examples import HOUR, NOW, authorize
from auth.plug_and_charge.pki import EMAID, Pki
from voltbus_auth.plug_and_charge.domain.chain import Root
from voltbus_auth.plug_and_charge.domain.outcome import (
    Finding,
    Found,
    conclude,
    decide,
    examine,
    has_certificate,
    judge,
)
from voltbus_auth.plug_and_charge.domain.revocation import Told
from voltbus_backbone.contract.auth import Authorize, Decision, Revocation
from voltbus_backbone.contract.values import AuthorizationStatus, IdToken

S = AuthorizationStatus
PKI = Pki(NOW)
LEAF = PKI.contract()
ROOTS = [Root(PKI.root.certificate, "MO")]
DAY = timedelta(days=1)
ACCEPTED = Decision(status=S.ACCEPTED, cache_expiry=NOW + HOUR, language="sv")


def asked(**fields: Any) -> Authorize:
    token = IdToken(value=EMAID, type="eMAID")
    return authorize(token, **{"certificate": LEAF.chain(), **fields})


def outcome(
    message: Authorize,
    status: Revocation | None = Revocation.GOOD,
    *,
    decision: Decision = ACCEPTED,
    require_ocsp: bool = True,
    only: int | None = None,
) -> tuple[str | None, S]:
    """What comes of it when every responder says this (``only`` one of them, the others good)."""
    checks = examine(message, ROOTS, NOW).checks
    answers = {check.id: Told(status, b"") if status is not None else None for check in checks}
    if only is not None:
        for place, check in enumerate(checks):
            if place != only:
                answers[check.id] = Told(Revocation.GOOD, b"")
    found = decide(message, ROOTS, answers, decision, NOW, require_ocsp=require_ocsp)
    return found.certificate_status, found.status


@pytest.mark.parametrize("status", [S.BLOCKED, S.EXPIRED, S.INVALID, S.UNKNOWN])
@pytest.mark.parametrize("by_hash", [False, True])
def test_a_valid_certificate_of_a_contract_that_is_over(status: S, *, by_hash: bool) -> None:
    """ContractCancelled with the token's own status (C07.FR.13)."""
    message = asked(certificate=None, certificate_hashes=(LEAF.hashed(),)) if by_hash else asked()
    assert outcome(message, decision=Decision(status=status)) == ("ContractCancelled", status)


@pytest.mark.parametrize(
    "status", [s for s in S if s not in {S.BLOCKED, S.EXPIRED, S.INVALID, S.UNKNOWN}]
)
@pytest.mark.parametrize("by_hash", [False, True])
def test_a_valid_certificate(status: S, *, by_hash: bool) -> None:
    """Accepted with whatever the token's status is (C07.FR.14)."""
    message = asked(certificate=None, certificate_hashes=(LEAF.hashed(),)) if by_hash else asked()
    assert outcome(message, decision=Decision(status=status)) == ("Accepted", status)


def test_an_expired_certificate() -> None:
    """CertificateExpired and Expired (C07.FR.15), leaf or authority; nobody is asked."""
    late = PKI.contract(ends=NOW - DAY)
    assert outcome(asked(certificate=late.chain())) == ("CertificateExpired", S.EXPIRED)
    sub = PKI.authority("Old Sub-CA", PKI.sub1, ends=NOW - DAY)
    old = PKI.contract(issuer=sub)
    assert outcome(asked(certificate=old.chain())) == ("CertificateExpired", S.EXPIRED)
    assert examine(asked(certificate=old.chain()), ROOTS, NOW).checks == ()


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_revoked_certificate(place: int) -> None:
    """CertificateRevoked and Invalid (C07.FR.16), whichever of the chain is revoked."""
    found = outcome(asked(), Revocation.REVOKED, only=place)
    assert found == ("CertificateRevoked", S.INVALID)


@pytest.mark.parametrize("place", [0, 1, 2])
@pytest.mark.parametrize("status", [Revocation.UNKNOWN, None])
def test_no_word_on_a_certificate(place: int, status: Revocation | None) -> None:
    """Unknown to its responder, or none can be asked: as unverifiable (C07.FR.17)."""
    assert outcome(asked(), status, only=place) == ("CertChainError", S.INVALID)


def test_an_operator_may_do_without_responders() -> None:
    """By policy silence is no refusal; revoked and unknown still are."""
    assert outcome(asked(), None, require_ocsp=False) == ("Accepted", S.ACCEPTED)
    revoked = outcome(asked(), Revocation.REVOKED, require_ocsp=False)
    assert revoked == ("CertificateRevoked", S.INVALID)
    unknown = outcome(asked(), Revocation.UNKNOWN, require_ocsp=False)
    assert unknown == ("CertChainError", S.INVALID)


def test_revoked_counts_more_than_silence() -> None:
    """One revoked, the others silent: it is revoked."""
    message = asked()
    first, *_ = examine(message, ROOTS, NOW).checks
    answers = {first.id: Told(Revocation.REVOKED, b"")}
    found = decide(message, ROOTS, answers, ACCEPTED, NOW)
    assert found.certificate_status == "CertificateRevoked"


@pytest.mark.parametrize(
    "chain",
    [
        "garbage",
        Pki(NOW).contract().chain(),
        Pki(NOW).contract(ends=NOW - DAY).chain(),
        PKI.contract(begins=NOW + DAY).chain(),
        PKI.contract("NLTNM000122045U").chain(),
        PKI.contract(name=PKI.root.certificate.subject).chain(),
    ],
    ids=["garbage", "unknown root", "unknown root, expired", "too early", "other contract", "name"],
)
def test_what_cannot_be_verified(chain: str) -> None:
    """CertChainError and Invalid (C07.FR.17), whatever the token alone would get."""
    assert outcome(asked(certificate=chain)) == ("CertChainError", S.INVALID)


def test_hashes_that_cannot_be_read() -> None:
    """CertChainError and Invalid, also beside a good chain."""
    wrong = LEAF.hashed(serial_number="twelve")
    for certificate in (None, LEAF.chain()):
        message = asked(certificate=certificate, certificate_hashes=(wrong,))
        assert outcome(message) == ("CertChainError", S.INVALID)


@pytest.mark.parametrize("spelling", ["NLTNMC00122045K", "nl-tnm-c00122045-k", "NLTNMC00122045"])
def test_the_emaid_is_normalised(spelling: str) -> None:
    """Hyphens, case and the optional check digit make no other contract (rules D)."""
    message = authorize(IdToken(value=spelling, type="eMAID"), certificate=LEAF.chain())
    assert outcome(message) == ("Accepted", S.ACCEPTED)


def test_a_certificate_is_for_an_emaid() -> None:
    """A card beside a contract certificate is not what the certificate speaks for."""
    message = authorize(certificate=LEAF.chain())
    assert outcome(message) == ("CertChainError", S.INVALID)


def test_an_acceptance_ends_with_the_certificate() -> None:
    """A station's cache keeps it no longer than the chain is valid."""
    soon = PKI.contract(ends=NOW + HOUR / 2)
    checks = examine(asked(certificate=soon.chain()), ROOTS, NOW).checks
    answers = {check.id: Told(Revocation.GOOD, b"") for check in checks}
    found = decide(asked(certificate=soon.chain()), ROOTS, answers, ACCEPTED, NOW)
    assert found.cache_expiry == NOW + HOUR / 2
    assert found.language == "sv"
    long_found = conclude(Found(Finding.VALID, "", NOW + DAY), ACCEPTED)
    assert long_found.cache_expiry == NOW + HOUR


def test_a_refusal_tells_nothing_of_the_token() -> None:
    """Group, message and cache expiry belong to a token whose holder was proved."""
    rich = Decision(
        status=S.ACCEPTED,
        cache_expiry=NOW + HOUR,
        group=IdToken(value="FLEET"),
        personal_message="Hello A. Person",
        language="sv",
    )
    for finding in (Finding.EXPIRED, Finding.REVOKED, Finding.UNVERIFIABLE):
        found = conclude(Found(finding, ""), rich)
        assert (found.group, found.personal_message, found.cache_expiry) == (None, None, None)


def test_reasons_name_nobody() -> None:
    """What is said for the log holds neither the contract id nor a name."""
    for chain in ("garbage", PKI.contract("NLTNM000122045U").chain(), Pki(NOW).contract().chain()):
        found = judge(examine(asked(certificate=chain), ROOTS, NOW), {})
        assert "NL" not in found.reason
        assert "MO" not in found.reason


def test_without_a_certificate_nothing_changes() -> None:
    """An eMAID alone, or an empty chain, is decided as any token."""
    assert not has_certificate(authorize())
    assert not has_certificate(authorize(certificate=""))
    assert has_certificate(asked())
    assert has_certificate(authorize(certificate_hashes=(LEAF.hashed(),)))

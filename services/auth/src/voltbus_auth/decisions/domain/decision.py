"""Who may charge: one pure function from what is known to a verdict with its reason.

The rules are asked in a fixed order and the first that refuses decides:

    Unknown, Blocked, Expired, (no agreement), NotAllowedTypeEVSE, NotAtThisLocation,
    NotAtThisTime, NoCredit, ConcurrentTx (when a transaction starts), else Accepted

Where several agreements in force cover the token, the one that gets furthest speaks for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_auth.decisions.domain.rules import RULES, Case, Refusal, limits_of, usable_evses
from voltbus_auth.decisions.domain.verdict import ORDER, Policy, Question, Rule, Verdict
from voltbus_auth.tokens.domain.token import NO_AUTHORIZATION, Token, TokenStatus
from voltbus_backbone.contract.auth import Decision
from voltbus_backbone.contract.values import AuthorizationStatus, IdToken

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from voltbus_auth.projections.domain.coverage import Coverage
    from voltbus_auth.projections.domain.places import Place, Window


_ANYBODY = Verdict(
    Decision(status=AuthorizationStatus.ACCEPTED),
    Rule.NO_AUTHORIZATION,
    "The station charges without authorization (OCPP 2.x C02).",
)


def decide(
    token: Token | None,
    coverages: Sequence[Coverage],
    place: Place,
    question: Question,
    policy: Policy,
    *,
    full: Collection[str] = (),
) -> Verdict:
    """May this token charge there and then?

    ``coverages`` are all agreements that name the token, in whatever state. ``full`` holds the
    keys of limits that are used up; it counts only when a transaction starts.
    """
    if question.type == NO_AUTHORIZATION:
        return _ANYBODY
    if token is None:
        return _refused((Rule.UNKNOWN, AuthorizationStatus.UNKNOWN, "No such token is registered."))
    in_force = [coverage for coverage in coverages if coverage.in_force(question.at)]
    refusal = _standing(token, coverages, in_force, question, policy)
    if refusal is not None:
        return _refused(refusal, token)
    best: Verdict | None = None
    candidates: Sequence[Coverage | None] = in_force or (None,)
    for coverage in candidates:
        verdict = _judge(Case(token, coverage, place, question, policy, full))
        if best is None or ORDER[verdict.rule] > ORDER[best.rule]:
            best = verdict
    assert best is not None  # noqa: S101 - there is at least one case
    return best


def one_too_many(agreement_id: str | None) -> Verdict:
    """The verdict on a transaction that was refused for concurrency when it began."""
    return Verdict(
        Decision(status=AuthorizationStatus.CONCURRENT_TX),
        Rule.CONCURRENT,
        "As many transactions as allowed were open when it began.",
        agreement_id,
    )


def deauthorized(verdict: Verdict) -> Verdict:
    """The verdict on another token in a transaction that was deauthorised (C01.FR.24).

    What stands before the time in the order of the rules, such as a block, still decides.
    """
    if ORDER[verdict.rule] <= ORDER[Rule.TIME]:
        return verdict
    return Verdict(
        Decision(status=AuthorizationStatus.NOT_AT_THIS_TIME),
        Rule.DEAUTHORIZED,
        "The transaction was begun with another token and deauthorised: it must end first.",
        verdict.agreement_id,
    )


def too_many_tries(*, typed: bool) -> Verdict:
    """The verdict on a key code from a station that tries too many (C04.FR.06).

    Without a type (1.6) it might be a card, and is answered as an unknown one is: otherwise the
    answer would tell that the code is right, and the station's cache might keep the refusal.
    """
    return Verdict(
        Decision(status=AuthorizationStatus.INVALID if typed else AuthorizationStatus.UNKNOWN),
        Rule.TOO_MANY_TRIES,
        "Too many wrong key codes came from this station: it must wait before the next.",
    )


def _standing(
    token: Token,
    coverages: Sequence[Coverage],
    in_force: Sequence[Coverage],
    question: Question,
    policy: Policy,
) -> Refusal | None:
    """What speaks against the token itself, wherever it is."""
    at = question.at
    lapsed = bool(coverages) and not in_force
    if token.status is TokenStatus.BLOCKED:
        return Rule.BLOCKED, AuthorizationStatus.BLOCKED, "The token is blocked."
    if lapsed and any(coverage.blocks() for coverage in coverages):
        return (
            Rule.BLOCKED,
            AuthorizationStatus.BLOCKED,
            "The token's agreement is suspended or terminated, and no other is in force.",
        )
    if token.expires_at is not None and token.expires_at <= at:
        return Rule.EXPIRED, AuthorizationStatus.EXPIRED, "The token has expired."
    if lapsed and any(coverage.has_expired(at) for coverage in coverages):
        return (
            Rule.EXPIRED,
            AuthorizationStatus.EXPIRED,
            "The token's agreement has expired, and no other is in force.",
        )
    if policy.require_agreement and not in_force:
        return (
            Rule.NO_AGREEMENT,
            AuthorizationStatus.INVALID,
            "No agreement in force covers the token, and the operator requires one.",
        )
    return None


def _judge(case: Case) -> Verdict:
    """Ask the remaining rules, in order, of one agreement."""
    for rule in RULES:
        refusal = rule(case)
        if refusal is not None:
            return _refused(refusal, case.token, case.coverage)
    return _accepted(case)


def _accepted(case: Case) -> Verdict:
    token, coverage = case.token, case.coverage
    terms = coverage.terms if coverage is not None else None
    group_id = token.group_id or (terms.group_id if terms is not None else None)
    priority = token.charging_priority
    if priority is None and terms is not None:
        priority = terms.charging_priority
    decision = Decision(
        status=AuthorizationStatus.ACCEPTED,
        cache_expiry=_cache_expiry(case),
        # A group's identifier is of type Central (OCPP 2.0.1 C09.FR.13).
        group=IdToken(value=group_id, type="Central") if group_id else None,
        evse_ids=_subset(case),
        charging_priority=priority,
        language=token.language or (terms.language if terms is not None else None),
        personal_message=token.personal_message,
        max_cost=token.credit,
    )
    reason = (
        f"Agreement {terms.id} is in force and allows it."
        if terms is not None
        else "The token is valid, and no agreement limits it."
    )
    return Verdict(
        decision, Rule.ACCEPTED, reason, terms.id if terms is not None else None, limits_of(case)
    )


def _cache_expiry(case: Case) -> datetime:
    """The first moment from now on at which the answer could change by the clock alone.

    Of a start that is told a day late it is counted from now: the station asks for what it may do
    from now on. What is closed by now is not to be relied on any more.
    """
    at = case.question.valid_from
    prepaid = case.coverage is not None and case.coverage.terms.limits.prepaid
    if prepaid or case.token.credit is not None:
        return at  # C17: credit is asked for each time
    ends: list[datetime | None] = [at + case.policy.cache, case.token.expires_at]
    windows: list[Window | None] = [case.place.hours]
    if case.coverage is not None:
        ends.append(case.coverage.terms.valid_to)
        windows.append(case.coverage.schedule)
    for window in windows:
        if window is not None:
            is_open, changes = window.at(at)
            ends.append(changes if is_open else at)
    return min(end for end in ends if end is not None)


def _subset(case: Case) -> tuple[int, ...]:
    """EVSE ids for the answer: none when all may be used (C01.FR.19, C01.FR.20)."""
    if case.question.evse_id is not None:
        return ()
    evses = usable_evses(case)
    if evses is None or (case.place.evse_kinds and evses >= case.place.evse_kinds.keys()):
        return ()
    return tuple(sorted(evses))


def _refused(
    refusal: Refusal, token: Token | None = None, coverage: Coverage | None = None
) -> Verdict:
    rule, status, reason = refusal
    language = token.language if token is not None else None
    return Verdict(
        Decision(status=status, language=language),
        rule,
        reason,
        coverage.terms.id if coverage is not None else None,
    )

"""Who may charge: one pure function from what is known to a verdict with its reason.

The rules are asked in a fixed order and the first that refuses decides:

    Unknown, Blocked, Expired, (no agreement), NotAllowedTypeEVSE, NotAtThisLocation,
    NotAtThisTime, NoCredit, ConcurrentTx (when a transaction starts), else Accepted

Where several agreements in force cover the token, the one that gets furthest speaks for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from voltbus_auth.domain.tokens import NO_AUTHORIZATION, Token, TokenStatus
from voltbus_backbone.contract.auth import Decision
from voltbus_backbone.contract.values import AuthorizationStatus, IdToken

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime, timedelta

    from voltbus_auth.domain.coverage import Coverage
    from voltbus_auth.domain.places import Place, Window


class Rule(StrEnum):
    """What decided, in the order of asking."""

    NO_AUTHORIZATION = "no_authorization"
    UNKNOWN = "unknown"
    BLOCKED = "blocked"
    EXPIRED = "expired"
    NO_AGREEMENT = "no_agreement"
    EVSE_KIND = "evse_kind"
    LOCATION = "location"
    TIME = "time"
    CREDIT = "credit"
    CONCURRENT = "concurrent"
    ACCEPTED = "accepted"


_ORDER = {rule: position for position, rule in enumerate(Rule)}

# The words a station's payment methods may use for each type of token. A type that is not here
# is never refused for how it pays.
_PAYS_AS: dict[str, frozenset[str]] = {
    "iso14443": frozenset({"rfid"}),
    "iso15693": frozenset({"rfid"}),
    "central": frozenset({"app", "remote", "web"}),
    "emaid": frozenset({"plug_and_charge", "contract_certificate"}),
    "keycode": frozenset({"keycode", "key_code"}),
    "directpayment": frozenset({"card", "credit_card", "direct_payment", "terminal"}),
    "macaddress": frozenset({"autocharge"}),
    "evccid": frozenset({"autocharge"}),
    "vin": frozenset({"autocharge"}),
}


@dataclass(frozen=True, slots=True)
class Policy:
    """The operator's switches. ``cache``: how long a station may rely on an acceptance."""

    cache: timedelta
    require_agreement: bool = False
    default_max_concurrent: int | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked. ``evse_id`` None: about the station as a whole.

    ``starting``: a transaction begins with this token, so that it takes one of those it may have.
    """

    type: str
    at: datetime
    evse_id: int | None = None
    starting: bool = False


@dataclass(frozen=True, slots=True)
class Limit:
    """No more than ``most`` open transactions at once under this key."""

    key: str
    most: int


@dataclass(frozen=True, slots=True)
class Verdict:
    """The decision, what decided, and why in words. ``limits`` must hold when it starts."""

    decision: Decision
    rule: Rule
    reason: str
    agreement_id: str | None = None
    limits: tuple[Limit, ...] = ()


@dataclass(frozen=True, slots=True)
class _Case:
    """One agreement, or none, that may speak for the token."""

    token: Token
    coverage: Coverage | None
    place: Place
    question: Question
    policy: Policy
    full: Collection[str]


_Refusal = tuple[Rule, AuthorizationStatus, str]
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
        verdict = _judge(_Case(token, coverage, place, question, policy, full))
        if best is None or _ORDER[verdict.rule] > _ORDER[best.rule]:
            best = verdict
    assert best is not None  # noqa: S101 - there is at least one case
    return best


def _standing(
    token: Token,
    coverages: Sequence[Coverage],
    in_force: Sequence[Coverage],
    question: Question,
    policy: Policy,
) -> _Refusal | None:
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


def _judge(case: _Case) -> Verdict:
    """Ask the remaining rules, in order, of one agreement."""
    for rule in _RULES:
        refusal = rule(case)
        if refusal is not None:
            return _refused(refusal, case.token, case.coverage)
    return _accepted(case)


def _evse_kind(case: _Case) -> _Refusal | None:
    kinds = case.place.evse_kinds
    allowed = _allowed_kinds(case)
    if not kinds or allowed is None:
        return None
    evse_id = case.question.evse_id
    asked = list(kinds) if evse_id is None else [evse_id]
    if any(kinds.get(evse) is None or kinds[evse] in allowed for evse in asked):
        return None
    return (
        Rule.EVSE_KIND,
        AuthorizationStatus.NOT_ALLOWED_TYPE_EVSE,
        f"Only EVSEs of kind {', '.join(sorted(allowed))} are allowed.",
    )


def _location(case: _Case) -> _Refusal | None:
    token, place = case.token, case.place
    if token.sites and place.site_id not in token.sites:
        return _elsewhere("The token is not allowed at this site.")
    methods = place.payment_methods
    words = _PAYS_AS.get(token.type.casefold())
    if methods and words is not None and not words & methods:
        return _elsewhere("The station does not take this kind of token.")
    named = case.coverage.evses_at(place) if case.coverage is not None else None
    evse_id = case.question.evse_id
    if named is not None and evse_id is not None and evse_id not in named:
        return _elsewhere("The agreement does not cover this EVSE.")
    usable = _evses(case) if evse_id is None else named
    if usable is not None and not usable:
        return _elsewhere("The agreement does not cover this station.")
    return None


def _time(case: _Case) -> _Refusal | None:
    at = case.question.at
    token = case.token
    if token.valid_from is not None and at < token.valid_from:
        return _too_early("The token is not valid yet.")
    if case.place.hours is not None and not case.place.hours.at(at)[0]:
        return _too_early("The site is closed.")
    coverage = case.coverage
    if coverage is not None and coverage.schedule is not None and not coverage.schedule.at(at)[0]:
        return _too_early("The agreement does not allow charging at this time.")
    return None


def _credit(case: _Case) -> _Refusal | None:
    if case.coverage is not None and case.coverage.terms.exhausted:
        return Rule.CREDIT, AuthorizationStatus.NO_CREDIT, "The agreement's limit is used up."
    return None


def _concurrent(case: _Case) -> _Refusal | None:
    if case.question.starting and any(limit.key in case.full for limit in _limits(case)):
        return (
            Rule.CONCURRENT,
            AuthorizationStatus.CONCURRENT_TX,
            "As many transactions as allowed are open already.",
        )
    return None


_RULES: tuple[Callable[[_Case], _Refusal | None], ...] = (
    _evse_kind,
    _location,
    _time,
    _credit,
    _concurrent,
)


def _accepted(case: _Case) -> Verdict:
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
    )
    reason = (
        f"Agreement {terms.id} is in force and allows it."
        if terms is not None
        else "The token is valid, and no agreement limits it."
    )
    return Verdict(
        decision, Rule.ACCEPTED, reason, terms.id if terms is not None else None, _limits(case)
    )


def _cache_expiry(case: _Case) -> datetime:
    """The first moment at which the answer could change by the clock alone."""
    at = case.question.at
    ends: list[datetime | None] = [at + case.policy.cache, case.token.expires_at]
    windows: list[Window | None] = [case.place.hours]
    if case.coverage is not None:
        ends.append(case.coverage.terms.valid_to)
        windows.append(case.coverage.schedule)
    ends.extend(window.at(at)[1] for window in windows if window is not None)
    return min(end for end in ends if end is not None)


def _allowed_kinds(case: _Case) -> frozenset[str] | None:
    """The EVSE kinds that token and agreement both allow; None: any."""
    mine = case.token.evse_kinds
    theirs = case.coverage.terms.scope.evse_kinds if case.coverage is not None else ()
    if mine and theirs:
        return frozenset(mine) & frozenset(theirs)
    return frozenset(mine or theirs) or None


def _evses(case: _Case) -> frozenset[int] | None:
    """The EVSEs of this station that may be used; None: all.

    An EVSE whose kind nobody told is not refused for its kind.
    """
    named = case.coverage.evses_at(case.place) if case.coverage is not None else None
    kinds = case.place.evse_kinds
    allowed = _allowed_kinds(case)
    if not kinds or allowed is None:
        return named
    fitting = frozenset(evse for evse, kind in kinds.items() if kind in allowed)
    if named is None:
        return None if len(fitting) == len(kinds) else fitting
    return frozenset(evse for evse in named if evse in fitting or evse not in kinds)


def _subset(case: _Case) -> tuple[int, ...]:
    """EVSE ids for the answer: none when all may be used (C01.FR.19, C01.FR.20)."""
    if case.question.evse_id is not None:
        return ()
    evses = _evses(case)
    if evses is None or (case.place.evse_kinds and evses >= case.place.evse_kinds.keys()):
        return ()
    return tuple(sorted(evses))


def _limits(case: _Case) -> tuple[Limit, ...]:
    """The limits on open transactions that a start must respect."""
    found = []
    most = case.token.max_concurrent or case.policy.default_max_concurrent
    if most is not None:
        found.append(Limit(f"token:{case.token.ref}", most))
    if case.coverage is not None:
        terms = case.coverage.terms
        if terms.limits.max_concurrent is not None:
            found.append(Limit(f"agreement:{terms.id}", terms.limits.max_concurrent))
    return tuple(found)


def _elsewhere(reason: str) -> _Refusal:
    return Rule.LOCATION, AuthorizationStatus.NOT_AT_THIS_LOCATION, reason


def _too_early(reason: str) -> _Refusal:
    return Rule.TIME, AuthorizationStatus.NOT_AT_THIS_TIME, reason


def _refused(
    refusal: _Refusal, token: Token | None = None, coverage: Coverage | None = None
) -> Verdict:
    rule, status, reason = refusal
    language = token.language if token is not None else None
    return Verdict(
        Decision(status=status, language=language),
        rule,
        reason,
        coverage.terms.id if coverage is not None else None,
    )

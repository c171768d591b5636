"""The rules that a token, its agreement and a place must pass, in their order.

Each looks at one case and refuses with a reason, or lets it pass.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.decisions.domain.verdict import Limit, Policy, Question, Rule
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from voltbus_auth.projections.domain.coverage import Coverage
    from voltbus_auth.projections.domain.places import Place
    from voltbus_auth.tokens.domain.token import Token

Refusal = tuple[Rule, AuthorizationStatus, str]

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


class Case(msgspec.Struct, frozen=True):
    """One agreement, or none, that may speak for the token."""

    token: Token
    coverage: Coverage | None
    place: Place
    question: Question
    policy: Policy
    full: Collection[str]


def _evse_kind(case: Case) -> Refusal | None:
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


def _location(case: Case) -> Refusal | None:
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
    usable = usable_evses(case) if evse_id is None else named
    if usable is not None and not usable:
        return _elsewhere("The agreement does not cover this station.")
    return None


def _time(case: Case) -> Refusal | None:
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


def _credit(case: Case) -> Refusal | None:
    credit = case.token.credit
    if credit is not None and credit <= 0:
        return Rule.CREDIT, AuthorizationStatus.NO_CREDIT, "The token's credit is used up."
    if case.coverage is not None and case.coverage.terms.exhausted:
        return Rule.CREDIT, AuthorizationStatus.NO_CREDIT, "The agreement's limit is used up."
    return None


def _concurrent(case: Case) -> Refusal | None:
    if case.question.starting and any(limit.key in case.full for limit in limits_of(case)):
        return (
            Rule.CONCURRENT,
            AuthorizationStatus.CONCURRENT_TX,
            "As many transactions as allowed are open already.",
        )
    return None


RULES: tuple[Callable[[Case], Refusal | None], ...] = (
    _evse_kind,
    _location,
    _time,
    _credit,
    _concurrent,
)


def _allowed_kinds(case: Case) -> frozenset[str] | None:
    """The EVSE kinds that token and agreement both allow; None: any."""
    mine = case.token.evse_kinds
    theirs = case.coverage.terms.scope.evse_kinds if case.coverage is not None else ()
    if mine and theirs:
        return frozenset(mine) & frozenset(theirs)
    return frozenset(mine or theirs) or None


def usable_evses(case: Case) -> frozenset[int] | None:
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


def limits_of(case: Case) -> tuple[Limit, ...]:
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


def _elsewhere(reason: str) -> Refusal:
    return Rule.LOCATION, AuthorizationStatus.NOT_AT_THIS_LOCATION, reason


def _too_early(reason: str) -> Refusal:
    return Rule.TIME, AuthorizationStatus.NOT_AT_THIS_TIME, reason

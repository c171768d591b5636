"""What another system says of a token that is not ours to decide alone, and how that decides.

The external authorizer has the last word on a token that is unknown here, and on one that is
registered with the whitelist NEVER. Its yes is a yes to the driver, not to the place: opening
hours, payment methods and limits of the site hold as for everybody else's tokens. Its words are
OCPI's (real-time authorization).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.decisions.domain.verdict import Policy, Question, Rule, Silence, Verdict
from voltbus_auth.tokens.domain.token import NO_AUTHORIZATION, Token, Whitelist
from voltbus_backbone.contract.auth import Decision
from voltbus_backbone.contract.providers import Allowed, Keep
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_auth.projections.domain.places import Place
    from voltbus_backbone.contract.providers import ProviderAuthorizeAnswer

# The operator's own kinds of tokens: nobody else could know them, and a key code is a secret.
_OURS = frozenset(
    name.casefold() for name in ("Central", "DirectPayment", "KeyCode", "Local", NO_AUTHORIZATION)
)
# What a station may rely on when nobody could be asked: until the other system may be back.
_SHORT = timedelta(minutes=1)
_LONGEST_GROUP = 36
_LONGEST_REFERENCE = 36
_LONGEST_LANGUAGE = 8
_LONGEST_MESSAGE = 512

_STATUS = {
    Allowed.ALLOWED: AuthorizationStatus.ACCEPTED,
    Allowed.BLOCKED: AuthorizationStatus.BLOCKED,
    Allowed.EXPIRED: AuthorizationStatus.EXPIRED,
    Allowed.NO_CREDIT: AuthorizationStatus.NO_CREDIT,
    Allowed.NOT_ALLOWED: AuthorizationStatus.NOT_AT_THIS_LOCATION,
    Allowed.UNKNOWN: AuthorizationStatus.UNKNOWN,
}
_REASON = {
    Allowed.ALLOWED: "The external authorizer allows it.",
    Allowed.BLOCKED: "The external authorizer says that the token is blocked.",
    Allowed.EXPIRED: "The external authorizer says that the token has expired.",
    Allowed.NO_CREDIT: "The external authorizer says that there is no credit.",
    Allowed.NOT_ALLOWED: "The external authorizer does not allow it at this location.",
    Allowed.UNKNOWN: "The external authorizer does not know the token.",
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What was said of a presented reference at a station, and until when it is remembered."""

    ref: str
    station_id: str
    allowed: Allowed
    until: datetime
    keep: Keep = Keep.ALLOWED
    valid_until: datetime | None = None
    evse_ids: tuple[int, ...] = ()
    group_id: str | None = None
    language: str | None = None
    message: str | None = None
    authorization_reference: str | None = None

    def holds_for(self, question: Question) -> bool:
        """Whether the question need not be asked again.

        ``NEVER`` and ``ALLOWED_OFFLINE`` answers are good for one session: its Authorize is asked
        anew each time, what follows in the transaction is not.
        """
        return question.of_transaction or self.keep in {Keep.ALWAYS, Keep.ALLOWED}


def answer_of(
    said: ProviderAuthorizeAnswer,
    *,
    ref: str,
    station_id: str,
    now: datetime,
    longest: timedelta,
    value: str = "",
) -> Answer:
    """The answer as it is remembered; what OCPP has no room for is left out.

    ``value`` is the token's own, which must not come back in a reference that is told to anyone.
    """
    kept = longest
    if said.keep_s is not None and said.keep_s >= 0:
        kept = min(longest, timedelta(seconds=min(said.keep_s, longest.total_seconds())))
    return Answer(
        ref=ref,
        station_id=station_id,
        allowed=said.allowed,
        until=now + kept,
        keep=said.keep,
        valid_until=said.valid_until,
        evse_ids=tuple(sorted({evse for evse in said.evse_ids if evse > 0})),
        group_id=_fitting(said.group_id, _LONGEST_GROUP),
        language=_fitting(said.language, _LONGEST_LANGUAGE),
        message=said.message[:_LONGEST_MESSAGE] if said.message else None,
        authorization_reference=_opaque(said.authorization_reference, value),
    )


def _opaque(reference: str | None, value: str) -> str | None:
    fitting = _fitting(reference, _LONGEST_REFERENCE)
    if fitting is None or (value and value.casefold() in fitting.casefold()):
        return None
    return fitting


def _fitting(text: str | None, longest: int) -> str | None:
    return text if text and len(text) <= longest else None


def concerns(token: Token | None, local: Verdict, question: Question, policy: Policy) -> bool:
    """Whether the token is another system's to decide: unknown here, or to be asked about always.

    OCPI's whitelist NEVER is the latter: what is refused here already is not asked about. Of a
    token that is registered its own type counts: an idTag of 1.6 has none.
    """
    if not policy.external or question.type.casefold() in _OURS:
        return False
    if token is None:
        return True
    if token.type.casefold() in _OURS:
        return False
    accepted = local.decision.status is AuthorizationStatus.ACCEPTED
    return accepted and token.whitelist is Whitelist.NEVER


def stand_in(ref: str, question: Question, answer: Answer | None) -> Token:
    """The token as it would be registered here, so that the place's rules can be asked of it."""
    if answer is None:
        return Token(ref, question.type)
    return Token(
        ref,
        question.type,
        expires_at=answer.valid_until,
        group_id=answer.group_id,
        language=answer.language,
        personal_message=answer.message,
    )


def without_agreement(policy: Policy) -> Policy:
    """The policy for such a token: its provider's word stands in for an agreement."""
    return replace(policy, require_agreement=False)


def to_be_asked(local: Verdict) -> Verdict:
    """The verdict as long as the other system was not asked."""
    reason = "No such token is registered; the external authorizer is asked about it."
    if local.decision.status is AuthorizationStatus.ACCEPTED:
        reason = f"{local.reason} The external authorizer is asked each time."
    return msgspec.structs.replace(local, elsewhere=True, reason=reason)


def by_answer(answer: Answer, local: Verdict, place: Place, question: Question) -> Verdict:
    """The other system's word, joined with what is said of the token here (``local``)."""
    if answer.allowed is not Allowed.ALLOWED:
        return _refused(_STATUS[answer.allowed], _REASON[answer.allowed], answer.language)
    if local.decision.status is not AuthorizationStatus.ACCEPTED:
        return local
    everywhere = place.evse_kinds.keys()
    evses = set(answer.evse_ids)
    if evses and (
        (question.evse_id is not None and question.evse_id not in evses)
        or (everywhere and not evses & everywhere)
    ):
        return _refused(
            AuthorizationStatus.NOT_AT_THIS_LOCATION,
            "The external authorizer allows it at other EVSEs only.",
            answer.language,
        )
    decision = msgspec.structs.replace(
        local.decision,
        cache_expiry=_cache_expiry(answer, local, question),
        evse_ids=_subset(evses, local, question, all_of_them=set(everywhere)),
    )
    return msgspec.structs.replace(
        local,
        decision=decision,
        rule=Rule.EXTERNAL,
        reason=_REASON[Allowed.ALLOWED],
        authorization_reference=answer.authorization_reference,
    )


def _cache_expiry(answer: Answer, local: Verdict, question: Question) -> datetime:
    if answer.keep in {Keep.NEVER, Keep.ALLOWED_OFFLINE}:
        return question.at
    expiry = local.decision.cache_expiry
    return min(answer.until, expiry) if expiry is not None else answer.until


def _subset(
    evses: set[int], local: Verdict, question: Question, *, all_of_them: set[int]
) -> tuple[int, ...]:
    """EVSE ids for the answer: none when all may be used (C01.FR.19, C01.FR.20)."""
    if question.evse_id is not None or not evses or (all_of_them and evses >= all_of_them):
        return local.decision.evse_ids
    known_here = set(local.decision.evse_ids) or evses
    return tuple(sorted(evses & known_here))


def by_silence(local: Verdict, question: Question, policy: Policy) -> Verdict:
    """What holds when nobody answered in time.

    With the policy ``error`` an Authorize gets no decision at all, and its handler must see to it;
    a transaction message must be answered, so that it is refused for now.
    """
    if policy.silence is not Silence.ACCEPT:
        return Verdict(
            # Over already: no station may remember it.
            Decision(status=AuthorizationStatus.NOT_AT_THIS_TIME, cache_expiry=question.at),
            Rule.SILENCE,
            "The external authorizer gave no answer in time.",
        )
    if local.decision.status is not AuthorizationStatus.ACCEPTED:
        return local
    expiry = question.valid_from + _SHORT
    if local.decision.cache_expiry is not None:
        expiry = min(expiry, local.decision.cache_expiry)
    return msgspec.structs.replace(
        local,
        decision=msgspec.structs.replace(local.decision, cache_expiry=expiry),
        rule=Rule.SILENCE,
        reason="The external authorizer gave no answer in time: accepted by policy, in doubt.",
    )


def leaves_open(verdict: Verdict, policy: Policy) -> bool:
    """Whether an Authorize with this verdict gets no decision at all, but an error."""
    return verdict.rule is Rule.SILENCE and policy.silence is Silence.ERROR


def still_accepted(agreement_id: str | None, question: Question) -> Verdict:
    """The verdict on a token that was accepted earlier in the same transaction.

    Nobody is asked about it again: a stop must not wait for another system.
    """
    return Verdict(
        Decision(status=AuthorizationStatus.ACCEPTED, cache_expiry=question.at),
        Rule.EXTERNAL,
        "It was accepted earlier in this transaction.",
        agreement_id,
    )


def _refused(status: AuthorizationStatus, reason: str, language: str | None) -> Verdict:
    return Verdict(Decision(status=status, language=language), Rule.EXTERNAL, reason)

"""How another system's word decides: pure, for any answer, place and policy (rules B, OCPI)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.auth_examples import CARD, DAY, KEY, NOW, OFFICE_HOURS, POLICY, REF, STATION, place
from voltbus_auth.decisions.domain.external import Answer, answer_of
from voltbus_auth.decisions.domain.verdict import Question, Rule, Silence, Verdict
from voltbus_auth.decisions.handlers.knowledge import Knowledge
from voltbus_auth.projections.domain.places import Place
from voltbus_backbone.contract.providers import Allowed, Keep, ProviderAuthorizeAnswer
from voltbus_backbone.contract.values import AuthorizationStatus

S = AuthorizationStatus
ROAMING = replace(POLICY, external=True)
HERE = (REF, STATION)

STATUSES = {
    Allowed.ALLOWED: S.ACCEPTED,
    Allowed.BLOCKED: S.BLOCKED,
    Allowed.EXPIRED: S.EXPIRED,
    Allowed.NO_CREDIT: S.NO_CREDIT,
    Allowed.NOT_ALLOWED: S.NOT_AT_THIS_LOCATION,
    Allowed.UNKNOWN: S.UNKNOWN,
}

said = st.builds(
    ProviderAuthorizeAnswer,
    allowed=st.sampled_from(Allowed),
    keep=st.sampled_from(Keep),
    keep_s=st.none() | st.floats(allow_nan=True, allow_infinity=True),
    valid_until=st.none() | st.just(NOW - DAY) | st.just(NOW + DAY),
    evse_ids=st.lists(st.integers(-2, 5), max_size=4).map(tuple),
    group_id=st.none() | st.text(max_size=60),
    language=st.none() | st.text(max_size=12),
    message=st.none() | st.text(max_size=600),
)
places = st.sampled_from(
    (
        Place(STATION),
        place(evse_kinds={"1": "dc", "2": "ac"}),
        place(opening_hours=OFFICE_HOURS),
        place(payment_methods=("rfid",)),
    )
)
questions = st.builds(
    Question,
    type=st.sampled_from(("ISO14443", "", "eMAID", "MacAddress")),
    at=st.just(NOW) | st.just(NOW + timedelta(hours=9)),
    evse_id=st.none() | st.integers(1, 3),
    of_transaction=st.booleans(),
)


def answered(one: ProviderAuthorizeAnswer) -> Answer:
    return answer_of(one, ref=REF, station_id=STATION, now=NOW, longest=timedelta(minutes=5))


def verdict(
    one: ProviderAuthorizeAnswer | None,
    question: Question,
    where: Place | None = None,
    silence: Silence = Silence.ERROR,
) -> Verdict:
    """What holds right after the other system was asked."""
    knowledge = Knowledge(replace(ROAMING, silence=silence), asked={HERE})
    if one is not None:
        knowledge.answers[HERE] = answered(one)
    knowledge.places[STATION] = where or Place(STATION)
    return knowledge.verdict(REF, STATION, question)


@pytest.mark.parametrize("allowed", list(Allowed))
def test_each_word_has_its_status(allowed: Allowed) -> None:
    """OCPI AllowedType to OCPP's status (rules B); each is the external authorizer's decision."""
    found = verdict(ProviderAuthorizeAnswer(allowed=allowed), Question("ISO14443", NOW))
    assert (found.decision.status, found.rule) == (STATUSES[allowed], Rule.EXTERNAL)
    assert not found.elsewhere


@given(said, questions, places)
def test_only_a_yes_is_a_yes(
    one: ProviderAuthorizeAnswer, question: Question, where: Place
) -> None:
    """Accepted needs ALLOWED; a place that says no is not overruled; nothing is left open."""
    found = verdict(one, question, where)
    assert not found.elsewhere
    accepted = found.decision.status is S.ACCEPTED
    assert not accepted or one.allowed is Allowed.ALLOWED
    if one.allowed is not Allowed.ALLOWED:
        assert found.decision.status is STATUSES[one.allowed]
    if accepted:
        assert found.rule is Rule.EXTERNAL
        assert where.hours is None or where.hours.at(question.at)[0]


@given(said, questions, places)
def test_what_is_told_fits_ocpp(
    one: ProviderAuthorizeAnswer, question: Question, where: Place
) -> None:
    """Whatever the other system says, its texts fit the station's fields, its times the policy."""
    kept = answered(one)
    assert NOW <= kept.until <= NOW + timedelta(minutes=5)
    decision = verdict(one, question, where).decision
    assert decision.group is None or 0 < len(decision.group.value) <= 36
    assert decision.language is None or len(decision.language) <= 8
    assert decision.personal_message is None or len(decision.personal_message) <= 512
    assert all(evse > 0 for evse in decision.evse_ids)
    if decision.status is S.ACCEPTED:
        assert decision.cache_expiry is not None
        assert decision.cache_expiry <= max(NOW + timedelta(minutes=5), question.at)


@given(said, questions, places)
def test_evses_that_are_not_allowed_are_refused(
    one: ProviderAuthorizeAnswer, question: Question, where: Place
) -> None:
    """C01.FR.20 and FR.22: only the EVSEs that the other system names, none of them nowhere."""
    found = verdict(one, question, where)
    named = {evse for evse in one.evse_ids if evse > 0}
    if named and found.decision.status is S.ACCEPTED:
        assert question.evse_id is None or question.evse_id in named
        assert set(found.decision.evse_ids) <= named


@given(questions, st.sampled_from(Silence), places)
def test_silence_is_never_remembered(question: Question, silence: Silence, where: Place) -> None:
    """What nobody confirmed is over within a minute, and never in a cache when refused."""
    found = verdict(None, question, where, silence)
    decision = found.decision
    if silence is not Silence.ACCEPT:
        assert (decision.status, decision.cache_expiry) == (S.NOT_AT_THIS_TIME, question.at)
    elif decision.status is S.ACCEPTED:
        assert found.rule is Rule.SILENCE
        assert decision.cache_expiry is not None
        assert decision.cache_expiry <= question.at + timedelta(minutes=1)


@given(said, questions)
def test_an_answer_holds_for_its_own_place_and_kind(
    one: ProviderAuthorizeAnswer, question: Question
) -> None:
    """A remembered answer for another station or another token leaves this question open."""
    knowledge = Knowledge(ROAMING, answers={HERE: answered(one)})
    assert knowledge.verdict(REF, "CS-2", question).elsewhere
    assert knowledge.verdict(KEY.ref("ISO14443", CARD[1:]), STATION, question).elsewhere
    remembered = knowledge.verdict(REF, STATION, question)
    asks_again = one.keep in {Keep.NEVER, Keep.ALLOWED_OFFLINE} and not question.of_transaction
    assert remembered.elsewhere == asks_again


def test_what_explain_says_before_anybody_was_asked() -> None:
    """Unknown here, and the reason names who will be asked."""
    found = Knowledge(ROAMING).verdict(REF, STATION, Question("ISO14443", NOW))
    assert (found.decision.status, found.rule) == (S.UNKNOWN, Rule.UNKNOWN)
    assert found.elsewhere
    assert "external authorizer" in found.reason

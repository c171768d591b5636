"""Unknown tokens are another system's to decide: handlers from event to answer, on both stores."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest

from auth.auth_examples import (
    CARD,
    DAY,
    HOUR,
    MINUTE,
    NOW,
    OFFICE_HOURS,
    REF,
    STATION,
    asked,
    authorize,
    card,
    said,
    started16,
    state,
)
from auth.conftest import replica_on
from auth.roaming.conftest import ROAMING, Provider, through
from voltbus_auth.decisions.domain.verdict import Rule, Silence
from voltbus_auth.tokens.domain.token import Whitelist
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.providers import Allowed, Keep, ProviderAuthorizeAnswer
from voltbus_backbone.contract.registry import Fault, Topic
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from auth.conftest import Clock, Replica, Served, Shelf
    from auth.memory_store import MemoryStore

S = AuthorizationStatus


async def test_an_unknown_token_is_passed_on_and_decided(
    roaming: Replica, provider: Provider
) -> None:
    """The quick group waits for nobody; the other asks, and its answer reaches the station."""
    told = await through(roaming, asked(authorize()))
    assert told.answer.decision.status is S.ACCEPTED
    (question,) = provider.asked
    assert (question.station_id, question.location_id) == (STATION, STATION)
    assert question.id_token.value == CARD


async def test_a_question_that_is_passed_on_keeps_its_asker(roaming: Replica) -> None:
    """The answer goes to whoever asked first, by the deadline that it set."""
    (record,) = await roaming._dispatcher.handle([asked(authorize(), offset=77)])
    headers = dict(record.headers)
    assert record.topic == Topic.AUTH_EXTERNAL_REQUESTS
    assert headers["correlation-id"] == b"g-1/77"
    assert {"reply-topic", "reply-partition", "deadline"} <= headers.keys()


async def test_an_answer_is_used_again_for_its_time(
    roaming: Replica, provider: Provider, clock: Clock
) -> None:
    """A remembered answer decides on the quick topic; after its time it is asked for again."""
    await through(roaming, asked(authorize()))
    told = await roaming.handle(asked(authorize(card(CARD.lower()))))
    assert told.answer.decision.status is S.ACCEPTED
    assert told.answer.decision.cache_expiry == NOW + 5 * MINUTE
    clock.time = NOW + 5 * MINUTE
    assert len(await roaming.pass_on(asked(authorize(at=clock.time)))) == 1
    assert len(provider.asked) == 1


async def test_an_answer_holds_at_its_station_only(roaming: Replica) -> None:
    """It was asked for one location (OCPI LocationReferences); another is another question."""
    await through(roaming, asked(authorize()))
    assert len(await roaming.pass_on(asked(authorize(station_id="CS-2")))) == 1


async def test_a_shorter_time_of_the_provider_counts(roaming: Replica, provider: Provider) -> None:
    """``keep_s`` may shorten the operator's time and not lengthen it."""
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED, keep_s=60)
    told = await through(roaming, asked(authorize()))
    assert told.answer.decision.cache_expiry == NOW + MINUTE
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED, keep_s=86_400)
    told = await through(roaming, asked(authorize(card("04FF"))))
    assert told.answer.decision.cache_expiry == NOW + 5 * MINUTE


async def test_allowed_offline_is_used_when_nobody_answers(
    roaming: Replica, provider: Provider
) -> None:
    """OCPI whitelist ALLOWED_OFFLINE: asked each time, relied on in silence."""
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED, keep=Keep.ALLOWED_OFFLINE)
    await through(roaming, asked(authorize()))
    provider.answer = None
    told = await through(roaming, asked(authorize()))
    assert told.answer.decision.status is S.ACCEPTED
    assert len(provider.asked) == 2


@pytest.mark.parametrize(
    ("silence", "status"),
    [(Silence.REFUSE, S.NOT_AT_THIS_TIME), (Silence.ACCEPT, S.ACCEPTED)],
)
async def test_silence_by_policy(
    shelf: Shelf, clock: Clock, provider: Provider, silence: Silence, status: S
) -> None:
    """Refused for now, or accepted for a minute; neither may stay in a station's cache."""
    replica = replica_on(
        shelf, clock, policy=replace(ROAMING, silence=silence), authorizer=provider
    )
    provider.answer = None
    told = await through(replica, asked(authorize()))
    decision = told.answer.decision
    assert decision.status is status
    assert decision.cache_expiry == NOW + (MINUTE if status is S.ACCEPTED else 0 * MINUTE)
    assert len(await replica.pass_on(asked(authorize()))) == 1  # silence is not remembered


async def test_silence_is_an_error_by_default(roaming: Replica, provider: Provider) -> None:
    """Undecided is not refused: the gateway makes CALLERROR InternalError of it (rules B)."""
    provider.answer = None
    told = await through(roaming, asked(authorize()))
    assert isinstance(told.answer, Fault)
    assert CARD not in repr(told.answer)


async def test_two_replicas_ask_at_the_same_time(
    shelf: Shelf, clock: Clock, provider: Provider
) -> None:
    """The same start at two replicas at once: one transaction, one transactionId."""
    replicas = [replica_on(shelf, clock, policy=ROAMING, authorizer=provider) for _ in range(2)]
    (waiting,) = await replicas[0].pass_on(asked(started16()))
    told = await asyncio.gather(*(one.hear(waiting) for one in replicas))
    assert len({one.answer.transaction_id for one in told}) == 1
    assert len(await replicas[0].records()) == 1


async def test_a_token_is_asked_about_once_in_a_batch(roaming: Replica, provider: Provider) -> None:
    """Several questions about one token at one station are one question."""
    events = [asked(authorize(), offset=500 + number) for number in range(3)]
    told = await through(roaming, *events, asked(started16(id_token=card()), offset=510))
    statuses = {one.decision.status for one in told.answers.values()}
    assert (len(told.answers), statuses, len(provider.asked)) == (4, {S.ACCEPTED}, 1)


async def test_the_place_has_its_say(roaming: Replica, clock: Clock) -> None:
    """The other system's yes does not open a site that is closed."""
    await roaming.shelf.put_stations([state(opening_hours=OFFICE_HOURS)])
    clock.time = NOW + 8 * HOUR
    told = await through(roaming, asked(authorize(at=clock.time)))
    assert told.answer.decision.status is S.NOT_AT_THIS_TIME


async def test_the_site_and_its_evses_are_named(roaming: Replica, provider: Provider) -> None:
    """LocationReferences: the site and the station's EVSEs, as far as they are known."""
    await roaming.shelf.put_stations([state(site_id="uppsala", evse_kinds={"1": "dc", "2": "ac"})])
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED, evse_ids=(2,))
    told = await through(roaming, asked(authorize()))
    assert told.answer.decision.evse_ids == (2,)
    (question,) = provider.asked
    assert (question.location_id, question.evse_ids) == ("uppsala", (1, 2))
    started = await roaming.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    assert started.answer.decision.status is S.NOT_AT_THIS_LOCATION


async def test_an_agreement_is_not_required_of_them(
    shelf: Shelf, clock: Clock, provider: Provider
) -> None:
    """With VOLTBUS_REQUIRE_AGREEMENT the provider's word stands in for the agreement."""
    policy = replace(ROAMING, require_agreement=True)
    replica = replica_on(shelf, clock, policy=policy, authorizer=provider)
    told = await through(replica, asked(authorize()))
    assert told.answer.decision.status is S.ACCEPTED


async def test_the_budget_leaves_time_for_the_way_back(
    roaming: Replica, provider: Provider, clock: Clock
) -> None:
    """At most 0.6 of what is left of the asker's deadline; facts past it have their own time."""
    event = asked(authorize())
    assert event.asking is not None
    event.asking = msgspec.structs.replace(
        event.asking, deadline_ms=int((NOW.timestamp() + 2) * 1000)
    )
    await through(roaming, event)
    late = asked(started16(id_token=card("04FF")))
    assert late.asking is not None
    late.asking = msgspec.structs.replace(
        late.asking, deadline_ms=int((NOW - DAY).timestamp() * 1000)
    )
    await through(roaming, late)
    clock.time = NOW
    assert provider.budgets == [pytest.approx(1.2), 3.0]


async def test_the_journal_tells_who_decided(memory: MemoryStore, clock: Clock) -> None:
    """Its own rules: external, and silence where nobody answered."""
    provider = Provider()
    replica = replica_on(memory, clock, policy=ROAMING, authorizer=provider)
    await through(replica, asked(authorize()))
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.BLOCKED)
    await through(replica, asked(authorize(card("04FF"))))
    provider.answer = None
    await through(replica, asked(authorize(card("04EE"))), asked(started16(id_token=card("04DD"))))
    assert [(one.verdict.rule, one.verdict.decision.status) for one in memory.decided] == [
        (Rule.EXTERNAL, S.ACCEPTED),
        (Rule.EXTERNAL, S.BLOCKED),
        (Rule.SILENCE, S.NOT_AT_THIS_TIME),
        (Rule.SILENCE, S.NOT_AT_THIS_TIME),
    ]
    assert {one.token_ref for one in memory.decided} >= {REF}


async def test_16_presents_no_type(roaming: Replica, provider: Provider) -> None:
    """An idTag is asked about without a type, and its answer is used again for it."""
    event = asked(authorize(card(kind=""), protocol=Protocol.OCPP16))
    assert (await through(roaming, event)).answer.decision.status is S.ACCEPTED
    (question,) = provider.asked
    assert question.id_token.type == ""
    event = asked(authorize(card(kind=""), protocol=Protocol.OCPP16))
    assert (await roaming.handle(event)).answer.decision.status is S.ACCEPTED


@pytest.mark.stack
async def test_an_erased_token_leaves_no_answer(served: Served, clock: Clock) -> None:
    """What another system said of it is forgotten with it (N10.FR.02)."""
    provider = Provider()
    replica = replica_on(served.store, clock, policy=ROAMING, authorizer=provider)
    made = await replica.token(whitelist=Whitelist.NEVER)
    await through(replica, asked(authorize()))
    answers = served.database["external_answers"]
    assert await answers.count_documents({}) == 1
    await served.store.erasure.erase(made, at=NOW, by="a test")
    assert await answers.count_documents({}) == 0

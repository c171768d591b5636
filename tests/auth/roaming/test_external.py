"""Unknown tokens are another system's to decide: handlers from event to answer, on both stores."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest

from auth.auth_examples import (
    CARD,
    DAY,
    HOUR,
    KEY,
    MINUTE,
    NOW,
    OFFICE_HOURS,
    POLICY,
    REF,
    STATION,
    asked,
    authorize,
    card,
    said,
    started16,
    state,
    stopped16,
    terms,
)
from auth.conftest import replica_on
from voltbus_auth.domain.tokens import TokenStatus, Whitelist
from voltbus_auth.domain.verdict import Rule, Silence
from voltbus_backbone.contract.agreements import Limits
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.providers import (
    Allowed,
    Keep,
    ProviderAuthorize,
    ProviderAuthorizeAnswer,
)
from voltbus_backbone.contract.registry import Fault, Topic
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from auth.conftest import Clock, Replica, Served, Shelf
    from auth.memory_store import MemoryStore
    from voltbus_backbone.envelope import Event

S = AuthorizationStatus
ROAMING = replace(POLICY, external=True)
ALLOWED = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED)
YEAR = timedelta(days=365)


@dataclass
class Provider:
    """An external authorizer that says what a test tells it; None is silence."""

    answer: ProviderAuthorizeAnswer | None = ALLOWED
    asked: list[ProviderAuthorize] = field(default_factory=list)
    budgets: list[float] = field(default_factory=list)

    async def ask(
        self, question: ProviderAuthorize, budget_s: float
    ) -> ProviderAuthorizeAnswer | None:
        self.asked.append(question)
        self.budgets.append(budget_s)
        await asyncio.sleep(0)
        return self.answer


@pytest.fixture
def provider() -> Provider:
    return Provider()


@pytest.fixture
def roaming(shelf: Shelf, clock: Clock, provider: Provider) -> Replica:
    """A replica whose operator has an external authorizer."""
    return replica_on(shelf, clock, policy=ROAMING, authorizer=provider)


async def through(replica: Replica, *events: Event) -> Any:
    """Both groups, one after the other, as the topics put them; the answer of the second."""
    passed_on = await replica.pass_on(*events)
    assert len(passed_on) == len(events)
    return await replica.hear(*passed_on)


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
    (record,) = await roaming._requests.handle([asked(authorize(), offset=77)])
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


async def test_never_asks_each_time_but_once_a_session(
    roaming: Replica, provider: Provider
) -> None:
    """OCPI whitelist NEVER: each Authorize is asked anew, the start that follows it is not."""
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED, keep=Keep.NEVER)
    told = await through(roaming, asked(authorize()))
    assert told.answer.decision.cache_expiry == NOW
    started = await roaming.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    assert started.answer.decision.status is S.ACCEPTED
    await through(roaming, asked(authorize()))
    assert len(provider.asked) == 2


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


async def test_a_registered_token_is_not_asked_about(roaming: Replica, provider: Provider) -> None:
    """What the operator registered is the operator's to decide."""
    await roaming.token()
    told = await roaming.handle(asked(authorize()))
    assert told.answer.decision.status is S.ACCEPTED
    assert provider.asked == []


@pytest.mark.parametrize("kind", ["KeyCode", "Central", "Local", "DirectPayment"])
async def test_the_operators_own_kinds_stay_here(roaming: Replica, kind: str) -> None:
    """Nobody else could know them, and a key code is a secret (C04.FR.04)."""
    told = await roaming.handle(asked(authorize(card(kind=kind))))
    assert told.answer.decision.status is S.UNKNOWN


async def test_without_an_external_authorizer_nothing_changes(replica: Replica) -> None:
    """The switch is off by default: unknown is Unknown at once."""
    told = await replica.handle(asked(authorize()), asked(started16()))
    assert [one.decision.status for one in told.answers.values()] == [S.UNKNOWN, S.UNKNOWN]


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


@pytest.mark.parametrize("silence", list(Silence))
async def test_a_16_start_is_always_answered(
    shelf: Shelf, clock: Clock, provider: Provider, silence: Silence
) -> None:
    """In silence too it is recorded, with a transactionId and a status (1.6 §4.8), and a doubt."""
    replica = replica_on(
        shelf, clock, policy=replace(ROAMING, silence=silence), authorizer=provider
    )
    provider.answer = None
    told = await through(replica, asked(started16()))
    assert told.answer.transaction_id is not None
    expected = S.ACCEPTED if silence is Silence.ACCEPT else S.NOT_AT_THIS_TIME
    assert told.answer.decision.status is expected
    ((word, _, event),) = told.events
    assert word == "started"
    assert (event.authorization, event.doubts) == (expected, ("unconfirmed_token",))


async def test_a_charge_in_16_of_an_unknown_token(roaming: Replica) -> None:
    """Start by way of the other system, stop without it: one transaction with its token."""
    told = await through(roaming, asked(started16()))
    assert told.answer.decision.status is S.ACCEPTED
    number = told.answer.transaction_id
    again = await roaming.handle(asked(started16()))
    assert again.answer.transaction_id == number
    stop = await roaming.handle(asked(stopped16(number, NOW + HOUR)))
    assert stop.events[0][0] == "ended"
    (record,) = await roaming.records()
    assert record.token is not None
    assert record.token.token_ref == KEY.ref("", CARD)
    assert record.token.status is S.ACCEPTED


async def test_a_stop_does_not_wait_for_another_system(
    roaming: Replica, provider: Provider, clock: Clock
) -> None:
    """A token that was accepted in a transaction is not asked about again in it (C12.FR.03)."""
    started = said(Phase.STARTED, NOW, 0, id_token=card())
    assert (await through(roaming, asked(started))).answer.decision.status is S.ACCEPTED
    clock.time = NOW + 8 * HOUR
    ended = said(Phase.ENDED, clock.time, 1, id_token=card())
    told = await roaming.handle(asked(ended))
    assert told.answer.decision.status is S.ACCEPTED
    assert len(provider.asked) == 1


async def test_messages_of_a_session_in_any_order(roaming: Replica) -> None:
    """What overtakes the start on the quick topic ends in the same record."""
    start = asked(said(Phase.STARTED, NOW, 0, id_token=card()))
    later = asked(said(Phase.UPDATED, NOW + MINUTE, 1))
    end = asked(said(Phase.ENDED, NOW + HOUR, 2))
    waiting = await roaming.pass_on(start)
    await roaming.handle(later, end)
    told = await roaming.hear(*waiting)
    assert told.answer.decision.status is S.ACCEPTED
    (record,) = await roaming.records()
    assert record.start is not None
    assert record.stop is not None
    assert record.token is not None
    assert record.seqs == ((0, 2),)


async def test_a_fact_is_passed_on_without_an_asker(roaming: Replica) -> None:
    """A transaction that comes from the dead letters is asked about and recorded all the same."""
    event = asked(started16())
    event.asking = None
    (waiting,) = await roaming.pass_on(event)
    await roaming.hear(waiting)
    assert len(await roaming.records()) == 1


async def test_a_redelivery_gets_the_same_answer(
    roaming: Replica, shelf: Shelf, clock: Clock, provider: Provider
) -> None:
    """Killed between store and reply: another replica answers the same, with one effect."""
    waiting = await roaming.pass_on(asked(started16()))
    first = await roaming.hear(*waiting)
    provider.answer = None
    other = replica_on(shelf, clock, policy=ROAMING, authorizer=provider)
    again = await other.hear(*waiting)
    assert first.answer == again.answer
    assert first.events == again.events
    assert len(await other.records()) == 1


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


async def test_the_limit_of_concurrent_transactions(
    shelf: Shelf, clock: Clock, provider: Provider
) -> None:
    """The operator's limit for tokens that set none holds for other providers' tokens too."""
    policy = replace(ROAMING, default_max_concurrent=1)
    replica = replica_on(shelf, clock, policy=policy, authorizer=provider)
    first = await through(replica, asked(started16()))
    second = await through(replica, asked(started16(station_id="CS-2")))
    assert first.answer.decision.status is S.ACCEPTED
    assert second.answer.decision.status is S.CONCURRENT_TX


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


async def test_a_token_that_is_registered_meanwhile_is_the_operators(roaming: Replica) -> None:
    """What is registered goes before what was remembered."""
    await through(roaming, asked(authorize()))
    await roaming.token(expires_at=NOW - DAY)
    told = await roaming.handle(asked(authorize()))
    assert told.answer.decision.status is S.EXPIRED


async def test_a_registered_token_may_be_for_another_system(
    roaming: Replica, provider: Provider
) -> None:
    """OCPI whitelist NEVER on a registered token: its provider is asked each time as well."""
    await roaming.token(whitelist=Whitelist.NEVER, language="sv")
    told = await through(roaming, asked(authorize()))
    assert (told.answer.decision.status, told.answer.decision.language) == (S.ACCEPTED, "sv")
    assert told.answer.decision.cache_expiry == NOW
    started = await roaming.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    assert started.answer.decision.status is S.ACCEPTED
    provider.answer = ProviderAuthorizeAnswer(allowed=Allowed.NO_CREDIT, keep=Keep.ALWAYS)
    told = await through(roaming, asked(authorize()))
    assert told.answer.decision.status is S.NO_CREDIT
    assert len(provider.asked) == 2


async def test_what_is_refused_here_is_not_asked_about(
    roaming: Replica, provider: Provider
) -> None:
    """Blocked here is blocked, whatever another system would say."""
    await roaming.token(whitelist=Whitelist.NEVER, status=TokenStatus.BLOCKED)
    told = await roaming.handle(asked(authorize()))
    assert told.answer.decision.status is S.BLOCKED
    assert provider.asked == []


async def test_never_without_an_external_authorizer(replica: Replica) -> None:
    """Nobody can be asked: the registration decides."""
    await replica.token(whitelist=Whitelist.NEVER)
    told = await replica.handle(asked(authorize()))
    assert told.answer.decision.status is S.ACCEPTED


async def test_the_agreement_of_such_a_token_holds(roaming: Replica) -> None:
    """Its limits are the agreement's; its charge names the agreement."""
    await roaming.token(whitelist=Whitelist.NEVER)
    await roaming.shelf.put_agreements([terms(limits=Limits(max_concurrent=1))])
    first = await through(roaming, asked(started16(id_token=card())))
    second = await through(roaming, asked(started16(id_token=card(), station_id="CS-2")))
    assert first.answer.decision.status is S.ACCEPTED
    assert first.events[0][2].agreement_id == "agr-1"
    assert second.answer.decision.status is S.CONCURRENT_TX


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


async def test_no_answer_is_kept_of_a_contract_in_another_spelling(
    roaming: Replica, provider: Provider
) -> None:
    """It would outlive the token's erasure: it is asked for again instead, and decides now."""
    await roaming.token("NLTNMC00122045K", "eMAID", whitelist=Whitelist.NEVER)
    spelled = card("NL-TNM-C00122045-K", "")
    told = await through(roaming, asked(authorize(spelled, protocol=Protocol.OCPP16)))
    assert told.answer.decision.status is S.ACCEPTED
    told = await through(roaming, asked(started16(id_token=spelled)))
    assert told.answer.decision.status is S.ACCEPTED
    assert len(provider.asked) == 2


async def test_the_providers_reference_is_on_the_charge(
    roaming: Replica, provider: Provider
) -> None:
    """OCPI authorization_reference: kept with the transaction, for whoever settles with it."""
    provider.answer = ProviderAuthorizeAnswer(
        allowed=Allowed.ALLOWED, authorization_reference="auth-8f2c"
    )
    await through(roaming, asked(authorize()))
    start = await roaming.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    assert start.events[0][2].authorization_reference == "auth-8f2c"
    end = await roaming.handle(asked(said(Phase.ENDED, NOW + HOUR, 1, id_token=card())))
    assert end.events[0][2].authorization_reference == "auth-8f2c"


@pytest.mark.parametrize("reference", [f"auth-{CARD.lower()}", "x" * 37, ""])
async def test_a_reference_that_is_not_told(
    roaming: Replica, provider: Provider, reference: str
) -> None:
    """One with the token in it would make a public event readable; a longer one is no OCPI."""
    provider.answer = ProviderAuthorizeAnswer(
        allowed=Allowed.ALLOWED, authorization_reference=reference
    )
    told = await through(roaming, asked(started16(id_token=card())))
    assert told.answer.decision.status is S.ACCEPTED
    assert told.events[0][2].authorization_reference is None

"""What a record must not depend on: when something came, and who else was busy (rules B)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    REF,
    STATION,
    asked,
    card,
    of_stations,
    register,
    said,
    started16,
    stopped16,
)
from auth.conftest import replica_on
from voltbus_auth.transactions.domain.account import doubts
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.registry import METER_VALUES
from voltbus_backbone.contract.stations import MeterValuesReported
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from auth.conftest import Clock, Replica, Shelf
    from voltbus_backbone.bus.envelope import Event

S = AuthorizationStatus
FELL = ("register_backwards",)


def values(transaction_id: int, at: datetime, wh: float) -> Event:
    """A 1.6 MeterValues as the gateway tells it."""
    message = MeterValuesReported(
        station_id=STATION,
        protocol=Protocol.OCPP16,
        at=at,
        samples=(register(wh, at),),
        connector_id=1,
        transaction_id=str(transaction_id),
    )
    return of_stations(METER_VALUES.name, message)


def session(at: datetime, count: int, wire_id: str = "0") -> list[Event]:
    """A 2.x session of so many messages, ten minutes apart."""
    phases = [Phase.STARTED, *[Phase.UPDATED] * (count - 2), Phase.ENDED]
    return [
        asked(said(phase, at + number * 10 * MINUTE, number, transaction_id=wire_id))
        for number, phase in enumerate(phases)
    ]


async def between(replica: Replica) -> tuple[int, Event]:
    """A 1.6 charge that has told its first and last reading, and a lower one from between."""
    start = await replica.handle(asked(started16()))
    number = start.answer.transaction_id
    await replica.measure(values(number, NOW + 10 * MINUTE, 3000))
    await replica.measure(values(number, NOW + 30 * MINUTE, 4000))
    return number, values(number, NOW + 20 * MINUTE, 2000)


async def test_a_reading_between_others_after_the_end(replica: Replica, clock: Clock) -> None:
    """It moves neither the first nor the last, and shows all the same that the register fell."""
    clock.time = NOW + 2 * HOUR
    number, middle = await between(replica)
    stop = await replica.handle(asked(stopped16(number, NOW + HOUR)))
    assert stop.events[0][2].doubts == ()
    told = await replica.measure(middle)
    assert [(word, event.doubts) for word, _, event in told.events] == [("corrected", FELL)]
    again = await replica_on(replica.shelf, clock).measure(middle)
    assert [one[:2] for one in again.events] == [one[:2] for one in told.events]


async def test_a_resent_reading_is_not_told_again(replica: Replica, clock: Clock) -> None:
    """A station's own resend of meter values, before and after the end, causes no event."""
    clock.time = NOW + 2 * HOUR
    start = await replica.handle(asked(started16()))
    number = start.answer.transaction_id
    first = values(number, NOW + 10 * MINUTE, 3000)
    assert len((await replica.measure(first)).events) == 1
    assert (await replica.measure(values(number, NOW + 10 * MINUTE, 3000))).events == []
    await replica.handle(asked(stopped16(number, NOW + HOUR)))
    assert (await replica.measure(values(number, NOW + 10 * MINUTE, 3000))).events == []


@pytest.mark.parametrize("turns", range(-6, 7))
async def test_a_reading_between_others_while_it_ends(
    shelf: Shelf, clock: Clock, turns: int
) -> None:
    """Meter values and the stop at two replicas at once: whoever is first, the doubt is seen."""
    clock.time = NOW + 2 * HOUR
    replica = replica_on(shelf, clock)
    number, middle = await between(replica)

    async def stop() -> None:
        for _ in range(turns):
            await asyncio.sleep(0)
        await replica.handle(asked(stopped16(number, NOW + HOUR)))

    async def measure() -> None:
        for _ in range(-turns):
            await asyncio.sleep(0)
        await replica_on(shelf, clock).measure(middle)

    await asyncio.gather(stop(), measure())
    (record,) = await replica.records()
    assert record.stop is not None
    assert doubts(record) == FELL


async def test_many_messages_in_one_batch_and_a_crash(replica: Replica, clock: Clock) -> None:
    """However many changes one batch made, all of them are told again under the same ids."""
    clock.time = NOW + 2 * HOUR
    number = (await replica.handle(asked(started16()))).answer.transaction_id
    batch = [values(number, NOW + n * MINUTE, 1000 + n) for n in range(1, 41)]
    told = await replica.measure(*batch)
    assert len(told.events) == 40
    again = await replica_on(replica.shelf, clock).measure(*batch)
    assert [one[:2] for one in again.events] == [one[:2] for one in told.events]


async def test_changes_are_forgotten_in_time(replica: Replica, clock: Clock) -> None:
    """A record does not grow with the session: what was told a minute ago is committed."""
    number = (await replica.handle(asked(started16()))).answer.transaction_id
    for n in range(1, 101):
        clock.time = NOW + n * MINUTE
        await replica.measure(values(number, clock.time, 1000 + n))
    (record,) = await replica.records()
    assert (record.revision, len(record.recent)) == (101, 24)


@pytest.mark.parametrize("order", [(1, 2, 3, 0), (3, 2, 1, 0), (1, 0, 2, 3), (2, 1, 0, 3)])
async def test_the_next_use_of_an_id_in_any_order(replica: Replica, order: tuple[int, ...]) -> None:
    """A start that had to wait is overtaken by the rest of its session: two uses, two records."""
    await replica.handle(*session(NOW, 3))
    following = session(NOW + DAY, 4)
    for index in order:
        await replica.handle(following[index])
    records = sorted(await replica.records(), key=lambda record: record.first_at)
    assert [record.seqs for record in records] == [((0, 2),), ((0, 3),)]
    assert all(record.start and record.stop and not record.flags for record in records)


async def test_who_only_stops_does_not_pay(replica: Replica) -> None:
    """1.6: an unknown tag starts, a member of staff stops: nobody's agreement is charged."""
    await replica.token()
    start = await replica.handle(asked(started16(id_token=card("UNKNOWN9", ""))))
    assert start.answer.decision.status is S.UNKNOWN
    number = start.answer.transaction_id
    stop = await replica.handle(asked(stopped16(number, NOW + HOUR, id_token=card(kind=""))))
    assert stop.answer.decision.status is S.ACCEPTED
    ended = stop.events[0][2]
    assert (ended.authorization, ended.token_ref == REF) == (S.UNKNOWN, False)


@pytest.mark.parametrize("reverse", [False, True])
async def test_stop_authorized_does_not_pay(replica: Replica, *, reverse: bool) -> None:
    """2.x: a token presented to stop (StopAuthorized, C16) says who stopped, in any order."""
    await replica.token()
    messages = [
        asked(said(Phase.STARTED, NOW, 0, id_token=card("UNKNOWN9"))),
        asked(said(Phase.UPDATED, NOW + HOUR, 1, trigger="StopAuthorized", id_token=card())),
        asked(said(Phase.ENDED, NOW + HOUR, 2, id_token=card())),
    ]
    for message in reversed(messages) if reverse else messages:
        await replica.handle(message)
    (record,) = await replica.records()
    assert record.token is not None
    assert (record.token.status, record.token.token_ref == REF) == (S.UNKNOWN, False)


async def test_a_stop_is_all_that_is_known(replica: Replica) -> None:
    """Where no start ever comes, the token that stopped is the only one there is."""
    await replica.token()
    told = await replica.handle(asked(stopped16(-1, NOW, id_token=card(kind=""))))
    assert told.events[0][2].token_ref == REF


async def test_a_slow_clock_does_not_revive_a_card(replica: Replica, clock: Clock) -> None:
    """2.x: what is not from offline is judged by our time when its clock is days behind (C17)."""
    await replica.token(expires_at=NOW)
    clock.time = NOW + 10 * DAY
    live = said(Phase.STARTED, NOW - DAY, 0, id_token=card())
    assert (await replica.handle(asked(live))).answer.decision.status is S.EXPIRED
    offline = said(
        Phase.STARTED, NOW - DAY, 0, transaction_id="tx-2", id_token=card(), offline=True
    )
    assert (await replica.handle(asked(offline))).answer.decision.status is S.ACCEPTED


async def test_sent_again_after_an_outage(replica: Replica, clock: Clock) -> None:
    """2.x: a live start that only got through hours later is judged by the time it began."""
    await replica.token(expires_at=NOW + MINUTE)
    clock.time = NOW + 5 * HOUR
    told = await replica.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    assert told.answer.decision.status is S.ACCEPTED


async def test_an_id_used_again_when_its_past_is_forgotten(shelf: Shelf, clock: Clock) -> None:
    """Its events have other ids than those of the forgotten use, so no subscriber drops them."""
    kept = 30 * DAY
    refs = set()
    for start in (NOW, NOW + 400 * DAY):
        clock.time = start
        replica = replica_on(shelf, clock, kept=kept)
        told = await replica.handle(asked(said(Phase.STARTED, start, 0, transaction_id="1")))
        refs.add(told.events[0][2].transaction_ref)
        await shelf.forget_transactions()
    assert len(refs) == 2

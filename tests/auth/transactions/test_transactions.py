"""A charge from its start to its end, on both stores, whatever comes late or again (rules B)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest

from auth.auth_examples import (
    CARD,
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
    terms,
)
from auth.conftest import replica_on
from auth.memory_store import MemoryStore, overtaken
from voltbus_auth.tokens.domain.token import TokenStatus
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.registry import METER_VALUES
from voltbus_backbone.contract.stations import MeterValuesReported
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from auth.conftest import Clock, Replica, Shelf
    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.contract.values import Sample

S = AuthorizationStatus
OTHER = "CS-2"
SECOND = "04B0B1B2B3B4B5"


async def test_a_charge_in_16(replica: Replica) -> None:
    """Start, meter values, stop: one record, energy from the registers, three kinds of events."""
    await replica.token()
    await replica.shelf.put_agreements([terms()])
    start = await replica.handle(asked(started16()))
    assert start.answer.decision.status is S.ACCEPTED
    number = start.answer.transaction_id
    assert 0 < number < 2**31
    metered = await replica.measure(values(number, NOW + MINUTE, 2000))
    stop = await replica.handle(asked(stopped16(number, NOW + HOUR)))
    assert stop.answer.decision is None
    words = [told.events[0][0] for told in (start, metered, stop)]
    assert words == ["started", "updated", "ended"]
    ended = stop.events[0][2]
    assert (ended.energy_wh, ended.energy_source) == (5000, "register")
    assert (ended.token_ref, ended.agreement_id) == (REF, "agr-1")
    assert ended.transaction_id == str(number)
    assert [told.events[0][2].revision for told in (start, metered, stop)] == [1, 2, 3]
    assert metered.events[0][2].energy_wh == 1000
    assert len(await replica.records()) == 1


async def test_a_charge_in_2x(replica: Replica) -> None:
    """Started, Updated, Ended of 2.x: energy from the samples marked as begin and end."""
    await replica.token()
    begin = register(1.5, NOW, "Transaction.Begin")
    end = register(9.25, NOW + HOUR, "Transaction.End")
    messages = [
        said(Phase.STARTED, NOW, 0, id_token=card(), samples=(kilo(begin),)),
        said(Phase.UPDATED, NOW + MINUTE, 1, charging_state="Charging"),
        said(Phase.ENDED, NOW + HOUR, 2, samples=(kilo(end),), stopped_reason="EVDisconnected"),
    ]
    told = await replica.handle(*(asked(message) for message in messages))
    assert [word for word, _, _ in told.events] == ["started", "updated", "ended"]
    ended = told.events[-1][2]
    assert (ended.energy_wh, ended.energy_source) == (7750, "register")
    assert (ended.charging_state, ended.stopped_reason) == ("Charging", "EVDisconnected")
    assert ended.missing_seq_nos == ()
    assert ended.doubts == ()


async def test_resent_start_keeps_its_id(replica: Replica, clock: Clock) -> None:
    """The same start again, days later under a new message id: same transactionId, no event."""
    await replica.token()
    first = await replica.handle(asked(started16()))
    clock.time = NOW + 3 * DAY
    again = await replica_on(replica.shelf, clock).handle(asked(started16()))
    assert again.answer.transaction_id == first.answer.transaction_id
    assert again.answer.decision.status is S.ACCEPTED
    assert again.events == []
    assert len(await replica.records()) == 1


async def test_killed_between_store_and_reply(replica: Replica, clock: Clock) -> None:
    """The same records after a restart: same answers, same event ids, one effect (design 4)."""
    await replica.token(max_concurrent=1)
    batch = [
        asked(started16(), offset=500),
        asked(said(Phase.STARTED, NOW, 0, station_id=OTHER), offset=501),
        asked(said(Phase.UPDATED, NOW + MINUTE, 1, station_id=OTHER), offset=502),
        asked(said(Phase.ENDED, NOW + HOUR, 2, station_id=OTHER), offset=503),
    ]
    first = await replica.handle(*batch)
    again = await replica_on(replica.shelf, clock).handle(*batch)
    assert again.answers == first.answers
    assert [(word, name) for word, name, _ in again.events] == [
        (word, name) for word, name, _ in first.events
    ]
    assert {record.revision for record in await replica.records()} == {1, 3}


async def test_refused_start_is_recorded(replica: Replica) -> None:
    """1.6 §4.8: a refused token still gets a transactionId, recorded with its refusal."""
    told = await replica.handle(asked(started16(id_token=card("04FF", ""))))
    assert told.answer.transaction_id is not None
    assert told.answer.decision.status is S.UNKNOWN
    assert told.events[0][2].authorization is S.UNKNOWN


async def test_every_presented_token_is_verified_again(replica: Replica) -> None:
    """C12.FR.03, E05.FR.01: a token in an update or a stop is answered as well."""
    token = await replica.token()
    await replica.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    await replica.shelf.change_token(replace(token, status=TokenStatus.BLOCKED))
    told = await replica.handle(asked(said(Phase.UPDATED, NOW + MINUTE, 1, id_token=card())))
    assert told.answer.decision.status is S.BLOCKED
    (record,) = await replica.records()
    assert record.token is not None
    assert record.token.status is S.ACCEPTED


async def test_token_presented_after_plugging_in(replica: Replica) -> None:
    """2.x may start without a token; the first one that is presented is the transaction's."""
    await replica.token()
    told = await replica.handle(asked(said(Phase.STARTED, NOW, 0)))
    assert told.answer.decision is None
    told = await replica.handle(asked(said(Phase.UPDATED, NOW + MINUTE, 1, id_token=card())))
    assert told.events[0][2].token_ref == REF


async def test_no_authorization_leaves_no_token(replica: Replica) -> None:
    """C02: type NoAuthorization is Accepted, and nobody is recorded as the driver."""
    told = await replica.handle(
        asked(said(Phase.STARTED, NOW, 0, id_token=card("", "NoAuthorization")))
    )
    assert told.answer.decision.status is S.ACCEPTED
    assert told.events[0][2].token_ref is None


async def test_stop_without_start(replica: Replica) -> None:
    """A stop for an id that we never gave is confirmed and recorded, with its doubt."""
    told = await replica.handle(asked(stopped16(-1, NOW)))
    assert told.answer.decision is None
    word, _, ended = told.events[0]
    assert (word, ended.doubts) == ("ended", ("no_energy", "no_start", "no_start_register"))
    await replica.handle(asked(stopped16(-1, NOW)))
    assert len(await replica.records()) == 1
    await replica.handle(asked(stopped16(-1, NOW + DAY)))
    assert len(await replica.records()) == 2


async def test_ids_reused_after_a_reboot(replica: Replica) -> None:
    """A 2.x station that counts from "0" again after a reboot makes new transactions."""
    for day in range(7):
        at = NOW + day * DAY
        await replica.handle(
            asked(said(Phase.STARTED, at, 0, transaction_id="0")),
            asked(said(Phase.UPDATED, at + MINUTE, 1, transaction_id="0")),
            asked(said(Phase.ENDED, at + HOUR, 2, transaction_id="0")),
        )
    late = NOW + 4 * DAY + MINUTE
    await replica.handle(asked(said(Phase.UPDATED, late, 1, transaction_id="0")))
    records = await replica.records()
    assert [record.revision for record in records] == [3] * 7


async def test_reused_id_without_an_end(replica: Replica) -> None:
    """A reboot in mid-charge: the new Started is a new transaction though the old never ended."""
    await replica.handle(asked(said(Phase.STARTED, NOW, 0, transaction_id="0")))
    told = await replica.handle(asked(said(Phase.STARTED, NOW + DAY, 0, transaction_id="0")))
    assert told.events[0][0] == "started"
    assert len(await replica.records()) == 2


async def test_late_message_corrects(replica: Replica) -> None:
    """A message that comes after the end and tells something new corrects the record."""
    await replica.handle(
        asked(said(Phase.STARTED, NOW, 0)), asked(said(Phase.ENDED, NOW + HOUR, 2))
    )
    (record,) = await replica.records()
    told = await replica.handle(asked(said(Phase.UPDATED, NOW + MINUTE, 1)))
    word, name, corrected = told.events[0]
    assert (word, name) == ("corrected", f"{record.ref}:3")
    assert (corrected.state, corrected.missing_seq_nos) == ("ended", ())


async def test_gap_in_sequence_numbers(replica: Replica) -> None:
    """Sequence numbers that never came are shown."""
    told = await replica.handle(
        asked(said(Phase.STARTED, NOW, 0)), asked(said(Phase.ENDED, NOW + HOUR, 4))
    )
    assert told.events[-1][2].missing_seq_nos == (1, 2, 3)


@pytest.mark.parametrize("late", [False, True])
async def test_register_that_went_back(replica: Replica, *, late: bool) -> None:
    """A register that fell between two messages is doubted at the end, also when told late."""
    start = await replica.handle(asked(started16()))
    number = start.answer.transaction_id
    readings = [
        values(number, NOW + MINUTE, 3000),
        values(number, NOW + 2 * MINUTE, 2000),
        values(number, NOW + 3 * MINUTE, 4000),
    ]
    if late:
        await replica.measure(readings[1])
    else:
        for reading in readings:
            await replica.measure(reading)
    told = await replica.handle(asked(stopped16(number, NOW + HOUR)))
    if late:
        assert told.events[0][2].doubts == ()
        told = await replica.measure(readings[2])
        assert told.events[0][2].doubts == ()
        told = await replica.measure(readings[0])
        assert told.events[0][0] == "corrected"
    assert told.events[0][2].doubts == ("register_backwards",)


async def test_empty_transaction_id(replica: Replica) -> None:
    """The schema of 2.x allows an empty transaction id: it is one like any other."""
    for message in (
        said(Phase.STARTED, NOW, 0, transaction_id=""),
        said(Phase.UPDATED, NOW + MINUTE, 1, transaction_id=""),
        said(Phase.ENDED, NOW + HOUR, 2, transaction_id=""),
    ):
        await replica.handle(asked(message))
    (record,) = await replica.records()
    assert record.revision == 3


async def test_late_message_of_a_forgotten_use(replica: Replica) -> None:
    """A message long before every known use of its id is none of theirs."""
    await replica.handle(asked(said(Phase.STARTED, NOW, 0, transaction_id="0")))
    late = said(Phase.UPDATED, NOW - 9 * DAY, 4, transaction_id="0")
    await replica.handle(asked(late))
    assert [record.revision for record in await replica.records()] == [1, 1]


async def test_sub_millisecond_times(replica: Replica) -> None:
    """A start with microseconds is the same start when it is sent again (design 9)."""
    at = NOW + timedelta(microseconds=123_456)
    first = await replica.handle(asked(started16(at)))
    again = await replica.handle(asked(started16(at)))
    assert first.answer.transaction_id == again.answer.transaction_id
    await replica.handle(asked(said(Phase.STARTED, at, 0)), asked(said(Phase.STARTED, at, 0)))
    assert len(await replica.records()) == 2


async def test_numbers_beyond_reason(replica: Replica) -> None:
    """A meter of 10^30 Wh is recorded as unknown, and the station still gets its answer."""
    told = await replica.handle(asked(started16(meter_wh=10**30)))
    assert told.answer.transaction_id is not None
    assert told.events[0][2].meter_start_wh is None


async def test_the_accepted_token_charges(replica: Replica) -> None:
    """A refused card, then an accepted one in the same transaction: the accepted one pays."""
    await replica.token(max_concurrent=1)
    refused = said(Phase.STARTED, NOW, 0, id_token=card("04FF"))
    told = await replica.handle(asked(refused))
    assert told.events[0][2].authorization is S.UNKNOWN
    told = await replica.handle(asked(said(Phase.UPDATED, NOW + MINUTE, 1, id_token=card())))
    assert told.answer.decision.status is S.ACCEPTED
    changed = told.events[0][2]
    assert (changed.token_ref, changed.authorization) == (REF, S.ACCEPTED)
    other = await replica.handle(asked(started16(station_id=OTHER)))
    assert other.answer.decision.status is S.CONCURRENT_TX


@pytest.mark.parametrize(
    ("value", "expected"),
    [(CARD, S.BLOCKED), (SECOND, S.NOT_AT_THIS_TIME), ("04FF", S.UNKNOWN)],
)
async def test_another_token_on_a_deauthorised_transaction(
    replica: Replica, value: str, expected: S
) -> None:
    """C01.FR.24: a second token that would be accepted comes too late; others keep their status."""
    token = await replica.token(max_concurrent=1)
    await replica.token(SECOND)
    await replica.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    await replica.shelf.change_token(replace(token, status=TokenStatus.BLOCKED))
    over = said(Phase.UPDATED, NOW + MINUTE, 1, trigger="Deauthorized")
    later = said(Phase.UPDATED, NOW + 2 * MINUTE, 2, id_token=card(value))
    told = await replica.handle(asked(over), asked(later))
    assert [one.decision.status for one in told.answers.values() if one.decision] == [expected]
    (record,) = await replica.records()
    assert record.token is not None
    assert (record.token.token_ref, record.deauthorized_at) == (REF, NOW + MINUTE)


async def test_another_token_before_it_was_deauthorised(replica: Replica) -> None:
    """What was presented before the deauthorisation is judged by itself, even if it comes late."""
    await replica.token()
    await replica.token(SECOND)
    await replica.handle(asked(said(Phase.STARTED, NOW, 0, id_token=card())))
    over = said(Phase.UPDATED, NOW + HOUR, 2, trigger="Deauthorized")
    await replica.handle(asked(over))
    late = said(Phase.UPDATED, NOW + MINUTE, 1, id_token=card(SECOND))
    assert (await replica.handle(asked(late))).answer.decision.status is S.ACCEPTED
    anew = said(Phase.STARTED, NOW + 2 * HOUR, 0, transaction_id="another", id_token=card(SECOND))
    assert (await replica.handle(asked(anew))).answer.decision.status is S.ACCEPTED


async def test_overtaken_by_another_replica(memory: MemoryStore, clock: Clock) -> None:
    """A write that finds the record changed folds again; nothing is lost (CAS by revision)."""
    replica = replica_on(memory, clock)
    await replica.handle(asked(said(Phase.STARTED, NOW, 0)))
    (record,) = memory.transactions.values()
    memory.before_write.append([overtaken(record, "other:1:1")])
    told = await replica.handle(asked(said(Phase.ENDED, NOW + HOUR, 1)))
    assert told.events[0][1] == f"{record.ref}:3"
    (after,) = memory.transactions.values()
    assert (after.revision, after.stop is not None) == (3, True)


async def test_two_replicas_change_one_record(shelf: Shelf, clock: Clock) -> None:
    """Meter values and TransactionEvents at the same time: every one of them is in the record."""
    replica = replica_on(shelf, clock)
    await replica.handle(asked(said(Phase.STARTED, NOW, 0)))
    await asyncio.gather(
        *(
            replica_on(shelf, clock).handle(asked(said(Phase.UPDATED, NOW + n * MINUTE, n)))
            for n in range(1, 6)
        )
    )
    (record,) = await replica.records()
    assert record.seqs == ((0, 5),)
    assert record.revision == 6


async def test_meter_values_of_nobody(replica: Replica) -> None:
    """Meter values outside transactions, or of an id that we never gave, are passed over."""
    told = await replica.measure(values(None, NOW, 5), values(4711, NOW, 5))
    assert told.events == []
    assert await replica.records() == []


def values(transaction_id: int | None, at: datetime, wh: float) -> Event:
    """A 1.6 MeterValues as the gateway tells it."""
    message = MeterValuesReported(
        station_id=STATION,
        protocol=Protocol.OCPP16,
        at=at,
        samples=(register(wh, at),),
        connector_id=1,
        transaction_id=str(transaction_id) if transaction_id is not None else None,
    )
    return of_stations(METER_VALUES.name, message)


def kilo(sample: Sample) -> Sample:
    """The same sample in kWh."""
    return msgspec.structs.replace(sample, unit="kWh")

"""A transaction whose end was lost is seen to be over, frees its driver, and is told (ADR 0014)."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from itertools import permutations
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auth.auth_examples import (
    HOUR,
    MINUTE,
    NOW,
    STATION,
    asked,
    authorize,
    card,
    of_stations,
    register,
    said,
    started16,
    stopped16,
)
from auth.conftest import closer_on, replica_on
from voltbus_auth.transactions.domain.account import doubts
from voltbus_auth.transactions.domain.record import OPERATOR, Closed, fold, open_record
from voltbus_auth.transactions.domain.superseding import (
    after_available,
    after_boot,
    after_start,
    evidence,
    mark,
)
from voltbus_backbone.bus.envelope import timestamp
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.registry import METER_VALUES, STATION_BOOTED, STATUS_REPORTED
from voltbus_backbone.contract.stations import (
    MeterValuesReported,
    StationBooted,
    StatusReported,
)
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from auth.conftest import Clock, Replica, Served, Shelf
    from auth.memory_store import MemoryStore
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.contract.auth import TransactionMessage

S = AuthorizationStatus
OTHER = "CS-2"
UUID = "0b5b2c1a-7d6f-4c11-9a55-0242ac120002"


def arrived(event: Event, at: datetime) -> Event:
    """The event as it reached us then."""
    return msgspec.structs.replace(event, time=timestamp(at))


def sent(message: TransactionMessage, at: datetime | None = None) -> Event:
    """A transaction message that reached us when it was sent, or then."""
    return arrived(asked(message), at or message.at)


def boot(at: datetime, **fields: Any) -> Event:
    """The station booted then."""
    message = StationBooted(
        **{
            "station_id": STATION,
            "protocol": Protocol.OCPP16,
            "status": "Accepted",
            "at": at,
            **fields,
        }
    )
    return arrived(of_stations(STATION_BOOTED.name, message), at)


def status(word: str, at: datetime, **fields: Any) -> Event:
    """A connector's state."""
    message = StatusReported(
        **{
            "station_id": STATION,
            "protocol": Protocol.OCPP16,
            "status": word,
            "at": at,
            "connector_id": 1,
            **fields,
        }
    )
    return arrived(of_stations(STATUS_REPORTED.name, message), at)


def values(at: datetime, wh: float, transaction_id: str | None = None) -> Event:
    """MeterValues of 1.6."""
    message = MeterValuesReported(
        station_id=STATION,
        protocol=Protocol.OCPP16,
        at=at,
        samples=(register(wh, at),),
        connector_id=1,
        transaction_id=transaction_id,
    )
    return arrived(of_stations(METER_VALUES.name, message), at)


async def charging(replica: Replica) -> str:
    """A driver with one place charges here; the transaction's id."""
    await replica.token(max_concurrent=1)
    told = await replica.handle(sent(started16()))
    assert told.answer.decision.status is S.ACCEPTED
    return str(told.answer.transaction_id)


async def may_start_elsewhere(replica: Replica, at: datetime) -> tuple[S, S]:
    """What Authorize and then a start say of the driver at another station."""
    asking = authorize(card(kind=""), station_id=OTHER, protocol=Protocol.OCPP16, at=at)
    says = (await replica.handle(asked(asking))).answer.decision.status
    start = await replica.handle(sent(started16(at, station_id=OTHER)))
    return says, start.answer.decision.status


async def show(replica: Replica) -> tuple[str, ...]:
    """The doubts of the station's first transaction."""
    records = [record for record in await replica.records() if record.station_id == STATION]
    return doubts(min(records, key=lambda record: record.first_at))


@pytest.mark.parametrize(
    "after",
    [
        [boot(NOW + HOUR)],
        [boot(NOW + HOUR), status("Available", NOW + HOUR + MINUTE)],
        [status("Available", NOW + HOUR)],
        [boot(NOW + HOUR), boot(NOW + 2 * HOUR)],
    ],
    ids=["boot", "boot, available", "available", "two boots"],
)
async def test_a_station_that_crashed_frees_its_driver(
    replica: Replica, clock: Clock, after: list[Event]
) -> None:
    """Started, crash, boot or Available without a stop: superseded; the next start is accepted.

    ConcurrentTx is for starts only (1.6 §7.2, 2.0.1 AuthorizationStatusEnumType), and they agree.
    """
    await charging(replica)
    clock.time = NOW + 3 * HOUR
    told = await replica.measure(*after)
    word, _, event = told.events[0]
    assert (word, event.state, event.doubts) == ("updated", "active", ("superseded",))
    assert await may_start_elsewhere(replica, clock.time) == (S.ACCEPTED, S.ACCEPTED)


@pytest.mark.parametrize(
    "after",
    [
        [boot(NOW + HOUR, reason="Triggered", protocol=Protocol.OCPP201)],
        [status("Available", NOW + HOUR, connector_id=2)],
        [status("Available", NOW + HOUR, connector_id=0)],
        [status("Available", NOW - MINUTE)],
        [status("Preparing", NOW + HOUR), status("Faulted", NOW + HOUR)],
        [boot(NOW - MINUTE)],
    ],
    ids=["triggered", "other connector", "whole station", "before it", "not available", "older"],
)
async def test_what_does_not_show_that_it_is_over(
    replica: Replica, clock: Clock, after: list[Event]
) -> None:
    """A boot that was only asked for, another connector, an older state: it goes on."""
    await charging(replica)
    clock.time = NOW + 3 * HOUR
    assert (await replica.measure(*after)).events == []
    assert (await may_start_elsewhere(replica, clock.time))[1] is S.CONCURRENT_TX


async def test_an_available_connector_of_the_same_evse(replica: Replica) -> None:
    """2.x: an EVSE may have two connectors; the free one says nothing of the other."""
    await replica.handle(sent(said(Phase.STARTED, NOW, 0, connector_id=2)))
    free = {"protocol": Protocol.OCPP201, "evse_id": 1}
    at = NOW + HOUR
    assert (await replica.measure(status("Available", at, connector_id=1, **free))).events == []
    assert (await replica.measure(status("Available", at, connector_id=2, **free))).events != []


async def test_a_message_of_it_shows_that_it_goes_on(replica: Replica, clock: Clock) -> None:
    """2.x E05: a station resumes its transaction after a reboot; the place is taken again."""
    await replica.token(max_concurrent=1)
    await replica.handle(sent(said(Phase.STARTED, NOW, 0, id_token=card())))
    clock.time = NOW + HOUR
    await replica.measure(boot(clock.time, protocol=Protocol.OCPP201))
    assert await show(replica) == ("superseded",)
    clock.time += MINUTE
    resumed = said(Phase.UPDATED, clock.time, 1, trigger="AbnormalCondition")
    word, _, event = (await replica.handle(sent(resumed))).events[0]
    assert (word, event.state, event.doubts) == ("updated", "active", ())
    assert (await may_start_elsewhere(replica, clock.time))[1] is S.CONCURRENT_TX


async def test_a_state_of_16_shows_that_it_goes_on(replica: Replica, clock: Clock) -> None:
    """1.6: a station that boots with each connection, and still says Charging."""
    await charging(replica)
    clock.time = NOW + HOUR
    await replica.measure(boot(clock.time))
    clock.time += MINUTE
    told = await replica.measure(status("Charging", clock.time))
    assert [event.doubts for _, _, event in told.events] == [()]
    assert (await may_start_elsewhere(replica, clock.time))[1] is S.CONCURRENT_TX


async def test_a_late_stop_after_the_boot(replica: Replica, clock: Clock) -> None:
    """The queued stop comes after the boot: one ended transaction, no doubt left."""
    number = await charging(replica)
    clock.time = NOW + 2 * HOUR
    await replica.measure(boot(clock.time))
    told = await replica.handle(sent(stopped16(number, NOW + HOUR), clock.time + MINUTE))
    word, _, event = told.events[0]
    assert (word, event.state, event.energy_wh, event.doubts) == ("ended", "ended", 5000, ())


async def test_the_next_start_on_the_connector(replica: Replica, clock: Clock) -> None:
    """Another driver starts on an occupied connector: the one before is over, its driver free."""
    await charging(replica)
    await replica.token("04FF")
    clock.time = NOW + HOUR
    told = await replica.handle(sent(started16(clock.time, id_token=card("04FF", ""))))
    assert [(word, event.doubts) for word, _, event in told.events] == [
        ("started", ()),
        ("updated", ("superseded",)),
    ]
    assert (await may_start_elsewhere(replica, clock.time))[1] is S.ACCEPTED


async def test_two_at_once_on_one_connector(replica: Replica, clock: Clock) -> None:
    """The one before goes on after another has begun: both are kept, with a doubt."""
    number = await charging(replica)
    clock.time = NOW + HOUR
    await replica.handle(sent(started16(clock.time)))
    told = await replica.measure(values(clock.time + MINUTE, 1500, number))
    assert told.events[0][2].doubts == ("overlap",)


@pytest.mark.parametrize("order", list(permutations(range(4))))
async def test_a_start_that_comes_late_is_over(
    memory: MemoryStore, clock: Clock, order: tuple[int, ...]
) -> None:
    """Both starts and their messages in any order: the same records, the earlier superseded."""
    replica = replica_on(memory, clock)
    clock.time = NOW + 3 * HOUR
    messages = [
        said(Phase.STARTED, NOW, 0, transaction_id=UUID, id_token=card()),
        said(Phase.UPDATED, NOW + MINUTE, 1, transaction_id=UUID),
        said(Phase.STARTED, NOW + HOUR, 0, transaction_id="next", id_token=card()),
        said(Phase.UPDATED, NOW + HOUR + MINUTE, 1, transaction_id="next"),
    ]
    for index in order:
        await replica.handle(sent(messages[index], clock.time))
    earlier, later = sorted(await replica.records(), key=lambda record: record.first_at)
    assert earlier.replaced_at == NOW + HOUR
    assert "superseded" in doubts(earlier)
    assert "superseded" not in doubts(later)
    assert (earlier.seqs, later.seqs) == (((0, 1),), ((0, 1),))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.sampled_from("bsam"), st.integers(1, 9)), max_size=6), st.data())
def test_evidence_and_messages_in_any_order(
    told: list[tuple[str, int]], data: st.DataObject
) -> None:
    """Boots, starts, Availables and messages by two topics: the same is superseded in any order."""

    def apply(record: Record, kind: str, minute: int) -> Record:
        at = NOW + minute * MINUTE
        if kind == "m":
            return fold(record, said(Phase.UPDATED, at, minute), None, at)
        step = {"b": after_boot, "s": after_start, "a": after_available}[kind]
        return mark(record, step(record, at), NOW) or record

    first = said(Phase.STARTED, NOW, 0)
    begun = fold(open_record(first), first, None, NOW)
    orders = [told, data.draw(st.permutations(told))]
    found = []
    for order in orders:
        record = begun
        for kind, minute in order:
            record = apply(record, kind, minute)
        found.append((evidence(record), doubts(record), record.superseded_at is not None))
    assert found[0] == found[1]
    assert found[0][2] == bool(found[0][0])


@pytest.mark.stack
async def test_two_replicas_close_at_once(served: Served, clock: Clock) -> None:
    """Whoever is first tells the end, once."""
    await charging(replica_on(served.store, clock))
    clock.time = NOW + HOUR
    await replica_on(served.store, clock).measure(boot(clock.time))
    clock.time += 2 * HOUR
    closers = [closer_on(served.store, clock) for _ in range(2)]
    assert sum(await asyncio.gather(*(closer.look() for closer in closers))) == 1
    assert len(await served.events("transactions.events")) == 1


async def test_a_connector_that_repeats_itself(replica: Replica, clock: Clock) -> None:
    """Available each minute is one event, however often."""
    await charging(replica)
    clock.time = NOW + HOUR
    told = await replica.measure(*(status("Available", NOW + n * MINUTE) for n in range(1, 9)))
    assert [event.doubts for _, _, event in told.events] == [("superseded",)]


async def test_the_same_records_again(replica: Replica, clock: Clock) -> None:
    """Killed between storing and telling: the same events under the same ids (design 4)."""
    await charging(replica)
    clock.time = NOW + 2 * HOUR
    start = asked(started16(NOW + HOUR, id_token=card("04FF", "")), offset=900)
    first = await replica.handle(start)
    again = await replica_on(replica.shelf, clock).handle(start)
    assert [one[:2] for one in again.events] == [one[:2] for one in first.events]
    assert len(first.events) == 2
    number = next(r.wire_id for r in await replica.records() if "superseded" not in doubts(r))
    assert number
    booted = boot(NOW + 2 * HOUR)
    told = await replica.measure(booted)
    again = await replica_on(replica.shelf, clock).measure(booted)
    assert [one[:2] for one in again.events] == [one[:2] for one in told.events]


async def test_meter_values_without_a_transaction_id(replica: Replica, clock: Clock) -> None:
    """1.6 MeterValues may leave the id out: they belong to the only open one, with a note."""
    await charging(replica)
    clock.time = NOW + HOUR
    told = await replica.measure(values(NOW + MINUTE, 1500))
    (event,) = [event for _, _, event in told.events]
    assert (event.energy_wh, len(event.samples)) == (500, 1)
    assert event.repairs == (
        "meter values without a transactionId: taken for the only one open on the connector",
    )
    assert (await replica.measure(values(NOW - HOUR, 900))).events == []  # before it began
    await replica.handle(sent(started16(NOW + 2 * MINUTE)))
    assert (await replica.measure(values(NOW + 3 * MINUTE, 1600))).events == []  # of which one?


@pytest.mark.stack
async def test_told_as_ended_after_a_while(served: Served, clock: Clock) -> None:
    """After the policy time it ends with what was measured; its own stop still corrects that."""
    replica = replica_on(served.store, clock)
    closing = closer_on(served.store, clock)
    number = await charging(replica)
    await replica.measure(values(NOW + 30 * MINUTE, 4000, number))
    clock.time = NOW + HOUR
    await replica.measure(boot(clock.time))
    clock.time += timedelta(minutes=59)
    assert await closing.look() == 0
    clock.time += 2 * MINUTE
    assert await closing.look() == 1
    assert await closing.look() == 0
    (told,) = [event.decode() for event in await served.events("transactions.events")]
    assert (told.state, told.closed_by, told.energy_wh) == ("ended", "policy", 3000)
    assert (told.ended_at, told.doubts) == (NOW + 30 * MINUTE, ("superseded",))
    late = await replica.handle(sent(stopped16(number, NOW + HOUR), clock.time))
    word, _, event = late.events[0]
    assert (word, event.energy_wh, event.doubts, event.closed_by) == ("corrected", 5000, (), None)


@pytest.mark.stack
async def test_resumed_after_it_was_told_as_ended(served: Served, clock: Clock) -> None:
    """A message of it long after: it is open again, and can end by itself."""
    replica = replica_on(served.store, clock)
    number = await charging(replica)
    clock.time = NOW + HOUR
    await replica.measure(boot(clock.time))
    clock.time += 2 * HOUR
    assert await closer_on(served.store, clock).look() == 1
    told = await replica.measure(values(clock.time, 9000, number))
    assert [(word, event.state, event.doubts) for word, _, event in told.events] == [
        ("corrected", "active", ())
    ]
    ended = await replica.handle(sent(stopped16(number, clock.time + MINUTE, meter_wh=9500)))
    assert [(word, event.energy_wh) for word, _, event in ended.events] == [("ended", 8500)]


@pytest.mark.stack
async def test_closed_by_hand(served: Served, clock: Clock) -> None:
    """An operator closes a ghost: with who and why, kept as such; a late stop still corrects it."""
    replica = replica_on(served.store, clock)
    number = await charging(replica)
    (record,) = await replica.records()
    clock.time = NOW + HOUR
    path = f"/v1/transactions/{record.ref}/close"
    assert (await served.client.post(path, json={})).status_code == 422
    headers = {"Idempotency-Key": "once"}
    body = {"reason": "the station burnt down"}
    shown = (await served.client.post(path, json=body, headers=headers)).json()
    assert (shown["state"], shown["closed_by"]) == ("ended", "operator")
    assert shown["doubts"] == ["closed_by_operator", "no_energy"]
    assert shown["closed"]["reason"] == "the station burnt down"
    assert shown["closed"]["who"] == "local-operator"
    again = await served.client.post(path, json=body, headers=headers)
    assert again.json() == shown
    assert (await served.client.post(path, json=body)).status_code == 409
    assert (
        await served.client.post(f"/v1/transactions/{'0' * 26}/close", json=body)
    ).status_code == 404
    reader = served.as_operator("transactions:read")
    assert (await served.client.post(path, json=body, headers=reader)).status_code == 403
    assert (await may_start_elsewhere(replica, clock.time))[1] is S.ACCEPTED
    late = await replica.handle(sent(stopped16(number, NOW + HOUR)))
    assert (late.events[0][0], late.events[0][2].energy_wh) == ("corrected", 5000)
    found = (await served.client.get(f"/v1/transactions/{record.ref}")).json()
    assert (found["energy_wh"], found["closed_by"]) == (5000, None)
    assert found["closed"]["reason"] == "the station burnt down"


async def test_closed_by_hand_and_still_measuring(shelf: Shelf, clock: Clock) -> None:
    """What an operator closed stays closed, whatever is measured later: only the energy grows."""
    replica = replica_on(shelf, clock)
    number = await charging(replica)
    (record,) = await replica.records()
    over = replace(record, closed=Closed(NOW, OPERATOR, "gone", "me"), revision=2)
    await replica.books.write([over], {record.ref: record.revision})
    told = await replica.measure(values(NOW + MINUTE, 1500, number))
    assert [(word, event.state) for word, _, event in told.events] == [("corrected", "ended")]

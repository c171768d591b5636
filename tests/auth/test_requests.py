"""`auth.requests` from event to answer and event, on both stores (ocpp-rules B; design 4)."""

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
    KEY,
    MINUTE,
    NOW,
    OFFICE_HOURS,
    REF,
    STATION,
    asked,
    authorize,
    card,
    register,
    said,
    started16,
    state,
    stopped16,
    terms,
)
from auth.conftest import replica_on
from auth.memory_store import MemoryStore, overtaken
from voltbus_auth.domain import credentials
from voltbus_auth.domain.credentials import Credentials
from voltbus_auth.domain.tokens import TokenStatus
from voltbus_backbone.contract.agreements import AgreementStatus, AgreementToken, Limits
from voltbus_backbone.contract.auth import Phase, StationLogin
from voltbus_backbone.contract.registry import METER_VALUES, STATION_REGISTERED
from voltbus_backbone.contract.stations import MeterValuesReported, StationRegistered
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from auth.conftest import Clock, Replica, Shelf
    from voltbus_backbone.contract.agreements import AgreementSnapshot
    from voltbus_backbone.contract.values import Sample
    from voltbus_backbone.envelope import Event

S = AuthorizationStatus
OTHER = "CS-2"
SECOND = "04B0B1B2B3B4B5"


async def status(replica: Replica, kind: str = "ISO14443", value: str = CARD) -> S:
    protocol = Protocol.OCPP201 if kind else Protocol.OCPP16
    told = await replica.handle(asked(authorize(card(value, kind), protocol=protocol)))
    found: S = told.answer.decision.status
    return found


async def test_authorize(replica: Replica) -> None:
    """A registered token is Accepted, by type and value, whatever the case (C01.FR.25)."""
    await replica.token()
    assert await status(replica) is S.ACCEPTED
    assert await status(replica, value=CARD.lower()) is S.ACCEPTED
    assert await status(replica, kind="ISO15693") is S.UNKNOWN
    assert await status(replica, value="04FF") is S.UNKNOWN


async def test_authorize_without_type(replica: Replica) -> None:
    """1.6 presents no type: the likeliest token of that value is meant, RFID before the rest."""
    await replica.token(kind="Central", status=TokenStatus.BLOCKED)
    assert await status(replica, kind="") is S.BLOCKED
    await replica.token()
    assert await status(replica, kind="") is S.ACCEPTED


async def test_an_emaid_without_type_whatever_its_hyphens(replica: Replica) -> None:
    """1.6 presents a contract with hyphens: the eMAID registered without them, by its agreement."""
    made = await replica.token("NLTNMC00122045K", "eMAID")
    assert await status(replica, "", "NL-TNM-C00122045-K") is S.ACCEPTED
    assert await status(replica, "", "NL-TNM-C00122046-K") is S.UNKNOWN
    agreed = terms(status=AgreementStatus.SUSPENDED)
    await replica.shelf.put_agreements([covering(agreed, made.ref)])
    assert await status(replica, "", "NL-TNM-C00122045-K") is S.BLOCKED


async def test_a_value_that_is_registered_as_presented_goes_before_an_emaid(
    replica: Replica,
) -> None:
    """Another token with that very value is meant, not the eMAID that it could spell too."""
    await replica.token("NLTNMC00122045K", "eMAID")
    await replica.token("NL-TNM-C00122045-K", "MacAddress", status=TokenStatus.BLOCKED)
    assert await status(replica, "", "NL-TNM-C00122045-K") is S.BLOCKED


async def test_no_other_token_is_found_by_an_emaids_hyphens(replica: Replica) -> None:
    """Hyphens count in a value that is no eMAID: the one without them is another token."""
    await replica.token("NLTNMC00122045K", "Central")
    assert await status(replica, "", "NL-TNM-C00122045-K") is S.UNKNOWN
    assert await status(replica, "", "NLTNMC00122045K") is S.ACCEPTED


async def test_a_charge_in_16_on_an_emaid_with_hyphens(replica: Replica) -> None:
    """Its transaction names the registered token, told once or twice."""
    made = await replica.token("NLTNMC00122045K", "eMAID")
    start = started16(id_token=card("NL-TNM-C00122045-K", ""))
    first, again = await replica.handle(asked(start)), await replica.handle(asked(start))
    assert first.answer.decision.status is S.ACCEPTED
    assert first.answer.transaction_id == again.answer.transaction_id
    (record,) = await replica.shelf.transaction_records()
    assert record.token is not None
    assert record.token.token_ref == made.ref


async def test_agreement_decides_without_type_too(replica: Replica) -> None:
    """An agreement names tokens by their own reference; 1.6 finds it all the same, twice."""
    await replica.token()
    await replica.shelf.put_agreements([terms(status=AgreementStatus.SUSPENDED)])
    assert await status(replica, kind="") is S.BLOCKED
    assert await status(replica, kind="") is S.BLOCKED
    await replica.shelf.put_agreements([terms(revision=2)])
    assert await status(replica, kind="") is S.ACCEPTED


async def test_opening_hours_close_the_door(replica: Replica, clock: Clock) -> None:
    """Opening hours that config told of decide (rules C)."""
    await replica.token()
    await replica.shelf.put_stations([state(opening_hours=OFFICE_HOURS)])
    assert await status(replica) is S.ACCEPTED
    clock.time = NOW + 8 * HOUR
    told = await replica.handle(asked(authorize(at=clock.time)))
    assert told.answer.decision.status is S.NOT_AT_THIS_TIME


async def test_a_batch_is_answered_one_by_one(replica: Replica) -> None:
    """Different kinds of requests in one batch each get their own answer."""
    await replica.token()
    events = [
        asked(authorize(), offset=900),
        asked(authorize(card("04FF")), offset=901),
        asked(StationLogin(station_id="CS-9"), offset=902),
        asked(started16(), offset=903),
    ]
    answers = (await replica.handle(*events)).answers
    assert answers["g-1/900"].decision.status is S.ACCEPTED
    assert answers["g-1/901"].decision.status is S.UNKNOWN
    assert not answers["g-1/902"].known
    assert answers["g-1/903"].transaction_id is not None


async def test_log_in(replica: Replica) -> None:
    """Log-in is answered with the verifier; unknown stations with known=false (A1, A4)."""
    await replica.shelf.put_stations([state()])
    told = await replica.handle(asked(StationLogin(station_id=STATION)))
    assert (told.answer.known, told.answer.allowed) == (True, False)
    if isinstance(replica.shelf, MemoryStore):
        made = credentials.fast_verifier("secret", bytes)
        replica.shelf.doors[STATION] = Credentials(STATION, 2, (made,))
        told = await replica.handle(asked(StationLogin(station_id=STATION, security_profile=1)))
        assert not told.answer.allowed
        told = await replica.handle(asked(StationLogin(station_id=STATION, security_profile=2)))
        assert told.answer.allowed
        assert told.answer.verifiers == (made,)


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
    assert (word, ended.doubts) == ("ended", ("no_energy", "no_start"))
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


async def test_concurrent_limit(replica: Replica) -> None:
    """A second start beyond max_concurrent is ConcurrentTx; the first's end makes room."""
    await replica.token(max_concurrent=1)
    first = await replica.handle(asked(started16()))
    assert first.answer.decision.status is S.ACCEPTED
    second = await replica.handle(asked(started16(station_id=OTHER)))
    assert second.answer.decision.status is S.CONCURRENT_TX
    assert second.answer.transaction_id is not None
    assert second.events[0][2].authorization is S.CONCURRENT_TX
    await replica.handle(asked(stopped16(first.answer.transaction_id, NOW + HOUR)))
    third = await replica.handle(asked(started16(NOW + HOUR, station_id=OTHER)))
    assert third.answer.decision.status is S.ACCEPTED


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


async def test_key_codes_are_slowed_down(replica: Replica, clock: Clock) -> None:
    """C04.FR.06: after some wrong key codes even the right one must wait, at that station only."""
    await replica.token("483920", "KeyCode")
    for _ in range(3):
        assert await status(replica, "KeyCode", "000000") is S.UNKNOWN
    assert await status(replica, "KeyCode", "483920") is S.INVALID
    elsewhere = authorize(card("483920", "KeyCode"), station_id=OTHER)
    told = await replica.handle(asked(elsewhere))
    assert told.answer.decision.status is S.ACCEPTED
    clock.time = NOW + MINUTE
    told = await replica.handle(asked(authorize(card("483920", "KeyCode"), at=clock.time)))
    assert told.answer.decision.status is S.ACCEPTED


async def test_refused_for_concurrency_stays_refused(replica: Replica) -> None:
    """A resent ConcurrentTx start gets the same answer, though there is room now."""
    await replica.token(max_concurrent=1)
    first = await replica.handle(asked(started16()))
    await replica.handle(asked(started16(station_id=OTHER)))
    await replica.handle(asked(stopped16(first.answer.transaction_id, NOW + HOUR)))
    again = await replica.handle(asked(started16(station_id=OTHER)))
    assert again.answer.decision.status is S.CONCURRENT_TX


async def test_concurrent_limit_of_an_agreement(replica: Replica) -> None:
    """An agreement's limit counts the starts of all its tokens together."""
    one, other = await replica.token(), await replica.token("04FF", max_concurrent=5)
    limited = terms(limits=Limits(max_concurrent=1))
    await replica.shelf.put_agreements([covering(limited, one.ref, other.ref)])
    first = await replica.handle(asked(started16()))
    second = await replica.handle(asked(started16(station_id=OTHER, id_token=card("04FF", ""))))
    assert first.answer.decision.status is S.ACCEPTED
    assert second.answer.decision.status is S.CONCURRENT_TX


async def test_concurrent_limit_across_replicas(shelf: Shelf, clock: Clock) -> None:
    """Two replicas see the same token start on many stations at once: the limit holds."""
    replicas = [replica_on(shelf, clock) for _ in range(2)]
    await replicas[0].token(max_concurrent=3)
    told = await asyncio.gather(
        *(
            replicas[number % 2].handle(asked(started16(station_id=f"CS-{number}")))
            for number in range(12)
        )
    )
    statuses = [one.answer.decision.status for one in told]
    assert statuses.count(S.ACCEPTED) == 3
    assert statuses.count(S.CONCURRENT_TX) == 9
    assert len({one.answer.transaction_id for one in told}) == 12


async def test_end_and_next_start_in_one_batch(replica: Replica) -> None:
    """A driver who stops here and starts there within a batch is not one too many."""
    await replica.token(max_concurrent=1)
    first = await replica.handle(asked(started16()))
    told = await replica.handle(
        asked(stopped16(first.answer.transaction_id, NOW + HOUR), offset=700),
        asked(started16(NOW + HOUR, station_id=OTHER), offset=701),
    )
    assert told.answers["g-1/701"].decision.status is S.ACCEPTED


async def test_next_start_on_the_same_outlet(replica: Replica) -> None:
    """A station that lost its stop: an outlet carries one transaction, so the old one is over."""
    await replica.token(max_concurrent=1)
    await replica.handle(asked(started16()))
    told = await replica.handle(asked(started16(NOW + HOUR)))
    assert told.answer.decision.status is S.ACCEPTED


async def test_offline_sessions_take_no_place(replica: Replica) -> None:
    """A session that is over when it is told leaves its limit free."""
    await replica.token(max_concurrent=1)
    past = NOW - DAY
    await replica.handle(
        asked(said(Phase.STARTED, past, 0, id_token=card(), offline=True)),
        asked(said(Phase.ENDED, past + HOUR, 1, offline=True)),
    )
    told = await replica.handle(asked(started16(station_id=OTHER)))
    assert told.answer.decision.status is S.ACCEPTED


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


async def test_removed_station(replica: Replica) -> None:
    """A station that config removed is unknown at the door."""
    await replica.shelf.put_stations([state()])
    event = asked(StationLogin(station_id=STATION))
    assert (await replica.handle(event)).answer.known
    removed = StationRegistered(station_id=STATION, status="removed", at=NOW, removed=True)
    await replica.measure(of(STATION_REGISTERED.name, removed))
    assert not (await replica.handle(event)).answer.known


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
    return of(METER_VALUES.name, message)


def of(name: str, message: MeterValuesReported | StationRegistered) -> Event:
    event = asked(StationLogin(station_id=message.station_id))
    event.type, event.message, event.topic = name, message, "voltbus.stations.events"
    event.asking = None
    return event


def kilo(sample: Sample) -> Sample:
    """The same sample in kWh."""
    return msgspec.structs.replace(sample, unit="kWh")


def covering(snapshot: AgreementSnapshot, *refs: str) -> AgreementSnapshot:
    tokens = tuple(AgreementToken(ref=ref) for ref in refs)
    return msgspec.structs.replace(snapshot, tokens=tokens)


@pytest.mark.parametrize("kind", ["ISO14443", ""])
async def test_answers_never_hold_the_token(replica: Replica, kind: str) -> None:
    """No answer and no event carries the readable value (privacy, rules B)."""
    await replica.token(group_id="FLEET")
    message = started16(id_token=card(CARD, kind))
    records = await replica._requests.handle([asked(message), asked(authorize(card(CARD, kind)))])
    assert all(CARD.encode() not in (record.value or b"") for record in records)
    assert KEY.ref("ISO14443", CARD).encode() in b"".join(one.value or b"" for one in records)

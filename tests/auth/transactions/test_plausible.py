"""What whoever bills must be told of readings: jumps, no reading at the start, phases, units."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.auth_examples import (
    DAY,
    HOUR,
    MINUTE,
    NOW,
    asked,
    card,
    of_stations,
    register,
    said,
    started16,
    stopped16,
)
from auth.conftest import Clock, replica_on
from auth.memory_store import MemoryStore
from voltbus_auth.transactions.domain.account import doubts, energy
from voltbus_auth.transactions.domain.ledger import Ledger
from voltbus_auth.transactions.domain.record import Presented
from voltbus_auth.transactions.domain.registers import Reading, falls, timeline
from voltbus_auth.transactions.domain.review import PLAUSIBLE_W, review
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.registry import METER_VALUES
from voltbus_backbone.contract.stations import MeterValuesReported
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol, Sample

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from auth.conftest import Replica
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_backbone.contract.auth import TransactionMessage

END = NOW + HOUR
BEGIN = "Transaction.Begin"
PRESENTED = Presented(NOW, 0, "ref", AuthorizationStatus.ACCEPTED)


def recorded(*messages: TransactionMessage) -> Record:
    """The record of one session, judged as it is once it has ended."""
    pages = Ledger()
    for number, message in enumerate(messages):
        pages.enter(message, PRESENTED, f"topic:0:{number}", record=pages.find(message))
    (record,) = pages.by_ref.values()
    samples = [sample for message in messages for sample in message.samples]
    return replace(record, judged=review(record, samples, PLAUSIBLE_W))


def session(*samples: Sample, first: Sequence[Sample] = (), last: Sequence[Sample] = ()) -> Record:
    """Started, a message for each sample, Ended an hour later (2.x)."""
    between = [said(Phase.UPDATED, one.at, n, samples=(one,)) for n, one in enumerate(samples, 1)]
    return recorded(
        said(Phase.STARTED, NOW, 0, samples=tuple(first)),
        *between,
        said(Phase.ENDED, END, len(samples) + 1, samples=tuple(last)),
    )


def power(watts: float, at: datetime) -> Sample:
    return Sample(at=at, value=watts, measurand="Power.Active.Import", unit="W")


@pytest.mark.parametrize("minute", [1, 10, 30, 59])
def test_a_jump_between_neighbouring_readings(minute: int) -> None:
    """Begin 0, then 909948, end 910031: the register of a lifetime after a 0, and no session."""
    record = session(
        register(909_948, NOW + minute * MINUTE),
        first=[register(0, NOW, BEGIN)],
        last=[register(910_031, END, "Transaction.End")],
    )
    assert energy(record) == (910_031, "register")
    assert "register_jump" in doubts(record)


def test_a_jump_without_samples() -> None:
    """1.6 meterStart and meterStop alone are a step as well."""
    start = started16(meter_wh=0)
    pages = Ledger()
    entry = pages.enter(start, PRESENTED, "t:0:1", record=None)
    stop = stopped16(entry.record.wire_id, END, meter_wh=900_000)
    record = pages.enter(stop, None, "t:0:2", record=entry.record).record
    assert review(record, (), PLAUSIBLE_W) == {"register_jump"}
    assert review(record, (), 1_000_000.0) == frozenset()  # who charges lorries says so


@given(
    st.lists(st.integers(0, 350_000), min_size=1, max_size=20),
    st.lists(st.floats(1, 120), min_size=20, max_size=20),
    st.integers(0, 19),
    st.integers(600_000, 10**9),
    st.randoms(use_true_random=False),
)
def test_a_jump_anywhere_is_seen_and_nothing_else_is(
    watts: list[int], minutes: list[float], place: int, more_w: int, shuffle: Any
) -> None:
    """Steps that chargers make raise no doubt, one that none can make does, in any order."""
    at, wh = NOW, 1_000_000
    honest = [register(wh, at)]
    jumping = [register(wh, at)]
    extra = 0
    for number, step_w in enumerate(watts):
        at += timedelta(minutes=minutes[number])
        wh += int(step_w * minutes[number] / 60)
        if number == place % len(watts):
            extra = int(more_w * minutes[number] / 60) + 1001
        honest.append(register(wh, at))
        jumping.append(register(wh + extra, at))
    record = recorded(said(Phase.STARTED, NOW, 0), said(Phase.ENDED, at, 1))
    shuffle.shuffle(honest)
    shuffle.shuffle(jumping)
    assert "register_jump" not in review(record, honest, PLAUSIBLE_W)
    assert "register_jump" in review(record, jumping, PLAUSIBLE_W)


def test_a_begin_that_is_repeated_beside_each_reading() -> None:
    """Some stations send Transaction.Begin in each message: it is read as what it is."""
    between = [
        said(
            Phase.UPDATED,
            NOW + n * 10 * MINUTE,
            n,
            samples=(
                register(1000, NOW + n * 10 * MINUTE, BEGIN),
                register(1000 + 900 * n, NOW + n * 10 * MINUTE),
            ),
        )
        for n in range(1, 6)
    ]
    end = (register(1000, END, BEGIN), register(6000, END, "Transaction.End"))
    record = recorded(said(Phase.STARTED, NOW, 0), *between, said(Phase.ENDED, END, 6, samples=end))
    assert energy(record) == (5000, "register")
    assert doubts(record) == ()


@given(st.lists(st.integers(0, 10_000), min_size=2, max_size=12), st.data())
def test_a_register_that_falls_is_seen_in_any_order(steps: list[int], data: st.DataObject) -> None:
    """A register that only grows never falls, however its samples are mixed; a lower one does."""
    readings = [register(sum(steps[: n + 1]), NOW + n * MINUTE) for n in range(len(steps))]
    begin = [register(0, NOW + n * MINUTE, BEGIN) for n in range(len(steps))]
    mixed = data.draw(st.permutations([*readings, *begin]))
    assert not falls(*timeline(mixed))
    late = register(sum(steps) + 1, NOW - MINUTE)
    assert falls(*timeline([*mixed, late]))


def test_no_reading_at_the_start() -> None:
    """2.x: Started without meterValue (E02: it is optional), Ended with 12,345 Wh: not 0."""
    record = session(last=[register(12_345, END, "Transaction.End")])
    assert energy(record) == (None, "unknown")
    assert doubts(record) == ("no_energy", "no_start_register")


def test_no_reading_at_the_start_but_one_between() -> None:
    """With 5,000 between, 7,345 were charged at least: a lower bound, with a doubt."""
    record = session(register(5000, NOW + MINUTE), last=[register(12_345, END, "Transaction.End")])
    assert energy(record) == (7345, "samples")
    assert doubts(record) == ("no_start_register",)


def test_the_start_is_lost() -> None:
    """Only the end is known: neither 0 Wh nor a sum."""
    end = register(12_345, END, "Transaction.End")
    record = recorded(said(Phase.ENDED, END, 3, samples=(end,)))
    assert energy(record) == (None, "unknown")
    assert doubts(record) == ("no_energy", "no_start", "no_start_register")


def test_an_open_transaction_without_a_start_register() -> None:
    """The doubt stands from the first reading on, and the energy is never said to be 0."""
    started = said(Phase.STARTED, NOW, 0)
    one = said(Phase.UPDATED, NOW + MINUTE, 1, samples=(register(5000, NOW + MINUTE),))
    record = recorded(started, one)
    assert (energy(record)[0], doubts(record)) == (None, ("no_start_register",))
    assert doubts(recorded(started)) == ()


def phases(wh: Sequence[int], at: datetime, context: str = "Sample.Periodic") -> list[Sample]:
    return [
        Sample(at=at, value=value, phase=f"L{n}", context=context) for n, value in enumerate(wh, 1)
    ]


def test_energy_by_phases_only() -> None:
    """L1 to L3 are added up where the whole is told nowhere."""
    record = recorded(
        said(Phase.STARTED, NOW, 0, samples=tuple(phases([100, 200, 300], NOW))),
        said(Phase.UPDATED, NOW + MINUTE, 1, samples=tuple(phases([150, 250, 350], NOW + MINUTE))),
        said(Phase.ENDED, END, 2, samples=tuple(phases([1100, 1200, 1300], END))),
    )
    assert energy(record) == (3000, "samples")
    assert doubts(record) == ()


def test_phases_beside_the_whole() -> None:
    """Where the whole is told, phases may count from another beginning: they are left aside."""
    record = recorded(
        said(Phase.STARTED, NOW, 0, meter_wh=1_000_000),
        said(Phase.UPDATED, NOW + MINUTE, 1, samples=tuple(phases([5, 5, 5], NOW + MINUTE))),
        said(Phase.ENDED, END, 2, meter_wh=1_006_000),
    )
    assert energy(record) == (6000, "register")
    assert doubts(record) == ()


def test_kwh_that_are_called_wh() -> None:
    """MeterStart 1,204,000 Wh and samples of 1204.6 "Wh"; or a session of 18 "Wh" at 11 kW."""
    start = said(Phase.STARTED, NOW, 0, meter_wh=1_204_000)
    middle = register(1_204.6, NOW + 30 * MINUTE)
    record = recorded(
        start,
        said(Phase.UPDATED, middle.at, 1, samples=(middle,)),
        said(Phase.ENDED, END, 2, meter_wh=1_209_000),
    )
    assert "register_unit" in doubts(record)
    decimals = session(first=[register(12.345, NOW, BEGIN)], last=[register(30.1, END)])
    assert "register_unit" in doubts(decimals)
    measured = session(
        power(11_000, NOW + MINUTE),
        power(10_000, NOW + 50 * MINUTE),
        first=[register(12, NOW, BEGIN)],
        last=[register(22, END)],
    )
    assert "register_unit" in doubts(measured)


def test_a_car_that_is_full() -> None:
    """Next to nothing in an hour is no doubt by itself."""
    record = session(
        power(150, NOW + MINUTE), first=[register(12_000, NOW, BEGIN)], last=[register(12_140, END)]
    )
    assert doubts(record) == ()


def test_a_charge_without_any_token() -> None:
    """2.x: Authorized, no idToken, not NoAuthorization (C02): somebody should know who charged."""

    def told(*messages: TransactionMessage) -> tuple[str, ...]:
        pages = Ledger()
        for number, message in enumerate(messages):
            pages.enter(message, None, f"topic:0:{number}", record=pages.find(message))
        (record,) = pages.by_ref.values()
        return doubts(record)

    start = said(Phase.STARTED, NOW, 0, meter_wh=0)
    end = said(Phase.ENDED, END, 1, meter_wh=5000)
    assert told(start, end) == ("no_token",)
    assert told(start) == ()
    nobody = said(Phase.STARTED, NOW, 0, meter_wh=0, id_token=card("", "NoAuthorization"))
    assert told(nobody, end) == ()


async def test_our_own_id_outweighs_the_clock(replica: Replica, clock: Clock) -> None:
    """1.6: power loss, StopTransaction with our id and a time of 1970: one ended record."""
    await replica.token()
    start = await replica.handle(asked(started16()))
    number = start.answer.transaction_id
    clock.time = NOW + HOUR
    long_ago = NOW.replace(year=1970)
    told = await replica.handle(asked(stopped16(number, long_ago)))
    (record,) = await replica.records()
    word, _, event = told.events[0]
    assert (word, event.state, event.energy_wh) == ("ended", "ended", 5000)
    assert event.doubts == ("clock", "ends_before_start")
    assert record.stop is not None


@pytest.mark.parametrize("long_ago", [NOW.replace(year=1970), NOW - 400 * DAY])
async def test_meter_values_of_a_wrong_clock(
    replica: Replica, clock: Clock, long_ago: datetime
) -> None:
    """MeterValues with our id and a clock of 1970, or of a firmware's date, belong to it too."""
    start = await replica.handle(asked(started16()))
    clock.time = NOW + HOUR
    values = MeterValuesReported(
        station_id="CS-1",
        protocol=Protocol.OCPP16,
        at=long_ago,
        samples=(register(2000, long_ago),),
        connector_id=1,
        transaction_id=str(start.answer.transaction_id),
    )
    told = await replica.measure(of_stations(METER_VALUES.name, values))
    assert "clock" in told.events[0][2].doubts


async def test_a_uuid_outweighs_the_clock(replica: Replica) -> None:
    """2.x: an id that nobody else has keeps a session together; "0" is used again and does not."""
    name = "0b5b2c1a-7d6f-4c11-9a55-0242ac120002"
    long_ago = NOW.replace(year=1970)
    await replica.handle(asked(said(Phase.STARTED, NOW, 0, transaction_id=name)))
    await replica.handle(asked(said(Phase.ENDED, long_ago, 1, transaction_id=name)))
    (record,) = await replica.records()
    assert record.stop is not None
    await replica.handle(asked(said(Phase.STARTED, NOW, 0, transaction_id="0")))
    await replica.handle(asked(said(Phase.ENDED, long_ago, 1, transaction_id="0")))
    assert len(await replica.records()) == 3


async def test_a_start_that_comes_a_day_late(replica: Replica, clock: Clock) -> None:
    """Replayed 30 h late: judged by its own time, and valid from now on, not until yesterday."""
    await replica.token()
    clock.time = NOW + timedelta(hours=30)
    decision = (await replica.handle(asked(started16()))).answer.decision
    assert decision.status is AuthorizationStatus.ACCEPTED
    assert decision.cache_expiry == clock.time + DAY


async def test_a_token_that_expired_since(replica: Replica, clock: Clock) -> None:
    """It was good when it charged, and the station hears that it is no longer."""
    await replica.token(expires_at=NOW + HOUR)
    clock.time = NOW + timedelta(hours=30)
    decision = (await replica.handle(asked(started16()))).answer.decision
    assert decision.status is AuthorizationStatus.ACCEPTED
    assert decision.cache_expiry == NOW + HOUR


DETAILS = (
    said(Phase.STARTED, NOW, 0, details={"transactionLimit": {"maxCost": 20.0}}),
    said(Phase.UPDATED, NOW + MINUTE, 1, details={"timeSpentCharging": 60}, repairs=("a: b",)),
    said(Phase.UPDATED, NOW + 2 * MINUTE, 2, details={"numberOfPhasesUsed": 3}),
    said(
        Phase.ENDED,
        END,
        3,
        details={
            "timeSpentCharging": 3600,
            "costDetails": {"totalCost": {"total": 4.2}, "customData": {"vendorId": "x"}},
        },
        repairs=("stopReason: unknown value left out",),
    ),
)


@given(st.permutations(range(4)), st.lists(st.integers(0, 3), max_size=4))
def test_details_and_repairs_in_any_order(order: list[int], more: list[int]) -> None:
    """What only 2.x says is joined: the latest of each name; vendors' own data stay out."""
    record = recorded(*(DETAILS[index] for index in [*order, *more]))
    assert {one.name: one.value for one in record.details} == {
        "timeSpentCharging": "3600",
        "numberOfPhasesUsed": "3",
        "transactionLimit": '{"maxCost":20.0}',
        "costDetails": '{"totalCost":{"total":4.2}}',
    }
    assert record.repairs == {"a: b", "stopReason: unknown value left out"}


async def test_details_in_events(replica: Replica) -> None:
    """OCPP's own names, in the event as in REST."""
    told = await replica.handle(*(asked(message) for message in DETAILS))
    ended = told.events[-1][2]
    assert ended.details["timeSpentCharging"] == 3600
    assert ended.details["transactionLimit"] == {"maxCost": 20.0}
    assert ended.repairs == ("a: b", "stopReason: unknown value left out")


def test_a_detail_that_is_too_long() -> None:
    """It is left out with a note; the rest of the message counts."""
    record = recorded(
        said(Phase.STARTED, NOW, 0, details={"costDetails": "x" * 40_000, "tariffId": "t"})
    )
    assert [one.name for one in record.details] == ["tariffId"]
    assert record.repairs == {"details: left out what is too long"}


async def test_doubts_of_an_end_that_is_judged_again(clock: Clock) -> None:
    """A middle reading that comes late explains a jump: the doubt goes, whatever the order."""
    memory = MemoryStore()
    replica = replica_on(memory, clock)
    await replica.token()
    await replica.handle(
        asked(said(Phase.STARTED, NOW, 0, samples=(register(0, NOW, BEGIN),), id_token=card())),
        asked(said(Phase.UPDATED, END, 2, samples=(register(500_500, END),))),
        asked(said(Phase.ENDED, END + MINUTE, 3, samples=(register(500_600, END + MINUTE),))),
    )
    (record,) = memory.transactions.values()
    assert doubts(record) == ()
    late = said(Phase.UPDATED, NOW + MINUTE, 1, samples=(register(500_000, NOW + MINUTE),))
    told = await replica.handle(asked(late))
    assert told.events[0][2].doubts == ("register_jump",)


def test_reading_order() -> None:
    """At the same time the lower reading comes first, an end last."""
    begin, later = timeline(
        [register(9, END, "Transaction.End"), register(9, END), register(5, NOW)]
    )
    assert begin is None
    assert later == [Reading(NOW, 5), Reading(END, 9), Reading(END, 9)]

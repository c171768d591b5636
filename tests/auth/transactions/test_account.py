"""Energy with its source, and the doubts that whoever bills should see (issue: plausibility)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import HOUR, MINUTE, NOW, register, said
from voltbus_auth.transactions.domain.account import doubts, energy, missing_seq_nos
from voltbus_auth.transactions.domain.ledger import Ledger
from voltbus_auth.transactions.domain.record import MOST_RANGES, Presented
from voltbus_auth.transactions.domain.registers import in_wh, readings
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.values import AuthorizationStatus, Sample

if TYPE_CHECKING:
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_backbone.contract.auth import TransactionMessage

END = NOW + HOUR
PRESENTED = Presented(NOW, 0, "ref", AuthorizationStatus.ACCEPTED)


def recorded(*messages: TransactionMessage) -> Record:
    pages = Ledger()
    for number, message in enumerate(messages):
        pages.enter(message, PRESENTED, f"topic:0:{number}", record=pages.find(message))
    (record,) = pages.by_ref.values()
    return record


def charged(start: int | None, stop: int | None, *between: TransactionMessage) -> Record:
    return recorded(
        said(Phase.STARTED, NOW, 0, meter_wh=start),
        *between,
        said(Phase.ENDED, END, len(between) + 1, meter_wh=stop),
    )


def sampled(wh: int, minute: int, **fields: Any) -> TransactionMessage:
    at = NOW + minute * MINUTE
    return said(Phase.UPDATED, at, minute, samples=(register(wh, at),), **fields)


def test_energy_from_the_register() -> None:
    """Stop reading minus start reading."""
    record = charged(1000, 8000)
    assert energy(record) == (7000, "register")
    assert doubts(record) == ()


def test_energy_from_samples() -> None:
    """Without a stop reading, the last sample of the register counts."""
    record = charged(1000, None, sampled(1500, 1), sampled(4000, 2))
    assert energy(record) == (3000, "samples")


def test_energy_unknown() -> None:
    """Without any reading there is no energy, and an ended transaction says so."""
    record = charged(None, None)
    assert energy(record) == (None, "unknown")
    assert doubts(record) == ("no_energy", "no_start_register")


def test_energy_so_far() -> None:
    """An open transaction shows what it has charged so far."""
    record = recorded(said(Phase.STARTED, NOW, 0, meter_wh=1000), sampled(1600, 1))
    assert energy(record) == (600, "samples")


def test_a_message_whose_own_time_could_not_be_read() -> None:
    """The time of its arrival stands in for it (ADR 12): doubt clock."""
    note = "timestamp: no date-time, the time of arrival taken"
    ended = said(Phase.ENDED, END, 1, meter_wh=8000, repairs=(note,))
    record = recorded(said(Phase.STARTED, NOW, 0, meter_wh=1000), ended)
    assert energy(record) == (7000, "register")
    assert doubts(record) == ("clock",)
    assert doubts(charged(1000, 8000, sampled(1500, 1, repairs=("meterValue.timestamp: x",)))) == ()


def test_register_goes_backwards() -> None:
    """A stop below the start gives no energy but a doubt."""
    record = charged(8000, 1000)
    assert energy(record) == (None, "unknown")
    assert doubts(record) == ("no_energy", "register_backwards")


def test_samples_go_backwards_within_a_message() -> None:
    """A register that falls within one message's samples is doubted."""
    samples = (register(2000, NOW + MINUTE), register(1500, NOW + 2 * MINUTE))
    record = charged(1000, 3000, said(Phase.UPDATED, NOW + 2 * MINUTE, 1, samples=samples))
    assert "register_backwards" in doubts(record)


def test_zero_at_the_beginning() -> None:
    """A start at 0 with a whole life in the first sample is doubted; one per session is not."""
    record = charged(0, 5_003_000, sampled(5_000_000, 1))
    assert "zero_at_start" in doubts(record)
    assert doubts(charged(0, 3000, sampled(100, 1))) == ()


def test_zero_at_the_end() -> None:
    """A stop at 0 after a register that had counted is doubted."""
    assert "zero_at_end" in doubts(charged(1000, 0, sampled(2000, 1)))


def test_more_than_any_cable_carries() -> None:
    """A megawatt-hour a minute is doubted."""
    assert "implausible_power" in doubts(charged(0, 10_000_000))


def test_sample_outside_the_session() -> None:
    """A reading well after the end is doubted."""
    late = register(8000, END + HOUR)
    record = recorded(
        said(Phase.STARTED, NOW, 0, meter_wh=1000),
        said(Phase.ENDED, END, 1, meter_wh=8000, samples=(late,)),
    )
    assert doubts(record) == ("sample_outside",)


def test_clock_of_a_station_that_never_knew_the_time() -> None:
    """A start in 1970 is doubted."""
    assert doubts(recorded(said(Phase.STARTED, NOW.replace(year=1970), 0))) == ("clock",)


def test_missing_numbers() -> None:
    """The gaps below the highest sequence number seen, from the start's own."""
    assert missing_seq_nos(charged(1, 2)) == ()
    record = recorded(said(Phase.STARTED, NOW, 5), said(Phase.ENDED, END, 8))
    assert missing_seq_nos(record) == (6, 7)
    assert missing_seq_nos(recorded(said(Phase.ENDED, END, 3))) == (0, 1, 2)
    assert len(missing_seq_nos(recorded(said(Phase.ENDED, END, 10**9)))) == 100


def test_a_station_that_skips_every_other_number_fills_no_record() -> None:
    """What is kept of sequence numbers is bounded; the oldest gaps stay known, with a doubt.

    OCPP 2.x has seqNo grow by one from message to message; a station may do otherwise for days.
    """
    record = recorded(*(said(Phase.UPDATED, NOW, 2 * number) for number in range(1000)))
    assert len(record.seqs) == MOST_RANGES
    assert record.seqs[-1] == (2 * (MOST_RANGES - 1), 2 * 999)
    assert missing_seq_nos(record) == tuple(range(1, 200, 2))
    assert "many_gaps" in doubts(record)


def test_a_time_that_could_not_be_read() -> None:
    """The gateway reads such a message as from its arrival, and notes it: the clock is doubted."""
    note = ("timestamp: not a time, that of its arrival taken",)
    assert doubts(recorded(said(Phase.STARTED, NOW, 0, repairs=note))) == ("clock",)
    other = ("stopReason: unknown value left out",)
    assert doubts(recorded(said(Phase.STARTED, NOW, 0, repairs=other))) == ()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"value": 1.5, "unit": "kWh"}, 1500),
        ({"value": 15.0, "unit": "Wh", "multiplier": 2}, 1500),
        ({"value": 1500.4}, 1500),
        ({"value": "OCMF|{}"}, None),
        ({"value": 3.0, "unit": "varh"}, None),
        ({"value": float("nan")}, None),
        ({"value": 1e300, "multiplier": 300}, None),
    ],
)
def test_units(fields: dict[str, Any], expected: int | None) -> None:
    """Unit and multiplier are applied; what is no energy is none."""
    assert in_wh(Sample(at=NOW, **fields)) == expected


def test_only_the_whole_outlet_counts() -> None:
    """What is between two phases, other measurands and signed texts are not the register."""
    samples = (
        Sample(at=NOW, value=1.0, phase="L1-L2"),
        Sample(at=NOW, value=2.0, measurand="Power.Active.Import", unit="W"),
        Sample(at=NOW, value="signed", format="SignedData"),
        Sample(at=NOW, value=3.0, location="Inlet"),
    )
    assert readings(samples).whole.first is None


def test_unreadable_register() -> None:
    """A register in a unit that is no energy is doubted."""
    at = NOW + MINUTE
    sample = Sample(at=at, value=5.0, unit="A")
    record = charged(1, 2, said(Phase.UPDATED, at, 1, samples=(sample,)))
    assert doubts(record) == ("register_unreadable",)

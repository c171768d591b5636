"""Folding messages: any order, repetition or delay ends in the same record (ocpp-rules B)."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.auth_examples import HOUR, MINUTE, NOW, card, register, said
from voltbus_auth.transactions.domain.ledger import Ledger
from voltbus_auth.transactions.domain.record import Presented, Record
from voltbus_backbone.contract.auth import Phase, TransactionMessage
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from collections.abc import Sequence

SESSION = (
    said(
        Phase.STARTED,
        NOW,
        0,
        id_token=card(),
        charging_state="EVConnected",
        samples=(register(1000, NOW, "Transaction.Begin"),),
    ),
    said(Phase.UPDATED, NOW + MINUTE, 1, charging_state="Charging", id_token=card()),
    said(Phase.UPDATED, NOW + 2 * MINUTE, 2, samples=(register(1500, NOW + 2 * MINUTE),)),
    said(Phase.UPDATED, NOW + 3 * MINUTE, 3, samples=(register(2000, NOW + 3 * MINUTE),)),
    said(
        Phase.ENDED,
        NOW + HOUR,
        4,
        stopped_reason="EVDisconnected",
        samples=(register(9000, NOW + HOUR, "Transaction.End"),),
    ),
)
# The same with what some stations do: no EVSE but at the start, numbering that never counts.
SLOPPY = tuple(
    type(message)(
        **{
            **{name: getattr(message, name) for name in message.__struct_fields__},
            "seq_no": 0,
            "evse_id": 2 if message.phase is Phase.STARTED else None,
            "connector_id": None,
        }
    )
    for message in SESSION
)
# And one whose start names no EVSE, and whose later messages name it with more or less.
VAGUE = tuple(
    msgspec.structs.replace(message, evse_id=evse_id, connector_id=connector_id)
    for message, (evse_id, connector_id) in zip(
        SESSION, [(None, None), (1, 1), (1, None), (None, None), (1, 2)], strict=True
    )
)


def entered(messages: Sequence[TransactionMessage], *, batches: int = 1) -> list[Record]:
    """The records after these messages, the last of them loaded anew now and then."""
    pages = Ledger()
    size = max(1, len(messages) // batches)
    for number, message in enumerate(messages):
        if number % size == 0:
            pages = Ledger.of(pages.by_ref.values())
        token = message.id_token
        presented = (
            Presented(message.at, message.seq_no or 0, "ref", AuthorizationStatus.ACCEPTED)
            if token is not None
            else None
        )
        pages.enter(message, presented, f"topic:0:{number}", record=pages.find(message))
    return list(pages.by_ref.values())


def content(records: Sequence[Record]) -> Record:
    """The only record, without what tells how it came about."""
    (record,) = records
    return replace(record, revision=0, recent=())


@pytest.mark.parametrize("session", [SESSION, SLOPPY])
def test_one_session_is_one_record(session: tuple[TransactionMessage, ...]) -> None:
    """In order, the session ends with everything it told."""
    record = content(entered(session))
    assert record.start is not None
    assert record.stop is not None
    assert (record.start.at, record.start.meter_wh) == (NOW, 1000)
    assert (record.stop.at, record.stop.meter_wh) == (NOW + HOUR, 9000)
    assert record.live is not None
    assert record.live.state == "Charging"
    assert record.flags == frozenset()


@given(st.permutations(range(5)), st.integers(1, 5), st.sampled_from([SESSION, SLOPPY, VAGUE]))
def test_every_order_gives_the_same_record(
    order: list[int], batches: int, session: tuple[TransactionMessage, ...]
) -> None:
    """Every permutation of a session's messages, in however many batches: the same record."""
    records = entered([session[index] for index in order], batches=batches)
    assert content(records) == content(entered(session))


@given(st.lists(st.integers(0, 4), min_size=5, max_size=12), st.integers(1, 5))
def test_repetitions_change_nothing(order: list[int], batches: int) -> None:
    """With duplicates in any place: the same record, and a duplicate is not told again."""
    everything = [*order, *range(5)]
    records = entered([SESSION[index] for index in everything], batches=batches)
    assert content(records) == content(entered(SESSION))
    assert records[0].revision <= 5


@given(st.integers(1, 5), st.data())
def test_every_beginning_of_a_session_agrees_with_any_order(
    length: int, data: st.DataObject
) -> None:
    """A session that is cut off anywhere is the same record in any order too."""
    part = SESSION[:length]
    order = data.draw(st.permutations(range(length)))
    assert content(entered([part[index] for index in order])) == content(entered(part))


def test_a_resend_changes_nothing() -> None:
    """The very same message again leaves the revision where it is."""
    (once,) = entered(SESSION)
    (twice,) = entered([*SESSION, *SESSION])
    assert once.revision == twice.revision == 5


def test_sequence_ranges() -> None:
    """Sequence numbers are kept as ranges, however they come in."""
    messages = [said(Phase.UPDATED, NOW + n * MINUTE, n) for n in (7, 1, 3, 2, 9)]
    (record,) = entered(messages)
    assert record.seqs == ((1, 3), (7, 7), (9, 9))


def test_seq_no_zero_at_both_ends() -> None:
    """A station that numbers both Started and Ended with 0 has one ended transaction (design 9)."""
    messages = [said(Phase.STARTED, NOW, 0), said(Phase.ENDED, NOW + HOUR, 0)]
    (record,) = entered(messages)
    assert record.start is not None
    assert record.stop is not None


def test_a_stop_that_is_told_twice_differently() -> None:
    """Two stops with different times: the earlier counts, and the record says so."""
    stops = [
        said(Phase.ENDED, NOW + HOUR, 1),
        said(Phase.ENDED, NOW + 2 * HOUR, 1),
    ]
    start = said(Phase.STARTED, NOW, 0)
    for order in (stops, stops[::-1]):
        (record,) = entered([start, *order])
        assert record.stop is not None
        assert record.stop.at == NOW + HOUR
        assert record.flags == {"second_stop"}

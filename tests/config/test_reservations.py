"""The life of a reservation, pure (1.6 §5.2, §5.13; 2.x H01-H04)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.config_examples import EVERY_PROTOCOL, NOW, assert_valid
from voltbus_backbone.contract.config import CommandStatus, RejectedBy
from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain import reservations as reservation_rules
from voltbus_config.domain.commands import Command, Purpose
from voltbus_config.domain.compile import Unsupported
from voltbus_config.domain.reservations import OPEN, Reservation, State
from voltbus_config.domain.shapes import build_call

LATER = NOW + timedelta(minutes=15)
RESERVATION = Reservation(
    id="rsv-1",
    number=7,
    station_id="CS-1",
    state=State.PENDING,
    token_ref="tok_1",
    expires_at=LATER,
    created_at=NOW,
    updated_at=NOW,
    command_id="cmd-1",
)
ACTIVE = msgspec.structs.replace(RESERVATION, state=State.ACTIVE, cancel_command_id="cmd-2")


def ended(name: str, status: CommandStatus, said: str | None = None, **fields: Any) -> Command:
    return Command(
        id=name,
        station_id="CS-1",
        action=reservation_rules.RESERVE if name == "cmd-1" else reservation_rules.CANCEL,
        status=status,
        purpose=Purpose.RESERVATION,
        created_at=NOW,
        answer_status=said,
        **fields,
    )


@pytest.mark.parametrize(
    ("status", "said", "state", "reason"),
    [
        (CommandStatus.ANSWERED, "Accepted", State.ACTIVE, None),
        (CommandStatus.ANSWERED, "Occupied", State.REJECTED, "the station answered Occupied"),
        (CommandStatus.ANSWERED, None, State.REJECTED, "the station answered nothing readable"),
        (CommandStatus.REJECTED, None, State.REJECTED, "rejected by station: NotSupported"),
        (CommandStatus.TIMED_OUT, None, State.REJECTED, "timed_out"),
        (CommandStatus.EXPIRED, None, State.EXPIRED, "the station was not there in time"),
        (CommandStatus.CANCELLED, None, State.CANCELLED, None),
    ],
)
def test_what_reserve_now_makes_of_it(
    status: CommandStatus, said: str | None, state: State, reason: str | None
) -> None:
    """Every end of the call is an end, or the beginning, of the reservation."""
    command = ended("cmd-1", status, said, error_code="NotSupported")
    if status is CommandStatus.REJECTED:
        command = msgspec.structs.replace(command, rejected_by=RejectedBy.STATION)
    after = reservation_rules.apply_command(RESERVATION, command, NOW)
    assert after is not None
    assert (after.state, after.reason) == (state, reason)
    assert (after.ended_at is None) is (state in OPEN)


@pytest.mark.parametrize(
    ("status", "said", "state"),
    [
        (CommandStatus.ANSWERED, "Accepted", State.CANCELLED),
        (CommandStatus.ANSWERED, "Rejected", State.REMOVED),
        (CommandStatus.TIMED_OUT, None, State.ACTIVE),
        (CommandStatus.EXPIRED, None, State.ACTIVE),
    ],
)
def test_what_cancel_reservation_makes_of_it(
    status: CommandStatus, said: str | None, state: State
) -> None:
    """Rejected: there is no such reservation. Without an answer it may be asked again."""
    after = reservation_rules.apply_command(ACTIVE, ended("cmd-2", status, said), NOW)
    assert after is not None
    assert after.state is state
    assert (after.cancel_command_id is None) is (state is State.ACTIVE)


@pytest.mark.parametrize(
    ("said", "state"),
    [("Expired", State.EXPIRED), ("Removed", State.REMOVED), ("NoTransaction", State.REMOVED)],
)
def test_what_a_2x_station_says_of_it(said: str, state: State) -> None:
    """ReservationStatusUpdate; a word of a later version changes nothing."""
    after = reservation_rules.apply_status(ACTIVE, said, NOW)
    assert after is not None
    assert (after.state, after.ended_at) == (state, NOW)
    assert reservation_rules.apply_status(after, "Removed", NOW) is None
    assert reservation_rules.apply_status(ACTIVE, "Forgotten", NOW) is None
    assert reservation_rules.apply_status(ACTIVE, ["Expired"], NOW) is None


def test_its_time_ends_it() -> None:
    """Not a moment before, and not again."""
    assert reservation_rules.expire(ACTIVE, LATER - timedelta(milliseconds=1)) is None
    after = reservation_rules.expire(ACTIVE, LATER)
    assert after is not None
    assert after.state is State.EXPIRED
    assert reservation_rules.expire(after, LATER) is None


_events = st.lists(
    st.sampled_from(["accepted", "refused", "unheard", "cancel", "expire", "removed", "gone"]),
    max_size=6,
)


@given(_events, st.integers(0, 6))
def test_a_transaction_that_began_with_it_wins(steps: list[str], place: int) -> None:
    """A station that was offline tells late of a driver who came in time (2.x H03)."""
    steps.insert(min(place, len(steps)), "used")
    found, moves = RESERVATION, 0
    answers = {
        "accepted": (CommandStatus.ANSWERED, "Accepted"),
        "refused": (CommandStatus.ANSWERED, "Occupied"),
        "unheard": (CommandStatus.TIMED_OUT, None),
    }
    for step in steps:
        before = found
        if step in answers:
            after = reservation_rules.apply_command(found, ended("cmd-1", *answers[step]), NOW)
        elif step == "cancel":
            command = ended("cmd-2", CommandStatus.ANSWERED, "Accepted")
            asked = msgspec.structs.replace(found, cancel_command_id="cmd-2")
            after = reservation_rules.apply_command(asked, command, NOW)
        elif step == "used":
            after = reservation_rules.use(found, "tx-1", NOW)
        else:
            after = {
                "expire": reservation_rules.expire(found, LATER),
                "removed": reservation_rules.apply_status(found, "Removed", NOW),
                "gone": reservation_rules.withdraw(found, NOW),
            }[step]
        found = after or found
        moves += found.revision > before.revision
        if before.state not in OPEN and found is not before:
            assert step == "used"
    assert (found.state, found.transaction_ref) == (State.USED, "tx-1")
    assert found.revision == 1 + moves


PLACES: list[tuple[dict[str, int], int | None, bool]] = [
    ({}, 0, True),
    ({"evse_id": 2}, 2, True),
    ({"connector_id": 2}, 2, False),
    ({"evse_id": 2, "connector_id": 2}, 2, True),
    ({"evse_id": 1, "connector_id": 2}, None, True),
]


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
@pytest.mark.parametrize(("place", "connector", "in_2x"), PLACES)
def test_reserve_now_in_every_version(
    protocol: Protocol,
    place: dict[str, int],
    connector: int | None,
    in_2x: bool,  # noqa: FBT001 - a table's column
) -> None:
    """A connector of 1.6, 0 for any (§5.13), or an EVSE of 2.x (H01); else the version can't."""
    payload = {
        "id_token": "ABC",
        "type": "ISO14443",
        "number": 7,
        "expires_at": LATER.isoformat(),
        **place,
    }
    command = msgspec.structs.replace(ended("cmd-1", CommandStatus.QUEUED), payload=payload)
    possible = connector is not None if protocol is Protocol.OCPP16 else in_2x
    if not possible:
        with pytest.raises(Unsupported):
            build_call(command, protocol)
        return
    action, made = build_call(command, protocol)
    assert action == "ReserveNow"
    assert_valid(protocol, action, made)
    if protocol is Protocol.OCPP16:
        assert made["connectorId"] == connector
    else:
        assert made.get("evseId") == place.get("evse_id")
    back = msgspec.structs.replace(ended("cmd-2", CommandStatus.QUEUED), payload={"number": 7})
    assert build_call(back, protocol) == ("CancelReservation", {"reservationId": 7})

"""The life of a command: its states and moves (pure)."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.config_examples import NOW
from voltbus_backbone.contract.config import (
    CallEnded,
    CallOutcome,
    CommandChanged,
    CommandRequested,
    CommandStatus,
)
from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain import commands as command_rules
from voltbus_config.domain import outgoing
from voltbus_config.domain.commands import Command, WrongMoveError
from voltbus_config.domain.connections import Connection
from voltbus_config.domain.stations import Registration

MARGIN = timedelta(seconds=10)
CONNECTION = Connection(
    connection_id="c-1",
    gateway_id="g-1",
    gateway_partition=0,
    protocol=Protocol.OCPP16,
    connected_at=NOW,
    ready_at=NOW,
    open=True,
)


def queued(name: str = "cmd-1", **fields: object) -> Command:
    request = CommandRequested(station_id="CS-1", action="ClearCache", payload={"a": 1})
    made = command_rules.create_command(name, request, NOW, timedelta(hours=1))
    return msgspec.structs.replace(made, **fields)


def end(outcome: CallOutcome, attempt: int = 0, *, late: bool = False) -> CallEnded:
    return CallEnded(
        command_id="cmd-1",
        station_id="CS-1",
        connection_id="c-1",
        outcome=outcome,
        at=NOW,
        attempt=attempt,
        late=late,
    )


def test_final_states_have_no_way_out() -> None:
    """Everything but queued and sent is reached exactly once."""
    assert set(command_rules.MOVES) == command_rules.OPEN
    assert set(CommandStatus) - {CommandStatus.QUEUED, CommandStatus.SENT} == command_rules.FINAL


@given(st.lists(st.sampled_from(list(CommandStatus)), max_size=6))
def test_only_the_moves_of_the_table_are_possible(path: list[CommandStatus]) -> None:
    """Every other change of state is an error, not a surprise."""
    command = queued()
    for status in path:
        possible = status in command_rules.MOVES.get(command.status, frozenset())
        try:
            if status is CommandStatus.SENT:
                command = command_rules.mark_sent(command, CONNECTION, NOW, MARGIN)
            elif status is CommandStatus.QUEUED:
                command = command_rules.requeue(command)
            else:
                command = command_rules.end_command(command, status, NOW)
        except WrongMoveError:
            assert not possible
        else:
            assert possible
            assert command.status is status


def test_a_command_expires_only_in_the_queue_and_times_out_only_when_sent() -> None:
    """expires_at is for the queue; the call's own timeout and a margin for what went out."""
    waiting = queued()
    assert command_rules.end_if_overdue(waiting, NOW + timedelta(minutes=59)) is None
    expired = command_rules.end_if_overdue(waiting, NOW + timedelta(hours=1))
    assert expired is not None
    assert expired.status is CommandStatus.EXPIRED
    out = command_rules.mark_sent(waiting, CONNECTION, NOW, MARGIN)
    assert command_rules.end_if_overdue(out, NOW + timedelta(seconds=39)) is None
    timed_out = command_rules.end_if_overdue(out, NOW + timedelta(seconds=40))
    assert timed_out is not None
    assert timed_out.status is CommandStatus.TIMED_OUT


def test_nothing_is_heard_of_what_is_not_out() -> None:
    """A report about a queued or an ended command is late or repeated."""
    for outcome in CallOutcome:
        assert command_rules.apply_result(queued(), end(outcome), NOW) is None
        over = command_rules.end_command(queued(), CommandStatus.CANCELLED, NOW)
        assert command_rules.apply_result(over, end(outcome), NOW) is None


@pytest.mark.parametrize("late", [False, True])
def test_what_was_not_sent_goes_back_once_per_attempt(*, late: bool) -> None:
    """The report of an earlier attempt, delivered again, does not take back the new one."""
    first = command_rules.mark_sent(queued(), CONNECTION, NOW, MARGIN)
    back = command_rules.apply_result(first, end(CallOutcome.NOT_CONNECTED, 1, late=late), NOW)
    assert back is not None
    assert back.status is CommandStatus.QUEUED
    second = command_rules.mark_sent(back, CONNECTION, NOW, MARGIN)
    assert second.attempt == 2
    assert (
        command_rules.apply_result(second, end(CallOutcome.NOT_CONNECTED, 1, late=late), NOW)
        is None
    )
    assert (
        command_rules.apply_result(second, end(CallOutcome.NOT_CONNECTED, 2, late=late), NOW)
        is not None
    )


def test_a_call_may_be_sent_only_while_its_end_is_waited_for() -> None:
    """Sent at the last moment and unanswered, it is reported before it is given up (design 3)."""
    out = command_rules.mark_sent(queued(timeout_s=30.0), CONNECTION, NOW, MARGIN)
    assert out.not_after is not None
    assert out.give_up_at is not None
    assert out.not_after > NOW
    assert out.not_after + timedelta(seconds=out.timeout_s) < out.give_up_at


def test_a_command_that_always_comes_too_late_ends() -> None:
    """Clocks that are apart: it is tried again, not for ever, and the operator reads why."""
    command = queued()
    for attempt in (1, 2, 3):
        assert command.status is CommandStatus.QUEUED
        out = command_rules.mark_sent(command, CONNECTION, NOW, MARGIN)
        after = command_rules.apply_result(
            out, end(CallOutcome.NOT_CONNECTED, attempt, late=True), NOW
        )
        assert after is not None
        command = after
    assert command.status is CommandStatus.TIMED_OUT
    assert "clocks" in (command.error_description or "")


def test_the_queue_is_in_order_and_stops_while_one_is_out() -> None:
    """Ids grow with time; one CALL per direction (A13)."""
    commands = [queued(name) for name in ("cmd-3", "cmd-1", "cmd-2")]
    assert [command.id for command in command_rules.select_sendable(commands)] == [
        "cmd-1",
        "cmd-2",
        "cmd-3",
    ]
    out = command_rules.mark_sent(commands[0], CONNECTION, NOW, MARGIN)
    assert command_rules.select_sendable([out, *commands[1:]]) == []


@pytest.mark.parametrize(
    ("action", "reach", "expected"),
    [
        ("Reset", Registration.ACCEPTED, True),
        ("SetVariables", Registration.PENDING, True),
        ("TriggerMessage", Registration.PENDING, True),
        ("RequestStartTransaction", Registration.PENDING, False),
        ("RemoteStopTransaction", Registration.PENDING, False),
        ("TriggerMessage", Registration.REJECTED, False),
    ],
)
def test_what_may_be_sent_depends_on_the_registration(
    action: str,
    reach: Registration,
    expected: bool,  # noqa: FBT001 - a table
) -> None:
    """B02.FR.01, B02.FR.05, B03.FR.03."""
    assert command_rules.is_allowed(action, reach) is expected


def test_a_fingerprint_tells_requests_apart_and_needs_its_key() -> None:
    """The order of members does not matter; under another key it is another one."""
    one = command_rules.compute_fingerprint("k", "Reset", {"a": 1, "b": {"c": 2, "d": 3}})
    assert one == command_rules.compute_fingerprint("k", "Reset", {"b": {"d": 3, "c": 2}, "a": 1})
    assert one != command_rules.compute_fingerprint("k", "Reset", {"a": 2})
    assert one != command_rules.compute_fingerprint("K", "Reset", {"a": 1, "b": {"c": 2, "d": 3}})


def test_an_answer_to_a_new_password_leaves_only_its_status() -> None:
    """A station that repeats a password in its answer or its error does not get it stored (A7)."""
    out = command_rules.mark_sent(queued(action="set_password"), CONNECTION, NOW, MARGIN)
    result = {"attributeStatus": "Rejected", "attributeStatusInfo": {"additionalInfo": "0f0f"}}
    answered = msgspec.structs.replace(
        end(CallOutcome.ANSWERED), payload={"setVariableResult": [result]}
    )
    refused = msgspec.structs.replace(end(CallOutcome.REJECTED), error_description="no 0f0f")
    after = [command_rules.apply_result(out, heard, NOW) for heard in (answered, refused)]
    assert [each.answer_status for each in after if each is not None] == ["Rejected", None]
    assert "0f0f" not in repr(after)


def test_events_repeat_who_asked_and_of_an_answer_only_what_the_table_names() -> None:
    """A service follows its own commands by their cause; an answer's other fields stay inside."""
    out = command_rules.mark_sent(
        queued(action="GetLocalListVersion", cause="list:CS-1:7"), CONNECTION, NOW, MARGIN
    )
    heard = msgspec.structs.replace(
        end(CallOutcome.ANSWERED), payload={"listVersion": 7, "customData": {"idTag": "0f0f"}}
    )
    after = command_rules.apply_result(out, heard, NOW)
    assert after is not None
    message = outgoing.build_command_changed(after, NOW).message
    assert isinstance(message, CommandChanged)
    assert (message.cause, message.told) == ("list:CS-1:7", {"listVersion": 7})


def test_an_answer_that_could_not_be_read_says_so() -> None:
    """It came, and nobody knows what the station did: timed out at once, with the reason."""
    out = command_rules.mark_sent(queued(), CONNECTION, NOW, MARGIN)
    unread = msgspec.structs.replace(
        end(CallOutcome.TIMED_OUT), error_description="The station's answer could not be read"
    )
    after = command_rules.apply_result(out, unread, NOW)
    assert after is not None
    assert (after.status, after.error_code) == (CommandStatus.TIMED_OUT, None)
    assert after.error_description == "The station's answer could not be read"


def test_what_was_odd_in_an_answer_is_kept_with_it() -> None:
    """The station's word counts; the operator sees beside it what did not fit (ADR 12)."""
    out = command_rules.mark_sent(queued(), CONNECTION, NOW, MARGIN)
    odd = msgspec.structs.replace(
        end(CallOutcome.ANSWERED),
        payload={"status": "Accepted", "info": "ok"},
        repairs=("payload: unknown property info",),
    )
    after = command_rules.apply_result(out, odd, NOW)
    assert after is not None
    assert (after.status, after.answer_status) == (CommandStatus.ANSWERED, "Accepted")
    assert after.repairs == ("payload: unknown property info",)

"""A rotation's states: whatever is heard, and in whatever order, the station stays let in (A7)."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from auth.auth_examples import NOW, STATION, command_changed, connected
from voltbus_auth.credentials.domain.changes import change as states
from voltbus_auth.credentials.domain.changes import following, rotation
from voltbus_auth.credentials.domain.changes.change import FINAL, Change, State
from voltbus_auth.credentials.domain.changes.rotation import PasswordKey
from voltbus_auth.credentials.domain.credentials import Credentials, fast_verifier
from voltbus_backbone.contract.config import CommandChanged, CommandStatus
from voltbus_backbone.contract.stations import StationConnected

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.values import Message

PASSWORD_KEY = PasswordKey(bytes(range(32)), "key-1")
SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
OLD = fast_verifier("00" * 20, bytes)


def begun() -> tuple[Change, Credentials]:
    """A rotation of a station with one password."""
    known = Credentials(station_id=STATION, minimum_profile=1, verifiers=(OLD,))
    counted = iter(range(1, 256))
    change, both = rotation.begin(
        "r-1",
        known,
        PASSWORD_KEY,
        lambda size: bytes([next(counted)]) * size,
        NOW,
        wait_s=60,
        timeout_s=30,
    )
    asked = states.published(change)
    assert asked is not None
    return asked, both


def command(
    status: CommandStatus, at: datetime, answer: str | None = None, code: str | None = None
) -> CommandChanged:
    return command_changed(
        "set_password", status, answer, at=at, error_code=code, cause="rotation:r-1"
    )


def login(credential_id: str, at: datetime) -> StationConnected:
    return connected(at, credential_id=credential_id)


def after(change: Change, *messages: Message) -> Change:
    for message in messages:
        if isinstance(message, CommandChanged):
            change = following.heard(change, message) or change
        else:
            assert isinstance(message, StationConnected)
            change = following.connected(change, message) or change
    return change


def new_id(change: Change) -> str:
    assert change.password is not None
    return change.password.credential_id


def let_in(both: Credentials, change: Change) -> set[str]:
    """Who is let in now, by the names of verifiers."""
    held = states.settled(both, change) if change.state in FINAL else both
    return {one.id for one in held.verifiers}


def test_the_password_is_made_anew_from_what_is_stored_and_fits_its_verifier() -> None:
    """A process that was killed before asking asks for the same one; alone, the seed says none."""
    change, both = begun()
    wanted = rotation.wanted(change, PASSWORD_KEY)
    assert wanted is not None
    assert wanted == rotation.wanted(change, PASSWORD_KEY)
    password = wanted.payload["password"]
    assert len(bytes.fromhex(password)) == 20
    verifier = both.verifiers[0]
    assert (
        verifier.digest
        == hashlib.sha256(bytes.fromhex(verifier.salt) + password.encode()).hexdigest()
    )
    assert password not in repr((change, both, wanted, PASSWORD_KEY))
    stored = msgspec.json.encode(change)
    assert password.encode() not in stored
    # Under another key, something else would come out: nothing is asked for.
    assert rotation.wanted(change, PasswordKey(bytes(32), "key-2")) is None


def test_the_seed_is_gone_when_the_rotation_has_ended() -> None:
    """Nobody makes the password of a rotation that is over, not even with the key."""
    change, _ = begun()
    over = after(change, command(CommandStatus.ANSWERED, NOW, "Accepted"))
    assert over.state is State.SUCCEEDED
    assert over.password is not None
    assert over.password.seed is None
    assert rotation.wanted(over, PASSWORD_KEY) is None


@pytest.mark.parametrize(
    ("status", "answer", "code", "expected"),
    [
        (CommandStatus.ANSWERED, "Accepted", None, State.SUCCEEDED),
        (CommandStatus.ANSWERED, "Rejected", None, State.FAILED),
        (CommandStatus.ANSWERED, "NotSupported", None, State.FAILED),
        (CommandStatus.ANSWERED, "UnknownVariable", None, State.FAILED),
        (CommandStatus.REJECTED, None, "NotImplemented", State.FAILED),
        (CommandStatus.REJECTED, None, "SecurityError", State.FAILED),
        (CommandStatus.REJECTED, None, "InternalError", State.UNSETTLED),
        (CommandStatus.REJECTED, None, "GenericError", State.UNSETTLED),
        (CommandStatus.REJECTED, None, "RpcFrameworkError", State.UNSETTLED),
        (CommandStatus.REJECTED, None, "FormationViolation", State.UNSETTLED),
        (CommandStatus.ANSWERED, "RebootRequired", None, State.UNSETTLED),
        (CommandStatus.ANSWERED, None, None, State.UNSETTLED),
        (CommandStatus.TIMED_OUT, None, None, State.UNSETTLED),
        (CommandStatus.EXPIRED, None, None, State.UNSETTLED),
        (CommandStatus.CANCELLED, None, None, State.UNSETTLED),
    ],
)
def test_the_end_of_the_command_settles_or_leaves_both(
    status: CommandStatus, answer: str | None, code: str | None, expected: State
) -> None:
    """Accepted: only the new one; another status: only the earlier; no answer: both (A7)."""
    change, both = begun()
    ended = after(change, command(status, NOW, answer, code))
    assert ended.state is expected
    assert (
        let_in(both, ended)
        == {
            State.SUCCEEDED: {new_id(change)},
            State.FAILED: {OLD.id},
            State.UNSETTLED: {new_id(change), OLD.id},
        }[expected]
    )


def test_the_next_log_in_tells() -> None:
    """Unsettled: a later log-in with one of the two drops the other; an earlier one does not."""
    change, both = begun()
    open_ = after(change, command(CommandStatus.TIMED_OUT, NOW))
    assert after(open_, login(OLD.id, NOW - SECOND)).state is State.UNSETTLED
    assert let_in(both, after(open_, login(OLD.id, NOW + MINUTE))) == {OLD.id}
    assert let_in(both, after(open_, login(new_id(change), NOW + SECOND))) == {new_id(change)}


@pytest.mark.parametrize("told_first", ["the log-in", "the end"])
@pytest.mark.parametrize("connection", ["c-1", "c-2"])
def test_a_gateway_whose_clock_is_ahead_locks_nobody_out(told_first: str, connection: str) -> None:
    """The log-in before the command seems later than its end: it proves nothing (A7).

    The station took the password and lost power before it answered.
    """
    change, both = begun()
    ended = command(CommandStatus.TIMED_OUT, NOW + 2 * SECOND)
    ended = msgspec.structs.replace(ended, connection_id="c-1")
    before = msgspec.structs.replace(login(OLD.id, NOW + 3 * SECOND), connection_id=connection)
    facts = [before, ended] if told_first == "the log-in" else [ended, before]
    still = after(change, *facts)
    assert let_in(both, still) == {new_id(change), OLD.id}
    assert let_in(both, after(still, login(new_id(change), NOW + MINUTE))) == {new_id(change)}


@pytest.mark.parametrize("told_first", ["the log-in", "the end"])
def test_the_log_in_that_its_command_went_out_on_tells_nothing(told_first: str) -> None:
    """Whatever the clocks say: it came before the command."""
    change, both = begun()
    ended = command(CommandStatus.TIMED_OUT, NOW)
    ended = msgspec.structs.replace(ended, connection_id="c-1")
    before = msgspec.structs.replace(login(OLD.id, NOW + MINUTE), connection_id="c-1")
    facts = [before, ended] if told_first == "the log-in" else [ended, before]
    assert let_in(both, after(change, *facts)) == {new_id(change), OLD.id}


def test_a_station_that_needs_a_restart_may_log_in_with_the_earlier_one_before_it() -> None:
    """RebootRequired: it will use the new one later, so that dropping it would lock it out."""
    change, both = begun()
    open_ = after(change, command(CommandStatus.ANSWERED, NOW, "RebootRequired"))
    still = after(open_, login(OLD.id, NOW + SECOND))
    assert let_in(both, still) == {OLD.id, new_id(change)}
    assert after(still, login(new_id(change), NOW + 2 * SECOND)).state is State.SUCCEEDED


def test_silence_settles_nothing() -> None:
    """When config says nothing for long, both stay; what it says later still counts."""
    change, both = begun()
    assert following.overdue(change, NOW + timedelta(seconds=90)) is None
    late = following.overdue(change, NOW + timedelta(seconds=60 + 30 + 120))
    assert late is not None
    assert late.state is State.UNSETTLED
    assert let_in(both, late) == {OLD.id, new_id(change)}
    assert after(late, command(CommandStatus.ANSWERED, NOW, "Accepted")).state is State.SUCCEEDED


def test_commands_of_others_move_nothing() -> None:
    """Another cause, no cause, or another station's command is not this rotation's."""
    change, _ = begun()
    accepted = command(CommandStatus.ANSWERED, NOW, "Accepted")
    for other in ({"cause": None}, {"cause": "rotation:r-2"}, {"station_id": "CS-9"}):
        assert after(change, msgspec.structs.replace(accepted, **other)) == change
    assert states.change_of(None) is None
    assert states.change_of("list:CS-1:7") is None


ENDS = st.sampled_from(
    [
        (CommandStatus.ANSWERED, "Accepted", None, True),
        (CommandStatus.ANSWERED, "Rejected", None, False),
        (CommandStatus.ANSWERED, "RebootRequired", None, True),
        (CommandStatus.REJECTED, None, "NotSupported", False),
        (CommandStatus.REJECTED, None, "InternalError", True),
        (CommandStatus.REJECTED, None, "FormatViolation", True),
        (CommandStatus.REJECTED, None, "FormatViolation", False),
        (CommandStatus.TIMED_OUT, None, None, True),
        (CommandStatus.TIMED_OUT, None, None, False),
        (CommandStatus.EXPIRED, None, None, False),
        (CommandStatus.CANCELLED, None, None, False),
    ]
)


@given(end=ENDS, before=st.integers(0, 2), later=st.integers(0, 2), data=st.data())
def test_a_station_is_never_locked_out(
    end: tuple[CommandStatus, str | None, str | None, bool],
    before: int,
    later: int,
    data: st.DataObject,
) -> None:
    """Events in any order, each any number of times: what the station knows is let in (A01, A7).

    The station logs in with the earlier password before the command, and afterwards with the one
    that it then uses.
    """
    status, answer, code, took_it = end
    change, both = begun()
    used = new_id(change) if took_it else OLD.id
    over = NOW + 10 * SECOND
    facts: list[Message] = [
        command(CommandStatus.QUEUED, NOW),
        command(CommandStatus.SENT, NOW + SECOND),
        command(status, over, answer, code),
    ]
    facts += [login(OLD.id, NOW - (1 + each) * SECOND) for each in range(before)]
    facts += [login(used, over + (1 + each) * MINUTE) for each in range(later)]
    heard = data.draw(st.lists(st.sampled_from(facts), max_size=3 * len(facts)))
    complete = data.draw(st.permutations(facts))
    for message in [*heard, *complete]:
        change = after(change, message)
        assert used in let_in(both, change)
    if later:
        assert let_in(both, change) == {used}
        assert change.state is (State.SUCCEEDED if took_it else State.FAILED)

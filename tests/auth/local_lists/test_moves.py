"""The steps of a station's list: what is sent next, and what each answer leads to."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import NOW
from auth.local_lists.modelled import (
    HERE,
    LAST,
    RETRY,
    Central,
    ModelStation,
    ended,
    ref,
    wanted,
)
from voltbus_auth.local_lists.domain import moves
from voltbus_auth.local_lists.domain.answers import Retry
from voltbus_auth.local_lists.domain.moves import GIVEN_UP_AFTER
from voltbus_auth.local_lists.domain.station import (
    Kind,
    ListState,
    Situation,
    Status,
    booted,
    of_protocol,
    overwritten,
    reported,
    resend,
    returned,
)
from voltbus_auth.local_lists.domain.wire import Limits
from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

ANSWERED = CommandStatus.ANSWERED


def in_sync(station: ModelStation, *numbers: int) -> Central:
    """Our side once the station holds these tokens."""
    central = Central()
    central.converse(station, wanted(*numbers))
    assert central.state.status is Status.IN_SYNC
    return central


def test_full_with_the_first_entries_then_differentials() -> None:
    """Within SendLocalListMaxLength: one Full, then the rest; each message a version of its own."""
    station = ModelStation(most=3)
    central = in_sync(station, *range(1, 9))
    assert station.updates == ["full", "differential", "differential"]
    assert set(station.entries) == {ref(number) for number in range(1, 9)}
    assert central.state.version == station.version == 3


def test_nothing_is_sent_twice() -> None:
    """The same list again is no call; a changed line is one differential with that line."""
    station = ModelStation()
    central = in_sync(station, 1, 2)
    assert central.converse(station, wanted(1, 2)) == 0
    other = wanted(1, 2)
    other.entries[ref(2)] = wanted(2, info={"status": "Blocked"}).entries[ref(2)]
    look = central.look(other)
    assert look.order is not None
    assert look.order.kind is Kind.DIFFERENTIAL
    assert look.order.changes == ((ref(2), {"status": "Blocked"}),)


def test_what_is_taken_off_goes_first() -> None:
    """A blocked token is off the list with the first message, and makes room for others."""
    station = ModelStation(most=2, room=2)
    central = in_sync(station, 1, 2)
    look = central.look(wanted(3, 4))
    assert look.order is not None
    assert look.order.changes == ((ref(1), None), (ref(2), None))
    central.send(look.order)
    # The station never overflows on the way.
    assert station.answer(look.order) == ("Accepted", {})


def test_a_token_whose_value_is_gone_makes_a_full_list() -> None:
    """An erased token cannot be named any more, so the list is sent anew without it (N10.FR.02)."""
    station = ModelStation()
    central = in_sync(station, 1, 2)
    central.readable = set()
    central.converse(station, wanted(2))
    assert station.updates == ["full", "full"]
    assert set(station.entries) == {ref(2)}


def test_an_emptied_list_is_a_full_list_without_entries() -> None:
    """Once no plan is left the list is emptied, and the station is ours no longer."""
    station = ModelStation()
    central = in_sync(station, 1)
    gone = Situation(wanted=False, reachable=True)
    central.readable = set()
    look = central.look(wanted(), gone)
    assert look.order is not None
    assert (look.order.kind, look.order.changes) == (Kind.FULL, ())
    central.hear(ended(central.send(look.order), ANSWERED, station.answer(look.order)[0]))
    assert central.look(wanted(), gone).state.status is Status.UNMANAGED
    assert station.entries == {}


def test_a_station_without_a_plan_is_left_alone() -> None:
    """Whoever keeps lists by hand may go on doing so."""
    central = Central()
    look = central.look(wanted(), Situation(wanted=False, reachable=True))
    assert (look.order, look.due, look.state.status) == (None, None, Status.UNMANAGED)


def test_nothing_is_sent_to_a_station_that_is_away() -> None:
    """A readable token must not wait in anybody's queue."""
    central = Central()
    look = central.look(wanted(1), Situation(wanted=True, reachable=False))
    assert (look.order, look.due, look.state.status) == (None, None, Status.UNREACHABLE)


@pytest.mark.parametrize("version", [0, 5])
def test_a_version_of_somebody_elses(version: int) -> None:
    """A list that is not known to be ours is replaced by a newer Full (1.6 5.10, D02)."""
    station = ModelStation(version=version, entries={ref(9): {}} if version else {})
    central = in_sync(station, 1)
    assert set(station.entries) == {ref(1)}
    assert central.state.version == version + 1


def test_version_mismatch_is_mended_by_a_full_list() -> None:
    """1.6 5.15, D01.FR.05: Full after a mismatch, under a number above the station's."""
    station = ModelStation()
    central = in_sync(station, 1)
    station.version, station.entries = 40, {ref(8): {}}
    central.converse(station, wanted(1, 2))
    assert central.state.status is Status.IN_SYNC
    assert set(station.entries) == {ref(1), ref(2)}
    assert station.version == 41
    assert central.state.failures == 0


def test_failed_is_mended_by_a_full_list() -> None:
    """1.6 5.15: a differential that failed is followed by a Full at once."""
    station = ModelStation()
    central = in_sync(station, 1)
    look = central.look(wanted(1, 2))
    assert look.order is not None
    central.hear(ended(central.send(look.order), ANSWERED, "Failed"))
    look = central.look(wanted(1, 2))
    assert look.order is not None
    assert look.order.kind is Kind.FULL


def test_a_full_list_that_fails_gets_smaller_and_rarer() -> None:
    """Half as many entries each time, waits that double up to an hour, and the state says why."""
    station = ModelStation(most=50)
    station.most = 1  # and does not say so
    central = Central()
    central.state = replace(central.state, limits=Limits(items=8), checked=True)
    sizes, waits = [], []
    for _ in range(4):
        look = central.look(wanted(*range(1, 9)))
        if look.order is None:
            assert look.due is not None
            waits.append(look.due - central.now)
            central.now = look.due
            look = central.look(wanted(*range(1, 9)))
        assert look.order is not None
        sizes.append(len(look.order.changes))
        central.hear(ended(central.send(look.order), ANSWERED, station.answer(look.order)[0]))
    assert sizes == [8, 4, 2, 1]
    assert waits == [timedelta(seconds=30), timedelta(seconds=60)]
    central.converse(station, wanted(*range(1, 9)))
    assert len(station.entries) == 8


@pytest.mark.parametrize(
    ("kind", "event"),
    [
        (Kind.VERSION, {"status": ANSWERED, "told": {"listVersion": -1}}),
        (Kind.VERSION, {"status": CommandStatus.REJECTED, "error_code": "NotImplemented"}),
        (Kind.FULL, {"status": ANSWERED, "answer": "NotSupported"}),
        (Kind.FULL, {"status": CommandStatus.REJECTED, "error_code": "NotSupported"}),
    ],
)
def test_unsupported_until_another_firmware(kind: Kind, event: dict[str, object]) -> None:
    """1.6 5.10 (-1), 5.15 (NotSupported) or an unknown action: nothing more is sent."""
    central = Central()
    central.state = replace(central.state, limits=Limits(), checked=kind is not Kind.VERSION)
    look = central.look(wanted(1))
    assert look.order is not None
    assert look.order.kind is kind
    cause = central.send(look.order)
    central.hear(ended(cause, **event))  # type: ignore[arg-type]
    look = central.look(wanted(1, 2))
    assert (look.order, look.due, look.state.status) == (None, None, Status.UNSUPPORTED)
    central.state = booted(central.state, other_firmware=False)
    assert central.look(wanted(1)).order is None
    central.state = booted(central.state, other_firmware=True)
    look = central.look(wanted(1))
    assert look.order is not None
    assert look.order.kind is Kind.LIMITS


@pytest.mark.parametrize("applied", [True, False])
def test_an_update_that_nobody_heard_of(*, applied: bool) -> None:
    """After a time-out the list's version tells whether the station took the update."""
    station = ModelStation()
    central = in_sync(station, 1)
    look = central.look(wanted(1, 2))
    assert look.order is not None
    cause = central.send(look.order)
    if applied:
        station.answer(look.order)
    before = list(station.updates)
    central.hear(ended(cause, CommandStatus.TIMED_OUT))
    central.converse(station, wanted(1, 2))
    assert set(station.entries) == {ref(1), ref(2)}
    assert central.state.held.keys() == station.entries.keys()
    assert station.updates[len(before) :] == ([] if applied else ["differential"])


def test_a_call_that_was_never_heard_of_is_given_up() -> None:
    """Even without any event the list goes on: its version is asked for."""
    station = ModelStation()
    central = in_sync(station, 1)
    look = central.look(wanted(1, 2))
    assert look.order is not None
    central.send(look.order)
    waiting = central.look(wanted(1, 2))
    assert (waiting.order, waiting.due) == (None, central.now + GIVEN_UP_AFTER)
    central.now += GIVEN_UP_AFTER
    assert central.look(wanted(1, 2)).due == central.now
    look = central.look(wanted(1, 2))
    assert look.order is not None
    assert look.order.kind is Kind.VERSION


def test_a_call_that_was_never_sent_changes_nothing() -> None:
    """An expired command is tried again later, as what it was."""
    station = ModelStation()
    central = in_sync(station, 1)
    look = central.look(wanted(1, 2))
    assert look.order is not None
    central.hear(ended(central.send(look.order), CommandStatus.EXPIRED))
    waiting = central.look(wanted(1, 2))
    assert (waiting.order, waiting.due) == (None, central.now + timedelta(seconds=30))
    central.converse(station, wanted(1, 2))
    assert station.updates == ["full", "differential"]


def test_a_record_that_was_perhaps_not_written_is_written_again() -> None:
    """Killed between store and publish, the same call goes out under the same cause."""
    central = Central()
    look = central.look(wanted(1))
    assert look.order is not None
    central.state = moves.sent(central.state, look.order, "cause-1", NOW)
    look = central.look(wanted(1))
    assert look.order is not None
    assert look.order.again is central.state.flight
    assert look.state.serial == central.state.serial


@pytest.mark.parametrize("status", [CommandStatus.QUEUED, CommandStatus.SENT])
def test_a_command_on_its_way_is_waited_for(status: CommandStatus) -> None:
    """Only an end counts; and of another command, nothing does."""
    central = Central()
    look = central.look(wanted(1))
    assert look.order is not None
    cause = central.send(look.order)
    before = central.state
    central.hear(ended(cause, status))
    central.hear(ended("cause-0", ANSWERED, "Accepted"))
    assert central.state is before


def test_a_reboot_that_lost_the_list() -> None:
    """After a boot the version is compared; a station that is empty gets its list again."""
    station = ModelStation()
    central = in_sync(station, 1, 2)
    station.version, station.entries = 0, {}
    central.state = booted(central.state, other_firmware=False)
    central.converse(station, wanted(1, 2))
    assert set(station.entries) == {ref(1), ref(2)}
    assert station.updates[-1] == "full"


def test_a_reboot_that_kept_the_list() -> None:
    """The version is asked for, and nothing is sent."""
    station = ModelStation()
    central = in_sync(station, 1, 2)
    central.state = booted(central.state, other_firmware=False)
    assert central.converse(station, wanted(1, 2)) == 1
    assert station.updates == ["full"]


@pytest.mark.parametrize(("absent", "asked"), [(timedelta(minutes=5), 0), (timedelta(hours=2), 1)])
def test_a_long_absence_is_checked_a_short_one_is_not(absent: timedelta, asked: int) -> None:
    """A connection that was lost for a moment costs no call."""
    station = ModelStation()
    central = in_sync(station, 1)
    central.state = returned(central.state, absent)
    assert central.converse(station, wanted(1)) == asked


def test_another_protocol_is_another_list() -> None:
    """Lines of 1.6 are not those of 2.0.1: the list is sent in full."""
    station = ModelStation()
    central = in_sync(station, 1)
    central.state = of_protocol(central.state, Protocol.OCPP201)
    kinds = []
    for _ in range(4):
        look = central.look(wanted(1))
        assert look.order is not None
        kinds.append(look.order.kind)
        cause = central.send(look.order)
        told = {"versionNumber": station.version} if look.order.kind is Kind.VERSION else {}
        status = "Accepted" if look.order.kind is Kind.FULL else None
        central.hear(ended(cause, ANSWERED, status, told=told))
    assert kinds == [Kind.LIMITS, Kind.REPORT, Kind.VERSION, Kind.FULL]


def test_a_list_that_somebody_else_sent_is_replaced() -> None:
    """An operator's own SendLocalList is undone while there is a plan."""
    station = ModelStation()
    central = in_sync(station, 1)
    station.version, station.entries = 2, {ref(7): {}}
    central.state = overwritten(central.state)
    central.converse(station, wanted(1))
    assert set(station.entries) == {ref(1)}


@pytest.mark.parametrize("heard_of", ["before the time-out", "after it"])
def test_a_foreign_list_of_the_same_version_is_not_taken_for_ours(heard_of: str) -> None:
    """Our update was lost, and a list of somebody else took its number: ours comes again."""
    station, central = ModelStation(), Central()
    look = central.look(wanted(1))
    while look.order is not None and look.order.kind is not Kind.FULL:
        cause = central.send(look.order)
        status, told = station.answer(look.order)
        central.hear(ended(cause, ANSWERED, status, told=told))
        look = central.look(wanted(1))
    assert look.order is not None
    cause = central.send(look.order)
    station.version, station.entries = look.order.version, {ref(7): {}}
    if heard_of == "before the time-out":
        central.state = overwritten(central.state)
    central.hear(ended(cause, CommandStatus.TIMED_OUT))
    if heard_of == "after it":
        central.state = overwritten(central.state)
    central.converse(station, wanted(1))
    assert set(station.entries) == {ref(1)}


def test_resend_forces_a_full_list() -> None:
    """Whatever the station is thought to hold; and one that was unsupported is asked again."""
    station = ModelStation()
    central = in_sync(station, 1)
    central.state = resend(central.state)
    central.converse(station, wanted(1))
    assert station.updates == ["full", "full"]


@pytest.mark.parametrize("doubt", [resend, overwritten])
def test_a_doubt_outlives_a_differential(doubt: Callable[[ListState], ListState]) -> None:
    """Resend, or a foreign list, while a differential is out: its answer does not settle that."""
    station = ModelStation()
    central = in_sync(station, 1)
    look = central.look(wanted(1, 2))
    assert look.order is not None
    cause = central.send(look.order)
    central.state = doubt(central.state)
    central.hear(ended(cause, ANSWERED, station.answer(look.order)[0]))
    central.converse(station, wanted(1, 2))
    assert station.updates == ["full", "differential", "full"]


def test_an_answer_from_before_another_protocol_is_not_heard() -> None:
    """Its lines are in the words of the version that the station spoke then."""
    central = Central()
    central.state = replace(central.state, limits=Limits(), checked=True)
    look = central.look(wanted(1))
    assert look.order is not None
    cause = central.send(look.order)
    central.state = of_protocol(central.state, Protocol.OCPP21)
    before = central.state
    central.hear(ended(cause, ANSWERED, "Accepted"))
    assert central.state is before
    assert not before.known


def test_an_unsupported_station_without_a_plan_is_nobodys() -> None:
    """Once its plan is gone there is nothing to say of it."""
    central = Central()
    central.state = replace(central.state, status=Status.UNSUPPORTED, highest=3)
    look = central.look(wanted(), Situation(wanted=False, reachable=True))
    assert (look.order, look.state.status) == (None, Status.UNMANAGED)


def test_after_the_last_number_versions_begin_anew() -> None:
    """The wire has 31 bits; a Full may go back to 1."""
    station = ModelStation()
    central = in_sync(station, 1)
    central.state = replace(central.state, version=LAST, highest=LAST)
    station.version = LAST
    central.converse(station, wanted(1, 2))
    assert (station.version, central.state.version) == (1, 1)
    assert station.updates[-1] == "full"


def test_limits_are_those_that_were_told() -> None:
    """Told limits hold, a report's where the answer had none, and assumptions where nothing did."""
    state = Central().state
    assert (state.most_entries, state.most_items) == (500, 50)
    state = replace(state, limits=Limits(items=0, bytes=2000))
    assert (state.most_items, state.most_bytes) == (1, 2000)
    state = reported(state, 20)
    assert state.most_entries == 20
    state = replace(state, limits=Limits(entries=10**6, items=10**6, bytes=10**9))
    assert (state.most_entries, state.most_items, state.most_bytes) == (10_000, 500, 100_000)


def test_waits_double_to_an_hour_and_are_spread() -> None:
    """A fleet that fails together does not come back together."""
    assert [RETRY.after(count).total_seconds() for count in (0, 1, 2, 3, 9, 10**6)] == [
        30,
        30,
        60,
        120,
        3600,
        3600,
    ]
    assert Retry(timedelta(seconds=30), 0.5).after(1) == timedelta(seconds=37.5)


def test_the_next_look_is_when_the_clock_changes_something() -> None:
    """In sync, it waits for a token's end or beginning."""
    station = ModelStation()
    central = in_sync(station, 1)
    later = replace(wanted(1), next_change=NOW + timedelta(days=1))
    assert central.look(later, HERE).due == NOW + timedelta(days=1)

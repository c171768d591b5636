"""The pace of a fleet's rotations, and when it stops (pure)."""

from __future__ import annotations

from datetime import timedelta

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from auth.auth_examples import NOW
from voltbus_auth.credentials.domain.changes import fleet as pacing
from voltbus_auth.credentials.domain.changes.fleet import Fleet, FleetState, Progress

SECOND = timedelta(seconds=1)


def fleet(at_once: int = 10, per_minute: float = 60, most_failures: int = 3) -> Fleet:
    made = Fleet(
        id="f-1",
        state=FleetState.PAUSED,
        created_at=NOW,
        at_once=at_once,
        per_minute=per_minute,
        most_failures=most_failures,
        wait_s=60,
        timeout_s=30,
        total=100,
        next_at=NOW,
        revision=1,
    )
    return pacing.begin(made, NOW)


def test_no_more_at_once_than_allowed() -> None:
    """Commands under way take the places; unsettled rotations wait for stations and take none."""
    fast = fleet(at_once=5, per_minute=60_000)
    later = NOW + SECOND
    assert pacing.room(fast, Progress(waiting=100, unsettled=50), later) == 5
    assert pacing.room(fast, Progress(waiting=100, open=3), later) == 2
    assert pacing.room(fast, Progress(waiting=100, open=7), later) == 0
    assert pacing.room(fast, Progress(waiting=1), later) == 1


@given(
    per_minute=st.floats(1, 1200),
    pauses=st.lists(st.floats(0.1, 30), min_size=1, max_size=60),
)
def test_no_faster_than_the_pace(per_minute: float, pauses: list[float]) -> None:
    """However late the looks come, the beginnings of a stretch keep to the pace."""
    running, now, begun = fleet(at_once=1000, per_minute=per_minute), NOW, 0
    for pause in [0.0, *pauses]:
        now += timedelta(seconds=pause)
        progress = Progress(waiting=100_000)
        count = pacing.room(running, progress, now)
        begun += count
        running = pacing.looked_at(running, progress, count, now)
    # One at once, and what a look of one second at most saved up.
    assert begun <= 2 + per_minute * ((now - NOW).total_seconds() + 1) / 60


def test_too_many_failures_stop_it_and_resuming_forgives_them() -> None:
    """At the threshold nothing more is begun; after resuming, it counts anew."""
    failing = Progress(waiting=10, failed=3)
    assert pacing.room(fleet(), failing, NOW) == 0
    stopped = pacing.looked_at(fleet(), failing, 0, NOW)
    assert (stopped.state, stopped.due_at) == (FleetState.STOPPED, None)
    assert "3 failed" in stopped.detail
    again = pacing.resumed(stopped, failing, NOW)
    assert again is not None
    assert pacing.room(again, failing, NOW) == 1
    assert pacing.looked_at(again, msgspec.structs.replace(failing, failed=6), 0, NOW).state is (
        FleetState.STOPPED
    )


def test_pausing_and_resuming() -> None:
    """A paused one begins nothing; one that is over can be neither paused nor resumed."""
    held = pacing.paused(fleet())
    assert held is not None
    assert pacing.room(held, Progress(waiting=10), NOW + SECOND) == 0
    assert pacing.paused(held) is None
    going = pacing.resumed(held, Progress(waiting=10), NOW + SECOND)
    assert going is not None
    assert pacing.room(going, Progress(waiting=10), NOW + SECOND) == 1
    done = pacing.looked_at(going, Progress(succeeded=9, unsettled=1), 0, NOW + SECOND)
    assert (done.state, done.ended_at) == (FleetState.COMPLETED, NOW + SECOND)
    assert pacing.paused(done) is None
    assert pacing.resumed(done, Progress(), NOW) is None

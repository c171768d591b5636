"""Whatever goes wrong on the way, in the end the station holds what it should, and we know it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from auth.local_lists.modelled import Central, ModelStation, again, ended, wanted
from voltbus_auth.local_lists.domain import moves
from voltbus_auth.local_lists.domain.moves import GIVEN_UP_AFTER
from voltbus_auth.local_lists.domain.station import Status, booted, overwritten, returned
from voltbus_backbone.contract.config import CommandStatus

if TYPE_CHECKING:
    from voltbus_auth.local_lists.domain.entries import Desired

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("want"), st.sets(st.integers(1, 12), max_size=9)),
        st.tuples(
            st.sampled_from(
                [
                    "accept",
                    "fail",
                    "time_out_applied",
                    "time_out",
                    "expire",
                    "lose_applied",
                    "lose",
                    "killed_before_publishing",
                    "reboot_empty",
                    "reboot",
                    "foreign_list",
                    "foreign_list_heard_of",
                    "return_late",
                    "erase",
                ]
            ),
            st.none(),
        ),
    ),
    max_size=25,
)


@settings(deadline=None)  # the machine may be busy
@given(STEPS, st.sets(st.integers(1, 12), max_size=9), st.integers(1, 4))
def test_it_converges(steps: list[tuple[str, set[int] | None]], last: set[int], most: int) -> None:
    """Random desires, failures, lost answers, kills and reboots; then quiet, and all is right."""
    station, central = ModelStation(most=most), Central()
    desired = wanted(1, 2)
    for name, numbers in steps:
        if numbers is not None:
            desired = wanted(*numbers)
        elif not _happens_to_station(name, station, central):
            _call(name, station, central, desired)
    # The operator's last word, and a station whose boot is the last thing that happens to it: a
    # foreign list under our own version number can only be noticed by what is told of it.
    desired = wanted(*last)
    central.state = overwritten(booted(central.state, other_firmware=False))
    central.converse(station, desired, most=100)
    assert central.state.status is Status.IN_SYNC
    assert station.entries.keys() == desired.entries.keys() == central.state.held.keys()
    assert station.version in (central.state.version, 0)


def _happens_to_station(name: str, station: ModelStation, central: Central) -> bool:
    match name:
        case "reboot_empty":
            station.version, station.entries = 0, {}
            central.state = booted(central.state, other_firmware=False)
        case "reboot":
            central.state = booted(central.state, other_firmware=False)
        case "foreign_list":
            station.version, station.entries = station.version + 3, {"x": {}}
        case "foreign_list_heard_of":
            station.version, station.entries = station.version + 1, {"x": {}}
            central.state = overwritten(central.state)
        case "return_late":
            central.state = returned(central.state, timedelta(days=1))
        case "erase":
            central.readable = set()
        case _:
            return False
    return True


def _call(name: str, station: ModelStation, central: Central, desired: Desired) -> None:
    """One look, and if there is a call, this end of it."""
    look = central.look(desired)
    order = look.order
    if order is None:
        central.now = max(central.now, look.due or central.now)
        return
    if name == "killed_before_publishing":
        cause = f"killed-{central.calls}"
        central.state = moves.sent(central.state, order, cause, central.now)
        order = central.look(desired).order
        assert order is not None
        assert order.again is not None
    cause = central.send(order)
    status: str | None = None
    told: dict[str, int] = {}
    if name in {"accept", "killed_before_publishing", "time_out_applied", "lose_applied"}:
        status, told = station.answer(again(order))
    match name:
        case "accept" | "killed_before_publishing":
            central.hear(ended(cause, CommandStatus.ANSWERED, status, told=told))
        case "fail":
            central.hear(ended(cause, CommandStatus.ANSWERED, "Failed"))
        case "time_out" | "time_out_applied":
            central.hear(ended(cause, CommandStatus.TIMED_OUT))
        case "expire":
            central.hear(ended(cause, CommandStatus.EXPIRED))
        case _:
            central.now += GIVEN_UP_AFTER

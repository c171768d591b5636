"""The fold of a station's log: the last `connected` wins (design 3: ownership)."""

from __future__ import annotations

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from config.config_examples import NOW
from voltbus_backbone.contract.stations import (
    DuplicateIdentity,
    StationConnected,
    StationDisconnected,
    StationRefused,
    StationRepaired,
    StationSeen,
    StatusReported,
)
from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain.connections import (
    LOST,
    MOST_CONNECTORS,
    MOST_REPAIRS,
    BootMarker,
    LogEntry,
    Presence,
    PresenceUpdate,
    Repair,
    StationLogEvent,
    apply_log,
    connector_name,
)

SETTLE = timedelta(seconds=1)
Log = list[tuple[StationLogEvent, int]]


def connected(number: int, at: float = 0, gateway: str | None = None) -> StationConnected:
    return StationConnected(
        station_id="CS-1",
        connection_id=f"c-{number}",
        gateway_id=gateway or f"g-{number % 3}",
        gateway_partition=number % 3,
        protocol=Protocol.OCPP16,
        at=NOW + timedelta(seconds=at),
    )


def disconnected(number: int, at: float = 0, reason: str = "") -> StationDisconnected:
    return StationDisconnected(
        station_id="CS-1",
        connection_id=f"c-{number}",
        gateway_id=f"g-{number % 3}",
        at=NOW + timedelta(seconds=at),
        reason=reason,
    )


def status(word: str, at: datetime, connector_id: int = 1) -> StatusReported:
    return StatusReported(
        station_id="CS-1",
        protocol=Protocol.OCPP16,
        status=word,
        at=at,
        connector_id=connector_id,
    )


def refused(at: float, count: int = 1) -> StationRefused:
    return StationRefused(
        station_id="CS-1",
        gateway_id="g-1",
        at=NOW + timedelta(seconds=at),
        kind="login",
        reason="wrong_password",
        address="192.0.2.1",
        count=count,
    )


def contested(at: float, count: int = 1) -> DuplicateIdentity:
    return DuplicateIdentity(
        station_id="CS-1",
        gateway_id="g-1",
        at=NOW + timedelta(seconds=at),
        address="192.0.2.1",
        other_address="192.0.2.2",
        count=count,
    )


def folded(log: Log, presence: Presence | None = None) -> PresenceUpdate:
    """Gateways' clocks are right: what they received, they did a second after the one before."""
    entries = [
        LogEntry(event, offset, NOW - timedelta(hours=1) + timedelta(seconds=offset))
        for event, offset in log
    ]
    return apply_log(presence or Presence(id="CS-1"), entries, NOW, SETTLE)


def test_a_status_from_a_clock_that_is_ahead_holds_no_later_one_back() -> None:
    """Faulted, two hours ahead or in 2099, then Available at the right time: it is Available.

    OCPP 1.6 §4.9 makes the timestamp optional; the order of arrival is what there always is.
    """
    for ahead in (NOW + timedelta(hours=2), NOW.replace(year=2099)):
        log: Log = [(status("Faulted", ahead), 0), (status("Available", NOW), 1)]
        assert folded(log).presence.connectors["1"].status == "Available"


def test_a_station_was_last_seen_when_a_gateway_heard_it() -> None:
    """Its own clock is data: a future, or 1970, is no time at which anybody saw it."""
    before = folded([(connected(1), 0)]).presence
    for said in (NOW.replace(year=2099), NOW.replace(year=1970)):
        presence = folded([(status("Available", said), 1)], before).presence
        assert presence.connectors["1"].at == said
        assert presence.last_seen == presence.connectors["1"].received_at
        assert presence.last_seen is not None
        assert presence.last_seen <= NOW


def test_a_gateway_whose_clock_is_ahead_moves_nobody_into_the_future() -> None:
    """A station is never seen later than now."""
    entry = LogEntry(status("Available", NOW), 0, NOW + timedelta(hours=1))
    presence = apply_log(Presence(id="CS-1"), [entry], NOW, SETTLE).presence
    assert presence.last_seen == NOW


def test_to_be_declared_lost_is_no_sign_of_life() -> None:
    """Config says so because nothing was heard: the station was last seen before."""
    before = folded([(connected(1), 0)]).presence
    after = folded([(disconnected(1, 5, LOST), 9)], before).presence
    assert after.last_seen == before.last_seen


def test_connectors_beyond_the_bound_are_dropped_and_counted() -> None:
    """A station that thinks up numbers fills its own document to the bound, no further."""
    log: Log = [(status("Available", NOW, number), number) for number in range(MOST_CONNECTORS)]
    full = folded(log)
    assert full.dropped == 0
    flood: Log = [(status("Faulted", NOW, 1000 + number), 500 + number) for number in range(20)]
    after = folded([*flood, (status("Charging", NOW, 7), 600)], full.presence)
    assert after.dropped == len(flood)
    assert set(after.presence.connectors) == set(full.presence.connectors)
    assert after.presence.connectors["7"].status == "Charging"


def test_calls_wait_a_moment_after_a_connection() -> None:
    """A Boot may be about to come (A20)."""
    presence = folded([(connected(1), 0)]).presence
    assert not presence.ready(NOW)
    assert presence.ready(NOW + SETTLE)
    gone = folded([(disconnected(1), 1)], presence).presence
    assert not gone.ready(NOW + SETTLE)


def test_a_boot_that_was_heard_of_first_counts() -> None:
    """Calls follow its answer, not the moment for stations that reconnect without one (A20)."""
    soon = SETTLE / 5
    booted = Presence(id="CS-1", booted=BootMarker(connection_id="c-1", ready_at=NOW + soon))
    presence = folded([(connected(1), 0)], booted).presence
    assert not presence.ready(NOW)
    assert presence.ready(NOW + soon)
    assert not folded([(connected(2), 1)], presence).presence.ready(NOW + soon)


def test_a_connection_declared_lost_is_still_closed_when_the_station_moves() -> None:
    """Its gateway may only be slow: it must not keep the old socket."""
    log: Log = [(connected(1), 0), (disconnected(1, 1, LOST), 1), (connected(2, 2), 2)]
    assert [old.connection_id for old in folded(log).takeovers] == ["c-1"]


def test_the_gateway_s_own_word_ends_what_was_only_declared_lost() -> None:
    """After that, being seen brings nothing back."""
    log: Log = [(connected(1), 0), (disconnected(1, 1, LOST), 1), (disconnected(1, 2), 2)]
    presence = folded(log).presence
    seen = StationSeen(station_id="CS-1", connection_id="c-1", at=NOW + timedelta(seconds=3))
    after = folded([(seen, 3)], presence)
    assert after.presence.connection is not None
    assert not after.presence.connection.open
    assert not after.arrived


def test_being_seen_before_the_loss_brings_nothing_back() -> None:
    """An old sign of life that comes late is no new one."""
    presence = folded([(connected(1), 0), (disconnected(1, 9, LOST), 1)]).presence
    seen = StationSeen(station_id="CS-1", connection_id="c-1", at=NOW + timedelta(seconds=8))
    assert not folded([(seen, 2)], presence).arrived


def test_a_topic_made_anew_starts_its_offsets_again() -> None:
    """Then the time tells what is newer."""
    presence = folded([(connected(1), 900)]).presence
    after = folded([(connected(2, 5), 0)], presence).presence
    assert after.connection is not None
    assert after.connection.connection_id == "c-2"


def test_a_refusal_is_kept_and_is_no_sign_of_life() -> None:
    """It may be somebody else who was refused; the last one that came counts, not the latest."""
    presence = folded([(connected(1), 0), (refused(50), 1), (refused(20, 7), 2)]).presence
    assert presence.last_refusal is not None
    assert (presence.last_refusal.count, presence.last_refusal.address) == (7, "192.0.2.1")
    assert presence.last_seen == NOW - timedelta(hours=1)  # of the connection, which came first
    presence = folded([(contested(60, 5), 3)], presence).presence
    assert presence.duplicate_identity is not None
    assert presence.duplicate_identity.other_address == "192.0.2.2"
    assert presence.last_seen == NOW - timedelta(hours=1)


def test_connectors_have_one_name_each() -> None:
    """1.6 by connector, 2.x by EVSE and connector; EVSEs may be numbered from 0 (design 9)."""
    assert connector_name(None, 0) == "0"
    assert connector_name(None, 2) == "2"
    assert connector_name(0, 1) == "0-1"
    assert connector_name(1, None) == "1-0"


_steps = st.lists(
    st.tuples(
        st.sampled_from(["connect", "disconnect", "seen", "status", "refused", "contested"]),
        st.integers(0, 4),
    ),
    max_size=14,
)


def _log(steps: list[tuple[str, int]]) -> Log:
    """A log in which each connection begins once, with the time going on."""
    log: Log = []
    begun: list[int] = []
    for offset, (kind, choice) in enumerate(steps):
        if kind == "connect":
            number = len(begun) + 1
            begun.append(number)
            log.append((connected(number, offset, f"g-{choice}"), offset))
        elif kind == "disconnect" and begun:
            log.append((disconnected(begun[choice % len(begun)], offset), offset))
        elif kind == "seen" and begun:
            name = f"c-{begun[choice % len(begun)]}"
            at = NOW + timedelta(seconds=offset)
            log.append((StationSeen(station_id="CS-1", connection_id=name, at=at), offset))
        elif kind == "status":
            log.append((status(f"s{offset}", NOW - timedelta(seconds=offset), choice), offset))
        elif kind == "refused":
            log.append((refused(offset, choice), offset))
        elif kind == "contested":
            log.append((contested(offset, choice), offset))
    return log


@given(_steps)
def test_the_last_connected_wins(steps: list[tuple[str, int]]) -> None:
    """Whatever else the log says, the newest connection counts, until its own end."""
    log = _log(steps)
    presence = folded(log).presence
    begun = [event for event, _ in log if isinstance(event, StationConnected)]
    if not begun:
        assert presence.connection is None
        return
    last = begun[-1]
    over = any(
        isinstance(event, StationDisconnected) and event.connection_id == last.connection_id
        for event, _ in log
    )
    assert presence.connection is not None
    assert presence.connection.connection_id == last.connection_id
    assert presence.connection.open is not over


@given(_steps, st.data())
def test_any_redelivery_ends_in_the_same_state(
    steps: list[tuple[str, int]], data: st.DataObject
) -> None:
    """At least once: batches of any size, and from any earlier offset again (design 4)."""
    log = _log(steps)
    expected = folded(log).presence
    known = {each.connection_id for each in folded(log).takeovers}
    presence, start = Presence(id="CS-1"), 0
    while start < len(log):
        end = data.draw(st.integers(start + 1, len(log)))
        result = folded(log[start:end], presence)
        assert {each.connection_id for each in result.takeovers} <= known
        presence = result.presence
        start = data.draw(st.integers(0, start)) if data.draw(st.booleans()) else end
        if start < end and data.draw(st.booleans()):
            start = end
    assert presence == expected


def repaired(action: str, *repairs: str, at: float = 0) -> StationRepaired:
    return StationRepaired(
        station_id="CS-1",
        protocol=Protocol.OCPP16,
        action=action,
        at=NOW + timedelta(seconds=at),
        repairs=repairs,
    )


def test_the_latest_repairs_are_kept_each_once() -> None:
    """What an operator reads at the station: the newest first, and no list without end (ADR 12)."""
    log: Log = [
        (repaired("StopTransaction", "reason: null, left out"), 0),
        (repaired("BootNotification", "iccid: null, left out", at=1), 1),
        (repaired("StopTransaction", "reason: null, left out", at=2), 2),
    ]
    assert folded(log).presence.repairs == (
        Repair(
            action="StopTransaction",
            repair="reason: null, left out",
            at=NOW + timedelta(seconds=2),
        ),
        Repair(
            action="BootNotification",
            repair="iccid: null, left out",
            at=NOW + timedelta(seconds=1),
        ),
    )
    many: Log = [(repaired("StopTransaction", f"x{place}: left out"), place) for place in range(50)]
    kept = folded(many).presence.repairs
    assert len(kept) == MOST_REPAIRS
    assert kept[0].repair == "x49: left out"

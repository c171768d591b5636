"""Which gateway holds a station, in the order of the station's log (design 3: ownership)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from config.config_examples import NOW, event
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.config import CallOutcome
from voltbus_backbone.contract.gateway import CloseConnection
from voltbus_backbone.contract.stations import (
    DuplicateIdentity,
    GatewayBeat,
    StationConnected,
    StationDisconnected,
    StationRefused,
    StationSeen,
    StatusReported,
)
from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain.connections import MOST_CONNECTORS
from voltbus_config.handlers.station_events import CONNECTORS_DROPPED

if TYPE_CHECKING:
    from datetime import datetime

    from config.conftest import Replica

pytestmark = pytest.mark.stack


async def beat(replica: Replica, gateway_id: str, started_at: datetime | None = None) -> None:
    await replica.feed(
        registry.GATEWAY_BEAT,
        GatewayBeat(
            gateway_id=gateway_id,
            gateway_partition=0,
            connections=1,
            at=replica.hands(),
            started_at=started_at,
        ),
    )


async def lose_silent(replica: Replica) -> list[StationDisconnected]:
    """Look for silent gateways; what is declared lost goes through the log and comes back."""
    while await replica.gateway_monitor.sweep():
        pass
    before = len(replica.told("stations.events", StationDisconnected))
    await replica.settle()
    lost = replica.told("stations.events", StationDisconnected)[before:]
    for each in lost:
        await replica.feed(registry.STATION_DISCONNECTED, each)
    return lost


async def test_a_station_is_shown_connected_and_disconnected(replica: Replica) -> None:
    """Protocol, gateway, time; and the reason of the end."""
    await replica.register("CS-1")
    assert not (await replica.station("CS-1"))["connected"]
    connection_id = await replica.connect("CS-1", Protocol.OCPP21)
    shown = await replica.station("CS-1")
    assert (shown["connected"], shown["protocol"]) == (True, "ocpp2.1")
    assert shown["connection"]["connection_id"] == connection_id
    assert shown["last_seen"] == "2026-06-01T12:00:00.000Z"
    await replica.disconnect("CS-1")
    shown = await replica.station("CS-1")
    assert (shown["connected"], shown["connection"]["close_code"]) == (False, 1006)


async def test_why_a_station_was_refused_is_shown(replica: Replica) -> None:
    """The last refusal and the last quarrel about its identity, with addresses, and its own."""
    await replica.register("CS-1")
    shown = await replica.station("CS-1")
    assert (shown["last_refusal"], shown["duplicate_identity"]) == (None, None)
    refused = StationRefused(
        station_id="CS-1",
        gateway_id="g-1",
        at=replica.hands(),
        kind="call",
        reason="SecurityError",
        action="Heartbeat",
        address="192.0.2.1",
        count=3,
    )
    await replica.feed(registry.STATION_REFUSED, refused)
    contested = DuplicateIdentity(
        station_id="CS-1",
        gateway_id="g-1",
        at=replica.hands(),
        address="192.0.2.1",
        other_address="192.0.2.2",
        count=5,
    )
    await replica.feed(registry.DUPLICATE_IDENTITY, contested)
    shown = await replica.station("CS-1")
    assert shown["last_refusal"] == {
        "at": "2026-06-01T12:00:00.000Z",
        "kind": "call",
        "reason": "SecurityError",
        "action": "Heartbeat",
        "address": "192.0.2.1",
        "count": 3,
    }
    assert shown["duplicate_identity"] == {
        "at": "2026-06-01T12:00:00.000Z",
        "addresses": ["192.0.2.1", "192.0.2.2"],
        "count": 5,
    }
    assert not shown["connected"]
    assert shown["last_seen"] is None


async def test_a_late_end_of_an_old_connection_does_not_remove_the_new_one(
    replica: Replica,
) -> None:
    """`disconnected` counts only for the connection that it names."""
    await replica.register("CS-1")
    old = await replica.connect("CS-1", gateway="g-1")
    new = await replica.connect("CS-1", gateway="g-2")
    await replica.disconnect("CS-1", old)
    shown = await replica.station("CS-1")
    assert (shown["connected"], shown["connection"]["connection_id"]) == (True, new)


async def test_a_station_on_a_second_gateway_is_closed_at_the_first(replica: Replica) -> None:
    """CloseConnection goes to the first gateway's own partition, under its name."""
    old = await replica.connect("CS-1", gateway="g-1", partition=3)
    message = StationConnected(
        station_id="CS-1",
        connection_id="new",
        gateway_id="g-2",
        gateway_partition=1,
        protocol=Protocol.OCPP16,
        at=replica.hands(),
    )
    [record] = await replica.stations.handle([event(registry.STATION_CONNECTED, message)])
    assert (record.topic, record.partition) == ("gateway.inbox", 3)
    [told] = replica.sent([record])
    assert isinstance(told.message, CloseConnection)
    assert (told.subject, told.message.gateway_id, told.message.connection_id) == (
        "g-1",
        "g-1",
        old,
    )


async def test_no_one_is_closed_where_the_first_gateway_said_the_end(replica: Replica) -> None:
    """Nor where the station comes back to the same gateway, which knows by itself."""
    await replica.connect("CS-1", gateway="g-1")
    await replica.disconnect("CS-1")
    connected = StationConnected(
        station_id="CS-1",
        connection_id="second",
        gateway_id="g-2",
        gateway_partition=0,
        protocol=Protocol.OCPP16,
        at=replica.hands(),
    )
    assert await replica.feed(registry.STATION_CONNECTED, connected) == []
    again = StationConnected(
        station_id="CS-1",
        connection_id="third",
        gateway_id="g-2",
        gateway_partition=0,
        protocol=Protocol.OCPP16,
        at=replica.hands(),
    )
    assert await replica.feed(registry.STATION_CONNECTED, again) == []


async def test_a_log_delivered_again_ends_where_it_ended(replica: Replica) -> None:
    """The whole batch twice: the same connection, and only the same old one is closed."""

    def connected(name: str, gateway: str) -> StationConnected:
        return StationConnected(
            station_id="CS-1",
            connection_id=name,
            gateway_id=gateway,
            gateway_partition=0,
            protocol=Protocol.OCPP16,
            at=replica.hands(),
        )

    log = [
        event(registry.STATION_CONNECTED, connected("a", "g-1")),
        event(registry.STATION_CONNECTED, connected("b", "g-2")),
    ]
    await replica.register("CS-1")
    for batch in (log, log, log[:1], log[1:]):
        closed = replica.sent(await replica.stations.handle(batch))
        assert {each.message.connection_id for each in closed} <= {"a"}
    assert (await replica.station("CS-1"))["connection"]["connection_id"] == "b"


async def test_connectors_are_shown_as_they_last_reported(replica: Replica) -> None:
    """By EVSE and connector; what arrives last counts, whatever the station's clock says of it.

    The clock's word is kept as data: OCPP has no rule that it is right.
    """
    await replica.register("CS-1")
    await replica.connect("CS-1", Protocol.OCPP201)
    for status, ahead in (("Faulted", 7200), ("Available", 0)):
        await replica.feed(
            registry.STATUS_REPORTED,
            StatusReported(
                station_id="CS-1",
                protocol=Protocol.OCPP201,
                status=status,
                at=replica.hands() + timedelta(seconds=ahead),
                evse_id=1,
                connector_id=2,
            ),
        )
    shown = await replica.station("CS-1")
    [connector] = shown["connectors"]
    assert (connector["evse_id"], connector["connector_id"]) == (1, 2)
    assert connector["status"] == "Available"
    assert connector["received_at"] == shown["last_seen"] == "2026-06-01T12:00:00.000Z"


async def test_a_station_with_a_thousand_connectors_is_counted_and_logged_once(
    replica: Replica,
) -> None:
    """What is beyond the bound is dropped; its neighbour in the batch is not concerned."""
    reports = [
        event(
            registry.STATUS_REPORTED,
            StatusReported(
                station_id=name,
                protocol=Protocol.OCPP16,
                status="Available",
                at=NOW,
                connector_id=number,
            ),
        )
        for name, numbers in (("CS-1", range(1000)), ("CS-2", range(2)))
        for number in numbers
    ]
    before = CONNECTORS_DROPPED._value.get()
    with capture_logs() as lines:
        await replica.stations.handle(reports[:600])
        await replica.stations.handle(reports[600:])
    found = await replica.store.presence.get(["CS-1", "CS-2"])
    assert {name: len(each.connectors) for name, each in found.items()} == {
        "CS-1": MOST_CONNECTORS,
        "CS-2": 2,
    }
    assert CONNECTORS_DROPPED._value.get() - before == 1000 - MOST_CONNECTORS
    assert [line["event"] for line in lines].count("connectors.dropped") == 1


# Silent gateways.


async def test_the_connections_of_a_silent_gateway_are_declared_lost(replica: Replica) -> None:
    """Fifteen seconds without a beat; the others' connections stay."""
    for name, gateway in (("CS-1", "g-1"), ("CS-2", "g-1"), ("CS-3", "g-2")):
        await replica.register(name)
        await replica.connect(name, gateway=gateway)
    await beat(replica, "g-1")
    replica.hands.move(10)
    await beat(replica, "g-2")
    replica.hands.move(6)
    lost = await lose_silent(replica)
    assert sorted(each.station_id for each in lost) == ["CS-1", "CS-2"]
    shown = [(await replica.station(name))["connected"] for name in ("CS-1", "CS-2", "CS-3")]
    assert shown == [False, False, True]
    assert await lose_silent(replica) == []


async def test_a_gateway_restarted_under_its_name_has_lost_what_it_had(replica: Replica) -> None:
    """It keeps beating, but with a new beginning: connections from before are gone, newer stay."""
    for name in ("CS-1", "CS-2"):
        await replica.register(name)
    await beat(replica, "g-1", replica.hands())
    replica.hands.move(1)
    await replica.connect("CS-1", gateway="g-1")
    assert await lose_silent(replica) == []
    replica.hands.move(2)
    restarted_at = replica.hands()
    replica.hands.move(1)
    await replica.connect("CS-2", gateway="g-1")
    await beat(replica, "g-1", restarted_at)
    lost = await lose_silent(replica)
    assert [each.station_id for each in lost] == ["CS-1"]
    assert (await replica.station("CS-2"))["connected"]
    await beat(replica, "g-1", restarted_at)
    assert await lose_silent(replica) == []


async def test_a_station_that_moved_before_is_not_declared_lost(replica: Replica) -> None:
    """Its new connection is on a living gateway."""
    await replica.register("CS-1")
    await beat(replica, "g-1")
    await replica.connect("CS-1", gateway="g-1")
    await replica.connect("CS-1", gateway="g-2")
    replica.hands.move(16)
    assert await lose_silent(replica) == []
    assert (await replica.station("CS-1"))["connected"]


async def test_a_gateway_that_was_only_slow_gets_its_stations_back(replica: Replica) -> None:
    """A station seen on the connection that was declared lost is connected after all."""
    await replica.register("CS-1")
    await beat(replica, "g-1")
    connection_id = await replica.connect("CS-1", gateway="g-1")
    replica.hands.move(16)
    await lose_silent(replica)
    assert not (await replica.station("CS-1"))["connected"]
    replica.hands.move(1)
    await replica.feed(
        registry.STATION_SEEN,
        StationSeen(station_id="CS-1", connection_id=connection_id, at=replica.hands()),
    )
    assert (await replica.station("CS-1"))["connected"]


async def test_a_beat_brings_back_what_was_declared_lost(replica: Replica) -> None:
    """A gateway that config did not hear for a while needs no Heartbeat of its stations.

    Those that left meanwhile stay away, as do those that an earlier process of that name had.
    """
    for name in ("CS-1", "CS-2", "CS-3"):
        await replica.register(name)
    await replica.connect("CS-3", gateway="g-1")
    replica.hands.move(1)
    began = replica.hands()
    await replica.connect("CS-1", gateway="g-1")
    gone = await replica.connect("CS-2", gateway="g-1")
    await beat(replica, "g-1", began)
    replica.hands.move(16)
    assert len(await lose_silent(replica)) == 3
    replica.hands.move(1)
    left = StationDisconnected(
        station_id="CS-2", connection_id=gone, gateway_id="g-1", at=replica.hands()
    )
    await replica.feed(registry.STATION_DISCONNECTED, left)
    await beat(replica, "g-1", began)
    assert await lose_silent(replica) == []
    seen = replica.told("stations.events", StationSeen)
    assert [each.station_id for each in seen] == ["CS-1"]
    await replica.feed(registry.STATION_SEEN, seen[0])
    names = ("CS-1", "CS-2", "CS-3")
    assert [(await replica.station(name))["connected"] for name in names] == [True, False, False]
    assert not await replica.gateway_monitor.sweep()


async def test_two_replicas_declare_a_gateway_lost_once(
    replica: Replica, make_replica: object
) -> None:
    """The one that takes it does the work; the other finds nothing to do."""
    assert callable(make_replica)
    other: Replica = await make_replica()
    await beat(replica, "g-1")
    await replica.connect("CS-1", gateway="g-1")
    replica.hands.move(16)
    assert await replica.gateway_monitor.sweep()
    assert not await other.gateway_monitor.sweep()
    await replica.settle()
    assert len(replica.told("stations.events", StationDisconnected)) == 1


async def test_a_gateway_that_has_no_such_station_is_believed(replica: Replica) -> None:
    """The command goes back to the queue, and to the next connection, in its old place."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    made = await replica.command("CS-1", "ClearCache")
    call = await replica.call("CS-1", "ClearCache")
    await replica.end(call, outcome=CallOutcome.NOT_CONNECTED)
    assert (await replica.command_state(made["id"]))["status"] == "queued"
    assert not (await replica.station("CS-1"))["connected"]
    await replica.connect("CS-1", gateway="g-2", partition=1)
    replica.hands.move(10)
    await replica.settle()
    again = replica.calls("CS-1")[-1]
    assert (again.command_id, again.gateway_id) == (call.command_id, "g-2")
    await replica.end(call, outcome=CallOutcome.NOT_CONNECTED)  # delivered again
    assert (await replica.command_state(made["id"]))["status"] == "sent"
    await replica.end(again, {"status": "Accepted"})
    assert (await replica.command_state(made["id"]))["status"] == "answered"

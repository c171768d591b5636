"""Reservations, commands that are waited for, and odd clocks, on the real stack."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from conformance.by_hand import open_by_hand
from operating import until

if TYPE_CHECKING:
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol, Station2, Station16

pytestmark = pytest.mark.stack

every_version = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])


def soon(minutes: float = 15) -> str:
    return (datetime.now(UTC) + timedelta(minutes=minutes)).isoformat()


async def reserve(
    operator: Operator, station_id: str, value: str, minutes: float = 15
) -> dict[str, Any]:
    body = {
        "station_id": station_id,
        "evse_id": 1,
        "id_token": value,
        "expires_at": soon(minutes),
    }
    found: dict[str, Any] = await operator.done("POST", "config", "/v1/reservations", json=body)
    return found


async def reached(operator: Operator, made: dict[str, Any], state: str) -> dict[str, Any]:
    """The reservation once it is in this state."""
    path = f"/v1/reservations/{made['id']}"
    return await until(
        lambda: operator.done("GET", "config", path), lambda found: found["state"] == state
    )


async def begin(station: Station16 | Station2, value: str, number: int) -> None:
    """The driver comes: a transaction that names the reservation."""
    at = datetime.now(UTC).isoformat()
    if station.protocol == "1.6":
        payload: dict[str, Any] = {
            "connectorId": 1,
            "idTag": value,
            "meterStart": 0,
            "timestamp": at,
            "reservationId": number,
        }
        await station.call("StartTransaction", payload)
        return
    payload = {
        "eventType": "Started",
        "timestamp": at,
        "triggerReason": "Authorized",
        "seqNo": 0,
        "transactionInfo": {"transactionId": "reserved-1"},
        "evse": {"id": 1, "connectorId": 1},
        "idToken": {"idToken": value, "type": "ISO14443"},
        "reservationId": number,
    }
    await station.call("TransactionEvent", payload)


@every_version
async def test_a_place_is_kept_for_a_driver_who_comes(
    operator: Operator, subscriber: Subscriber, protocol: Protocol
) -> None:
    """From REST by ReserveNow to a start with its number, by auth's events (1.6 §5.13, H03)."""
    name, password = await operator.station()
    value, ref = await operator.token()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        made = await reserve(operator, name, value)
        assert (made["state"], made["token_ref"]) == ("pending", ref)
        await reached(operator, made, "active")
        await begin(station, value, made["reservation_id"])
        used = await reached(operator, made, "used")
    assert used["transaction_ref"]
    changes = await subscriber.wait_for("reservation.changed", count=3, id=made["id"])
    assert [each.state for each in changes] == ["pending", "active", "used"]
    assert {each.token_ref for each in changes} == {ref}
    transaction = await operator.done("GET", "auth", f"/v1/transactions/{used['transaction_ref']}")
    assert transaction["token_ref"] == ref


@every_version
async def test_a_place_is_given_back(operator: Operator, protocol: Protocol) -> None:
    """CancelReservation reaches the station, whose answer ends it (1.6 §5.2, 2.x H02)."""
    name, password = await operator.station()
    value, _ = await operator.token()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        made = await reserve(operator, name, value)
        await reached(operator, made, "active")
        await operator.done("DELETE", "config", f"/v1/reservations/{made['id']}")
        await reached(operator, made, "cancelled")


@pytest.mark.parametrize(("said", "state"), [("Expired", "expired"), ("Removed", "removed")])
async def test_a_2x_station_says_that_it_keeps_it_no_more(
    operator: Operator, said: str, state: str
) -> None:
    """ReservationStatusUpdate (2.x H01, H04)."""
    name, password = await operator.station()
    value, _ = await operator.token()
    async with operator.connected("2.0.1", name, password) as station:
        await station.boot()
        made = await reserve(operator, name, value)
        await reached(operator, made, "active")
        payload = {"reservationId": made["reservation_id"], "reservationUpdateStatus": said}
        await station.call("ReservationStatusUpdate", payload)
        await reached(operator, made, state)


async def test_a_reservation_nobody_uses_expires(operator: Operator) -> None:
    """By the clock, also at a station that never came."""
    name, _ = await operator.station()
    value, _ = await operator.token()
    made = await reserve(operator, name, value, minutes=0.02)
    ended = await reached(operator, made, "expired")
    assert ended["ended_at"] is not None


async def test_waiting_for_a_command_and_a_card_that_starts_as_what_it_is(
    operator: Operator,
) -> None:
    """One request waits for the end (RFC 7240 §4.3); the card is no Central token (C01.FR.25)."""
    name, password = await operator.station()
    value, _ = await operator.token()
    async with operator.connected("2.0.1", name, password) as station:
        await station.boot()
        body = {
            "action": "remote_start",
            "payload": {"id_token": value, "evse_id": 1, "charging_profile": {"limit": 7400}},
            "idempotency_key": "mine",
        }
        path = f"/v1/stations/{name}/commands"
        made = await operator.done("POST", "config", path, json=body)
        answer = await operator.send(
            "GET", "config", f"/v1/commands/{made['id']}", headers={"Prefer": "wait=20"}
        )
        shown = answer.json()
        assert answer.headers["preference-applied"] == "wait=20"
        assert (shown["status"], shown["answer_status"]) == ("answered", "Accepted")
        assert shown["idempotency_key"] == "mine"
        payload = await station.wait_for("RequestStartTransaction")
    assert payload["idToken"]["type"] == "ISO14443"
    [schedule] = payload["chargingProfile"]["chargingSchedule"]
    assert schedule["chargingSchedulePeriod"] == [{"startPeriod": 0, "limit": 7400}]


async def test_a_connection_that_is_lost_says_so(operator: Operator) -> None:
    """The command ends with that reason, long before its time; what only stations send is 422."""
    name, password = await operator.station()
    path = f"/v1/stations/{name}/commands"
    raw = await open_by_hand(operator, "2.0.1", name, password)
    await raw.boot()
    made = await operator.done("POST", "config", path, json={"action": "ClearCache"})
    await raw.asked("ClearCache")
    raw.socket.transport.abort()
    shown = await operator.done("GET", "config", f"/v1/commands/{made['id']}", params={"wait": 25})
    assert shown["status"] == "timed_out"
    assert shown["error_description"] == "The connection was lost before the answer"
    refused = await operator.send("POST", "config", path, json={"action": "Heartbeat"})
    assert refused.status_code == 422
    assert [each["field"] for each in refused.json()["errors"]] == ["action"]


@pytest.mark.parametrize("ahead", [timedelta(hours=2), timedelta(days=27_000)])
async def test_a_station_whose_clock_is_ahead_is_shown_as_it_is(
    operator: Operator, ahead: timedelta
) -> None:
    """Faulted with a time to come, then Available: it is Available, and was seen just now."""
    name, password = await operator.station()
    async with operator.connected("1.6", name, password) as station:
        await station.boot()
        for status, at in (("Faulted", ahead), ("Available", timedelta())):
            moment = datetime.now(UTC) + at
            payload = {
                "connectorId": 1,
                "errorCode": "NoError",
                "status": status,
                "timestamp": moment.isoformat(),
            }
            await station.call("StatusNotification", payload)
        path = f"/v1/stations/{name}"
        shown = await until(
            lambda: operator.done("GET", "config", path),
            lambda found: [each["status"] for each in found["connectors"]] == ["Available"],
        )
    assert datetime.fromisoformat(shown["last_seen"]) <= datetime.now(UTC)

"""What real stations do, however the specification has it: none of it may break the system."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from charging import start_of
from conformance.acting import (
    answered,
    booted,
    command,
    ended,
    every_2x,
    every_version,
    order,
    shown,
    transactions,
)
from conformance.by_hand import socket_of
from operating import until

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

FIRST, SECOND, THIRD = (f"2026-03-0{day}T10:00:00Z" for day in (1, 2, 3))


def stop(protocol: Protocol, at: str, identity: Any, seq_no: int = 1) -> tuple[str, Any]:
    """A transaction's end: action and payload."""
    if protocol == "1.6":
        return "StopTransaction", {"transactionId": identity, "meterStop": 900, "timestamp": at}
    return "TransactionEvent", {
        "eventType": "Ended",
        "timestamp": at,
        "triggerReason": "StopAuthorized",
        "seqNo": seq_no,
        "transactionInfo": {"transactionId": identity, "stoppedReason": "Local"},
    }


@every_version
async def test_own_calls_before_the_answer(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """A station sends calls of its own, several at once, before it answers ours."""
    async with ready.raw(protocol) as raw:
        made = await order(operator, raw.name, "ClearCache")
        call = await raw.asked("ClearCache")
        for number in range(5):
            await raw.send(2, f"own{number}", "Heartbeat", {})
        await raw.send(3, call[1], {"status": "Accepted"})
        for number in range(5):
            assert (await raw.answer(f"own{number}"))[0] == 3
        assert (await ended(operator, made))["status"] == "answered"


@every_version
async def test_a_transaction_before_any_boot(operator: Operator, protocol: Protocol) -> None:
    """A station that reconnects replays its start and stop before a boot or a status."""
    token, _ = await operator.token()
    name, password = await operator.station()
    async with socket_of(operator, protocol, name, password) as raw:
        await raw.boot()
    async with socket_of(operator, protocol, name, password) as raw:
        begun = await raw.call(*start_of(protocol, token, FIRST, "0"))
        assert begun[0] == 3
        identity = begun[2].get("transactionId", "0")
        assert (await raw.call(*stop(protocol, SECOND, identity)))[0] == 3
    (record,) = await transactions(operator, name)
    assert record["state"] == "ended"


@every_version
async def test_a_stop_on_another_socket_than_its_start(
    operator: Operator, protocol: Protocol
) -> None:
    """The start was confirmed on an earlier socket; the stop comes on the next, without a boot."""
    token, _ = await operator.token()
    name, password = await operator.station()
    async with socket_of(operator, protocol, name, password) as raw:
        await raw.boot()
        begun = await raw.call(*start_of(protocol, token, FIRST, "0"))
    async with socket_of(operator, protocol, name, password) as raw:
        identity = begun[2].get("transactionId", "0")
        assert (await raw.call(*stop(protocol, SECOND, identity)))[0] == 3
    (record,) = await transactions(operator, name)
    assert record["state"] == "ended"


@every_version
async def test_a_socket_that_was_cut_and_comes_back(operator: Operator, protocol: Protocol) -> None:
    """TCP ends without a close frame; the station is shown gone, comes back, and works."""
    async with booted(operator, protocol) as station:
        await station.drop()
        await until(
            lambda: shown(operator, station.station_id), lambda found: not found["connected"]
        )
        await station.reconnect()
        await station.heartbeat()
        await until(lambda: shown(operator, station.station_id), lambda found: found["connected"])


@every_version
async def test_a_second_socket_beside_a_hanging_one(operator: Operator, protocol: Protocol) -> None:
    """The station has lost its socket, we have not: the new one works, the old one is closed."""
    name, password = await operator.station()
    async with socket_of(operator, protocol, name, password) as old:
        await old.boot()
        async with socket_of(operator, protocol, name, password) as new:
            assert (await new.call("Heartbeat", {}))[0] == 3
            assert await old.closed() == 1008
            made = await order(operator, name, "ClearCache")
            call = await new.asked("ClearCache")
            await new.send(3, call[1], {"status": "Accepted"})
            assert (await ended(operator, made))["status"] == "answered"


@every_2x
async def test_transaction_ids_that_begin_again(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """After each restart the ids are "0", "1", ... again: as many records as there were charges."""
    token, _ = await operator.token()
    async with ready.raw(protocol) as raw:
        for begin, end in ((FIRST, SECOND), (SECOND, THIRD)):
            await raw.call(*start_of(protocol, token, begin, "0"))
            await raw.call(*stop(protocol, end, "0"))
        records = await transactions(operator, raw.name)
        assert [one["state"] for one in records] == ["ended", "ended"]
        assert {one["started_at"][:10] for one in records} == {FIRST[:10], SECOND[:10]}


@every_2x
async def test_evses_that_are_counted_from_zero(
    operator: Operator, ready: Ready, protocol: Protocol, subscriber: Subscriber
) -> None:
    """EVSE 0 and connector 0 are taken and told as they come."""
    token, _ = await operator.token()
    async with ready.raw(protocol) as raw:
        state = {
            "timestamp": FIRST,
            "connectorStatus": "Available",
            "evseId": 0,
            "connectorId": 0,
        }
        assert (await raw.call("StatusNotification", state))[0] == 3
        (told,) = await subscriber.wait_for("station.status", station_id=raw.name)
        assert (told.evse_id, told.connector_id) == (0, 0)
        action, payload = start_of(protocol, token, FIRST)
        assert (await raw.call(action, {**payload, "evse": {"id": 0}}))[0] == 3
        (record,) = await transactions(operator, raw.name)
        assert record["evse_id"] == 0


@every_version
async def test_message_ids_that_begin_again(operator: Operator, protocol: Protocol) -> None:
    """After a restart the counter of message ids is at 1 again: other messages, other answers."""
    known, _ = await operator.token()
    name, password = await operator.station()

    def authorize(token: str) -> dict[str, Any]:
        if protocol == "1.6":
            return {"idTag": token}
        return {"idToken": {"idToken": token, "type": "ISO14443"}}

    words = []
    for token in (known, "NOBODY01"):
        async with socket_of(operator, protocol, name, password) as raw:
            await raw.boot()
            answer = await raw.call("Authorize", authorize(token), "2")
            info = answer[2].get("idTagInfo") or answer[2]["idTokenInfo"]
            words.append(info["status"])
    assert words == ["Accepted", "Invalid" if protocol == "1.6" else "Unknown"]


def report(seq_no: int, **more: Any) -> dict[str, Any]:
    """A part of a report."""
    row = {
        "component": {"name": "ClockCtrlr"},
        "variable": {"name": "TimeZone"},
        "variableAttribute": [{"value": "Etc/UTC"}],
    }
    head = {"requestId": 1, "generatedAt": FIRST, "seqNo": seq_no}
    return {**head, "reportData": [row], **more}


BASE_REPORT = {"requestId": 1, "reportBase": "FullInventory"}


@every_2x
async def test_a_report_before_the_answer(
    operator: Operator, ready: Ready, protocol: Protocol, subscriber: Subscriber
) -> None:
    """NotifyReport comes before the reply to GetBaseReport, without tbc, and from seqNo 1."""
    async with ready.raw(protocol) as raw:
        made = await order(operator, raw.name, "GetBaseReport", BASE_REPORT)
        call = await raw.asked("GetBaseReport")
        assert (await raw.call("NotifyReport", report(1)))[0] == 3
        assert (await raw.call("NotifyReport", report(2)))[0] == 3
        await raw.send(3, call[1], {"status": "Accepted"})
        assert (await ended(operator, made))["answer_status"] == "Accepted"
        told = await subscriber.wait_for(
            "station.reported", count=2, station_id=raw.name, action="NotifyReport"
        )
        assert [one.payload["seqNo"] for one in told] == [1, 2]


@every_2x
async def test_a_report_that_never_comes(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """GetBaseReport is Accepted and no report follows: the command has ended all the same."""
    async with ready(protocol) as station:
        station.answers["GetBaseReport"] = lambda _: {"status": "Accepted"}
        name = station.station_id
        assert await answered(operator, name, "GetBaseReport", BASE_REPORT)
        assert await answered(operator, name, "ClearCache")


@every_version
@pytest.mark.parametrize(
    "text",
    [
        "2026-03-01T10:00:00.123456789Z",
        "2026-03-01T11:00:00.1+01:00",
        "2026-03-01T10:00:00",
        "2026-03-01t10:00:00z",
    ],
)
async def test_timestamps_of_all_kinds(
    operator: Operator, ready: Ready, protocol: Protocol, text: str
) -> None:
    """Nanoseconds, offsets, no zone, small letters: the same moment in the record."""
    token, _ = await operator.token()
    async with ready.raw(protocol) as raw:
        assert (await raw.call(*start_of(protocol, token, text)))[0] == 3
        (record,) = await transactions(operator, raw.name)
        assert record["started_at"].startswith("2026-03-01T10:00:00")


@every_2x
async def test_sequence_number_zero_at_both_ends(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """SeqNo 0 for Started and for Ended: one transaction, and it has ended."""
    token, _ = await operator.token()
    async with ready.raw(protocol) as raw:
        await raw.call(*start_of(protocol, token, FIRST, "a"))
        await raw.call(*stop(protocol, SECOND, "a", seq_no=0))
        (record,) = await transactions(operator, raw.name)
        assert record["state"] == "ended"


@every_version
async def test_several_subprotocols(operator: Operator, protocol: Protocol) -> None:
    """A station that offers many gets the first of its list that we speak."""
    name, password = await operator.station()
    offered = [f"ocpp{protocol}", "ocpp2.1", "ocpp2.0.1", "ocpp1.6"]
    async with socket_of(operator, protocol, name, password, offered=["soap", *offered]) as raw:
        assert raw.socket.subprotocol == f"ocpp{protocol}"


@every_version
async def test_a_stations_name_with_unusual_characters(
    operator: Operator, protocol: Protocol
) -> None:
    """A1: the identity in the URL is percent-encoded; spaces, stars and pluses are allowed."""
    name, password = await operator.station(f"DE*ABC E+{protocol}@1")
    async with operator.connected(protocol, name, password) as station:
        assert (await station.boot()).status == "Accepted"


# ---- commands that wait for a station ----


@every_version
async def test_orders_wait_for_the_station_in_their_order(
    operator: Operator, protocol: Protocol
) -> None:
    """Design 3: orders to an absent station go out at its next connection, one after the other."""
    async with booted(operator, protocol) as station:
        await station.drop()
        name = station.station_id
        await until(lambda: shown(operator, name), lambda found: not found["connected"])
        made = [
            await order(operator, name, "trigger", {"message": word})
            for word in ("heartbeat", "status", "heartbeat")
        ]
        cancelled = await order(operator, name, "ClearCache")
        await operator.done("DELETE", "config", f"/v1/commands/{cancelled}")
        await station.reconnect()
        for one in made:
            assert (await ended(operator, one))["status"] == "answered"
        asked = [payload["requestedMessage"] for _, payload in station.received]
        assert asked == ["Heartbeat", "StatusNotification", "Heartbeat"]
        assert (await command(operator, cancelled))["status"] == "cancelled"


async def test_an_order_whose_time_is_over(operator: Operator) -> None:
    """Design 3: an order that could not be sent before it expires has expired."""
    name, _ = await operator.station()
    made = await operator.done(
        "POST",
        "config",
        f"/v1/stations/{name}/commands",
        json={"action": "ClearCache", "expires_at": "2999-01-01T00:00:00Z"},
    )
    assert made["status"] == "queued"
    past = {"action": "ClearCache", "expires_at": "2020-01-01T00:00:00Z"}
    answer = await operator.send("POST", "config", f"/v1/stations/{name}/commands", json=past)
    assert answer.status_code == 422


async def test_an_order_given_twice(operator: Operator, ready: Ready) -> None:
    """Design 3: the same idempotency key is the same order, which goes out once."""
    async with ready("1.6") as station:
        name = station.station_id
        first = await order(operator, name, "ClearCache", idempotency_key="k")
        again = await order(operator, name, "ClearCache", idempotency_key="k")
        assert first == again
        await ended(operator, first)
        await answered(operator, name, "GetLocalListVersion")
        assert [action for action, _ in station.received] == ["ClearCache", "GetLocalListVersion"]

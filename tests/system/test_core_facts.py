"""Facts with an odd detail, as frames on the real stack: nothing that has happened is lost.

What an operator reads in the end: the session with its energy, the station let in, the fault.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from charging import start_of
from conformance.acting import ended, every_2x, every_version, order, shown, transactions
from conformance.by_hand import BOOT_2, BOOT_16, by_hand, socket_of
from operating import until

if TYPE_CHECKING:
    from conformance.by_hand import Raw
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

BEGAN, ENDED = "2026-03-01T10:00:00Z", "2026-03-01T14:00:00Z"
CARD = "5413330089010483"


def sampled(**sample: Any) -> list[dict[str, Any]]:
    """Transaction data with one sample."""
    return [{"timestamp": ENDED, "sampledValue": [{"value": "20100", **sample}]}]


ODD_STOPS: list[dict[str, Any]] = [
    {"meterStop": 20100.0},
    {"meterStop": 20100.3},
    {"reason": ""},
    {"reason": None},
    {"reason": "local"},
    {"reason": "the car was gone"},
    {"idTag": None},
    {"idTag": f"{CARD}00000"},
    {"transactionData": None},
    {"transactionData": sampled(unit="Hertz", measurand="Frequency", value="50")},
    {"transactionData": sampled(value=20100)},
    {"acmeTrace": CARD},
]
ODD_ENDS: list[dict[str, Any]] = [
    {"triggerReason": None},
    {"transactionInfo": {"stoppedReason": "AcmeReason"}},
    {"acmeTrace": CARD},
    {"evse": {}},
    {"seqNo": "1"},
    {"cableMaxCurrent": "32"},
]
VALUES_2 = [
    {
        "timestamp": ENDED,
        "sampledValue": [{"value": 20100, "context": "Transaction.End"}],
    }
]


async def started(raw: Raw, token: str, identity: str) -> Any:
    """Begin a charge at 100 Wh; the transaction's id."""
    action, payload = start_of(raw.protocol, token, BEGAN, identity)
    if raw.protocol != "1.6":
        begin = {"value": 100, "context": "Transaction.Begin"}
        payload["meterValue"] = [{"timestamp": BEGAN, "sampledValue": [begin]}]
    answer = await raw.call(action, payload)
    assert answer[0] == 3
    return answer[2].get("transactionId", identity)


async def test_a_stop_with_an_odd_field_ends_its_session(
    operator: Operator, subscriber: Subscriber
) -> None:
    """1.6 §4.10: each stop is confirmed, and its session has ended with its energy."""
    async with by_hand(operator, "1.6") as raw:
        for odd in ODD_STOPS:
            token, _ = await operator.token()
            identity = await started(raw, token, "")
            stop = {"transactionId": identity, "meterStop": 20100, "timestamp": ENDED} | odd
            assert (await raw.call("StopTransaction", stop))[0] == 3, odd
        records = await transactions(operator, raw.name)
        assert len(records) == len(ODD_STOPS)
        assert {(each["state"], each["energy_wh"]) for each in records} == {("ended", 20000)}
        told = await subscriber.wait_for("station.repaired", 2, station_id=raw.name)
        assert CARD not in str(told)
        station = await until(
            lambda: shown(operator, raw.name), lambda found: len(found["repairs"]) > 5
        )
    assert {each["action"] for each in station["repairs"]} == {"StopTransaction"}
    assert CARD not in str(station)


@every_version
async def test_a_stop_at_no_readable_time_ends_its_session_with_a_doubt(
    operator: Operator, protocol: Protocol
) -> None:
    """The time of arrival stands in for it, and whoever bills is told: doubt clock."""
    async with by_hand(operator, protocol) as raw:
        token, _ = await operator.token()
        identity = await started(raw, token, "tx-clock")
        action, stop = "StopTransaction", {"transactionId": identity, "meterStop": 20100}
        if protocol != "1.6":
            action = "TransactionEvent"
            info = {"transactionId": identity}
            stop = {"eventType": "Ended", "seqNo": 1, "transactionInfo": info}
            stop |= {"triggerReason": "EVDeparted", "meterValue": VALUES_2}
        assert (await raw.call(action, stop | {"timestamp": "yesterday"}))[0] == 3
        (record,) = await transactions(operator, raw.name)
    assert (record["state"], record["energy_wh"]) == ("ended", 20000)
    assert "clock" in record["doubts"]


@every_2x
async def test_an_end_with_an_odd_field_ends_its_session(
    operator: Operator, protocol: Protocol
) -> None:
    """2.x likewise: whatever is odd beside the transaction's id, it has ended."""
    async with by_hand(operator, protocol) as raw:
        for number, odd in enumerate(ODD_ENDS):
            token, _ = await operator.token()
            identity = await started(raw, token, f"tx-{number}")
            info = {"transactionId": identity} | odd.get("transactionInfo", {})
            sound = {
                "eventType": "Ended",
                "timestamp": ENDED,
                "triggerReason": "EVDeparted",
                "seqNo": 1,
                "meterValue": VALUES_2,
            }
            event = sound | odd | {"transactionInfo": info}
            event = {name: value for name, value in event.items() if value is not None}
            assert (await raw.call("TransactionEvent", event))[0] == 3, odd
        records = await transactions(operator, raw.name)
        assert len(records) == len(ODD_ENDS)
        assert {(each["state"], each["energy_wh"]) for each in records} == {("ended", 20000)}


@every_version
async def test_a_boot_with_odd_fields_lets_its_station_in(
    operator: Operator, protocol: Protocol
) -> None:
    """A model of 23, a serial number of 26, a null: the station is accepted and takes orders."""
    odd: dict[str, Any] = BOOT_16 | {
        "chargePointModel": "M" * 23,
        "chargePointSerialNumber": "S" * 26,
        "iccid": None,
    }
    if protocol != "1.6":
        odd = BOOT_2 | {
            "reason": "ColdStart",
            "chargingStation": {
                "vendorName": "Acme",
                "model": "M" * 23,
                "serialNumber": "S" * 26,
                "modem": {"iccid": None},
            },
        }
    name, password = await operator.station()
    async with socket_of(operator, protocol, name, password) as raw:
        assert (await raw.call("BootNotification", odd))[2]["status"] == "Accepted"
        assert (await raw.call("Heartbeat", {}))[0] == 3
        found = await until(lambda: shown(operator, name), lambda found: found["repairs"])
        made = await order(operator, name, "ClearCache")
        call = await raw.asked("ClearCache")
        await raw.send(3, call[1], {"status": "Accepted", "info": "ok"})
        over = await ended(operator, made)
    assert (found["model"], found["serial_number"]) == ("M" * 23, "S" * 26)
    assert found["last_boot"]["status"] == "Accepted"
    assert (over["status"], over["answer_status"]) == ("answered", "Accepted")
    assert over["repairs"]


@every_version
@pytest.mark.parametrize(
    ("odd", "seen"),
    [
        ({"info": "i" * 77, "errorCode": "AcmeError"}, "Faulted"),
        ({"timestamp": "soon"}, "Faulted"),
        ({"status": "OutOfOrder"}, "OutOfOrder"),
        ({"status": f"card {CARD}"}, "Unknown"),
    ],
)
async def test_an_operator_does_not_go_on_seeing_available(
    operator: Operator, protocol: Protocol, odd: dict[str, Any], seen: str
) -> None:
    """A connector that says anything else is seen as what it says, and never as it was."""
    async with by_hand(operator, protocol) as raw:

        async def say(more: dict[str, Any]) -> None:
            sent = {"connectorId": 1, "timestamp": BEGAN, **more}
            if protocol == "1.6":
                sent = {"errorCode": "NoError", **sent}
            else:
                sent |= {"evseId": 1, "connectorStatus": sent.pop("status")}
            assert (await raw.call("StatusNotification", sent))[0] == 3

        async def connectors() -> list[str]:
            return [each["status"] for each in (await shown(operator, raw.name))["connectors"]]

        await say({"status": "Available"})
        await until(connectors, lambda found: found == ["Available"])
        await say({"status": "Faulted", **odd})
        await until(connectors, lambda found: found == [seen])
        assert CARD not in str(await shown(operator, raw.name))


async def test_a_whole_configuration_is_not_lost_by_one_value(operator: Operator) -> None:
    """1.6 §5.8: too long, null, a number, a flag as 0: the operator reads all keys."""
    async with by_hand(operator, "1.6") as raw:
        made = await order(operator, raw.name, "GetConfiguration")
        call = await raw.asked("GetConfiguration")
        keys = [
            {"key": "a", "readonly": False, "value": "x" * 551},
            {"key": "b", "readonly": 0, "value": None},
            {"key": "c", "readonly": True, "value": 5},
        ]
        await raw.send(3, call[1], {"configurationKey": keys})
        found = await ended(operator, made)
    assert found["status"] == "answered"
    assert found["answer"]["configurationKey"] == [
        {"key": "a", "readonly": False, "value": "x" * 551},
        {"key": "b", "readonly": False},
        {"key": "c", "readonly": True, "value": "5"},
    ]


async def test_a_setting_that_is_accepted_with_more_words_is_in_sync(operator: Operator) -> None:
    """The station took it: that its answer has a property too many is no refusal."""
    async with by_hand(operator, "1.6") as raw:
        path = f"/v1/stations/{raw.name}/settings"
        await operator.done("PUT", "config", path, json={"keys": {"HeartbeatInterval": "60"}})
        call = await raw.asked("ChangeConfiguration")
        await raw.send(3, call[1], {"status": "Accepted", "info": "ok"})

        async def state() -> str:
            body = await operator.done("GET", "config", path)
            return str(body["settings"]["keys.HeartbeatInterval"]["state"])

        assert await until(state, lambda found: found != "pending") == "in_sync"

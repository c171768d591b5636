"""F Remote control: start, stop, unlock, trigger (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import answered, carried_out, count_of, every_2x, transactions
from operating import until

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


async def started(operator: Operator, name: str) -> dict[str, Any]:
    """The station's transaction once there is one."""
    rows = await until(lambda: transactions(operator, name), bool)
    return rows[0]


@every_2x
@pytest.mark.parametrize(
    "plugged",
    [
        pytest.param(True, id="tc_f_01_cable_first"),
        pytest.param(False, id="tc_f_03_remote_start_first"),
    ],
)
async def test_remote_start(
    operator: Operator,
    ready: Ready,
    protocol: Protocol,
    plugged: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """F01.FR.25, F02.FR.05: the remote start's id comes back with the transaction it began."""
    token, ref = await operator.token()
    async with ready(protocol) as station:
        if plugged:
            await station.status(1, "Preparing")
        wanted = {"id_token": token, "type": "ISO14443", "evse_id": 1, "remote_start_id": 77}
        found = await carried_out(operator, station.station_id, "remote_start", wanted)
        assert found["answer_status"] == "Accepted"
        record = await started(operator, station.station_id)
        assert (record["remote_start_id"], record["token_ref"]) == (77, ref)
        assert count_of(station, "Authorize") == 0


@every_2x
async def test_tc_f_02_remote_start_with_authorize(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """F02.FR.01 (AuthorizeRemoteStart): the station asks first, and only then begins."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        name = {"component": {"name": "AuthCtrlr"}, "variable": {"name": "AuthorizeRemoteStart"}}
        data = {"setVariableData": [{**name, "attributeValue": "true"}]}
        await answered(operator, station.station_id, "SetVariables", data)
        wanted = {"id_token": token, "type": "ISO14443", "evse_id": 1}
        await carried_out(operator, station.station_id, "remote_start", wanted)
        await started(operator, station.station_id)
        assert count_of(station, "Authorize") == 1


@every_2x
async def test_tc_f_04_remote_start_without_a_cable(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """F02.FR.07: no cable in time: the transaction that was begun ends with Timeout."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        station.answers["RequestStartTransaction"] = lambda _: {"status": "Accepted"}
        wanted = {"id_token": token, "type": "ISO14443", "evse_id": 1, "remote_start_id": 5}
        found = await carried_out(operator, station.station_id, "remote_start", wanted)
        assert found["answer_status"] == "Accepted"
        transaction = await station.start(token, 1, remote_start_id=5)
        await station.stop(transaction, 0, "Timeout")
        record = await started(operator, station.station_id)
        assert (record["state"], record["stopped_reason"]) == ("ended", "Timeout")


@every_2x
async def test_f03_remote_stop(operator: Operator, ready: Ready, protocol: Protocol) -> None:
    """F03.FR.02/03: a remote stop ends the transaction with reason Remote; an unknown one none."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        transaction = await station.start(token)
        name = station.station_id
        found = await carried_out(operator, name, "remote_stop", {"transaction_id": "nothing"})
        assert found["answer_status"] == "Rejected"
        found = await carried_out(operator, name, "remote_stop", {"transaction_id": transaction.id})
        assert found["answer_status"] == "Accepted"
        (record,) = await until(
            lambda: transactions(operator, name), lambda rows: rows[0]["state"] == "ended"
        )
        assert record["stopped_reason"] == "Remote"


@every_2x
async def test_f05_unlock(operator: Operator, ready: Ready, protocol: Protocol) -> None:
    """F05.FR.01/02/03: Unlocked, UnknownConnector, OngoingAuthorizedTransaction, as it says."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        name = station.station_id
        words = []
        for evse in (1, 9):
            found = await carried_out(operator, name, "unlock", {"evse_id": evse})
            words.append(found["answer_status"])
        await station.start(token, 1)
        found = await carried_out(operator, name, "unlock", {"evse_id": 1})
        words.append(found["answer_status"])
        assert words == ["Unlocked", "UnknownConnector", "OngoingAuthorizedTransaction"]


@every_2x
@pytest.mark.parametrize(
    ("message", "action"),
    [
        ("heartbeat", "Heartbeat"),
        ("status", "StatusNotification"),
        ("meter_values", "MeterValues"),
        ("firmware_status", "FirmwareStatusNotification"),
        ("log_status", "LogStatusNotification"),
        ("boot", "BootNotification"),
    ],
)
async def test_f06_trigger_message(
    operator: Operator, ready: Ready, protocol: Protocol, message: str, action: str
) -> None:
    """F06.FR.01: each message can be asked for, and is taken when it comes."""
    async with ready(protocol) as station:
        found = await carried_out(operator, station.station_id, "trigger", {"message": message})
        assert found["answer_status"] == "Accepted"
        await station.wait_until(lambda: count_of(station, action) > 0)
        assert station.mishaps == []


@every_2x
async def test_f06_fr_08_not_implemented(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """F06.FR.08: a message that the station can't send is NotImplemented, and that is the end."""
    async with ready(protocol) as station:
        payload = {"requestedMessage": "PublishFirmwareStatusNotification"}
        answer = await answered(operator, station.station_id, "TriggerMessage", payload)
        assert answer["status"] == "NotImplemented"


# ---- files and data (L01, N01, P01) ----


@every_2x
async def test_l01_update_firmware(
    operator: Operator, ready: Ready, protocol: Protocol, subscriber: Subscriber
) -> None:
    """L01.FR.10: each step of an update is told under the order's own request id."""
    async with ready(protocol) as station:
        wanted = {"location": "https://files.example/fw", "retrieve_at": "2026-01-01T00:00:00Z"}
        found = await carried_out(operator, station.station_id, "update_firmware", wanted)
        assert found["answer_status"] == "Accepted"
        number = (await station.wait_for("UpdateFirmware"))["requestId"]
        steps = await subscriber.wait_for(
            "station.firmware-status", count=4, station_id=station.station_id
        )
        assert [one.status for one in steps][-1] == "Installed"
        assert {one.request_id for one in steps} == {number}


@every_2x
async def test_p01_data_transfer_to_the_station(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """P01: DataTransfer goes both ways; an unknown vendor is said to be unknown by both sides."""
    async with ready(protocol) as station:
        payload = {"vendorId": "nobody", "messageId": "m", "data": {"a": 1}}
        answer = await answered(operator, station.station_id, "DataTransfer", payload)
        assert answer == {"status": "UnknownVendorId"}
        assert await station.call("DataTransfer", payload) == {"status": "UnknownVendorId"}

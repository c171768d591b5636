"""OCPP 1.6 Core, Remote Trigger, Firmware and Reservation: the certification cases of a CSMS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import (
    Clock,
    answered,
    booted,
    carried_out,
    connector_state,
    count_of,
    order,
    register,
    takes_calls,
    transactions,
)
from operating import until
from voltbus.simulator import CallFailedError, Options

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator, Subscriber

pytestmark = pytest.mark.stack


# ---- boot ----


async def test_tc_001_cold_boot(operator: Operator, subscriber: Subscriber) -> None:
    """1.6 4.2: the boot is Accepted with the time and an interval; states and beats follow."""
    name, password = await operator.station()
    async with operator.connected("1.6", name, password) as station:
        boot = await station.boot()
        assert (boot.status, boot.interval > 0) == ("Accepted", True)
        for connector in (0, 1, 2):
            await station.status(connector, "Available")
        assert (await station.heartbeat()).endswith("Z")
        told = await subscriber.wait_for("station.status", count=3, station_id=name)
        assert {one.connector_id for one in told} == {0, 1, 2}


async def test_pending_is_configured_and_then_accepted(operator: Operator) -> None:
    """1.6 4.2: Pending takes settings and no other call; a new boot is Accepted."""
    async with booted(operator, "1.6", registration="pending") as station:
        name = station.station_id
        with pytest.raises(CallFailedError) as failed:
            await station.status(1, "Available")
        assert failed.value.code == "SecurityError"
        payload = {"key": "ResetRetries", "value": "3"}
        answer = await answered(operator, name, "ChangeConfiguration", payload)
        assert answer["status"] == "Accepted"
        await register(operator, name, "accepted")
        await station.wait_for("TriggerMessage")
        await until(lambda: takes_calls(station), bool)


async def test_rejected_is_sent_nothing(operator: Operator) -> None:
    """1.6 4.2: a rejected station is sent nothing, and no call of it but a boot is taken."""
    async with booted(operator, "1.6", registration="rejected") as station:
        await order(operator, station.station_id, "ClearCache")
        assert not await takes_calls(station)
        await station.reconnect()
        assert not await takes_calls(station)
        assert station.received == []


# ---- configuration ----


async def test_tc_019_1_all_configuration_keys(operator: Operator, ready: Ready) -> None:
    """1.6 5.8: GetConfiguration without keys asks for all of them."""
    async with ready("1.6") as station:
        answer = await answered(operator, station.station_id, "GetConfiguration")
        assert await station.wait_for("GetConfiguration") == {}
        assert len(answer["configurationKey"]) > 30


async def test_tc_019_2_one_configuration_key(operator: Operator, ready: Ready) -> None:
    """1.6 5.8: one key is asked for; what the station does not know it says."""
    async with ready("1.6") as station:
        wanted = {"key": ["SupportedFeatureProfiles", "Colour"]}
        answer = await answered(operator, station.station_id, "GetConfiguration", wanted)
        assert [one["key"] for one in answer["configurationKey"]] == wanted["key"][:1]
        assert answer["unknownKey"] == ["Colour"]


@pytest.mark.parametrize(
    ("key", "value", "status"),
    [
        pytest.param("MeterValueSampleInterval", "15", "Accepted", id="tc_021"),
        pytest.param("NoSuchKey", "1", "NotSupported", id="tc_040_1"),
        pytest.param("MeterValueSampleInterval", "-1", "Rejected", id="tc_040_2"),
    ],
)
async def test_change_configuration(ready: Ready, key: str, value: str, status: str) -> None:
    """1.6 5.3: a key is changed; NotSupported and Rejected are answers, not failures."""
    async with ready("1.6") as station:
        payload = {"key": key, "value": value}
        found = await carried_out(
            ready.operator, station.station_id, "ChangeConfiguration", payload
        )
        assert (found["status"], found["answer_status"]) == ("answered", status)


# ---- charging ----


async def test_tc_007_start_with_a_cached_token(
    operator: Operator, ready: Ready, subscriber: Subscriber
) -> None:
    """1.6 4.8: a start without Authorize is verified and gets a transactionId."""
    token, ref = await operator.token()
    async with ready("1.6") as station:
        transaction = await station.start(token, 1, 100)
        assert isinstance(transaction.id, int)
        assert (transaction.id > 0, transaction.status) == (True, "Accepted")
        await station.stop(transaction, 300)
        assert transaction.status == "Accepted"
        (told,) = await subscriber.wait_for("transaction.ended", station_id=station.station_id)
        assert (told.token_ref, told.energy_wh) == (ref, 200)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        pytest.param(None, "Invalid", id="tc_023_1"),
        pytest.param({"expires_at": "2020-01-01T00:00:00Z"}, "Expired", id="tc_023_2"),
        pytest.param({"status": "blocked"}, "Blocked", id="tc_023_3"),
    ],
)
async def test_a_token_that_may_not_charge(
    ready: Ready, fields: dict[str, Any] | None, status: str
) -> None:
    """1.6 4.1, 4.8: a refused token is told why; a start with it still gets a transactionId."""
    token = "NOBODY01" if fields is None else (await ready.operator.token(**fields))[0]
    async with ready("1.6") as station:
        assert (await station.authorize(token)).status == status
        transaction = await station.start(token)
        assert transaction.status == status
        assert isinstance(transaction.id, int)


async def test_concurrent_tx(operator: Operator, ready: Ready) -> None:
    """1.6 7.2: ConcurrentTx is a word for StartTransaction only; Authorize stays Accepted."""
    token, _ = await operator.token(max_concurrent=1)
    async with ready("1.6") as station:
        await station.start(token, 1)
        assert (await station.authorize(token)).status == "Accepted"
        assert (await station.start(token, 2)).status == "ConcurrentTx"


async def test_parent_id_tag(operator: Operator, ready: Ready) -> None:
    """1.6 4.1: a token's group is its parentIdTag; a token of the group may stop."""
    first, _ = await operator.token(group_id="FAMILY")
    second, _ = await operator.token(group_id="FAMILY")
    async with ready("1.6") as station:
        transaction = await station.start(first)
        assert transaction.answer["idTagInfo"]["parentIdTag"] == "FAMILY"
        transaction.id_token = second
        await station.stop(transaction, 0)
        assert transaction.answer["idTagInfo"]["parentIdTag"] == "FAMILY"


@pytest.mark.parametrize(
    ("known", "status"),
    [pytest.param(True, "Accepted", id="tc_037_1"), pytest.param(False, "Invalid", id="tc_037_3")],
)
async def test_started_offline(
    operator: Operator,
    known: bool,  # noqa: FBT001 - a row of the table
    status: str,
) -> None:
    """1.6 3.5, 4.8: a start from offline times comes late, is verified then, and recorded."""
    token = (await operator.token())[0] if known else "NOBODY01"
    clock = Clock()
    async with booted(operator, "1.6", Options(queue_offline=True), clock) as station:
        await station.drop()
        transaction = await station.start(token, 1, 100)
        clock.pass_minutes(10)
        await station.reconnect()
        await station.flush()
        assert transaction.status == status
        if not known:  # StopTransactionOnInvalidId
            await station.stop(transaction, 100, "DeAuthorized")
        (record,) = await transactions(operator, station.station_id)
        assert record["state"] == ("active" if known else "ended")


async def test_tc_039_a_whole_transaction_offline(operator: Operator) -> None:
    """1.6 3.5: start and stop both come after the connection is back, without a boot."""
    token, _ = await operator.token()
    clock = Clock()
    async with booted(operator, "1.6", Options(queue_offline=True), clock) as station:
        await station.drop()
        transaction = await station.start(token, 1, 100)
        clock.pass_minutes(30)
        await station.stop(transaction, 5100)
        await station.reconnect()
        await station.flush()
        (record,) = await transactions(operator, station.station_id)
        assert (record["state"], record["energy_wh"]) == ("ended", 5000)
        assert record["transaction_id"] == str(transaction.id)


async def test_a_start_that_is_resent_gets_the_same_number(
    operator: Operator, ready: Ready
) -> None:
    """1.6 4.8, rules B: the same start under new message ids is one transaction, with one id."""
    token, _ = await operator.token()
    async with ready("1.6") as station:
        transaction = await station.start(token, 1, 100)
        again = [await station.resend() for _ in range(3)]
        assert {one["transactionId"] for one in again} == {transaction.id}
        await station.stop(transaction, 200)
        assert (await station.resend())["idTagInfo"]["status"] == "Accepted"
        assert len(await transactions(operator, station.station_id)) == 1


async def test_a_stop_for_an_unknown_start_is_confirmed(operator: Operator, ready: Ready) -> None:
    """1.6 4.10: a StopTransaction is always confirmed, and what it says is kept."""
    async with ready("1.6") as station:
        payload = {"transactionId": -1, "meterStop": 500, "timestamp": station.now()}
        assert await station.call("StopTransaction", payload) == {}
        (record,) = await transactions(operator, station.station_id)
        assert "no_start" in record["doubts"]


async def test_meter_values(ready: Ready, subscriber: Subscriber) -> None:
    """1.6 4.7: meter values are confirmed and told, inside and outside a transaction."""
    async with ready("1.6") as station:
        sample = {"timestamp": station.now(), "sampledValue": [{"value": "1234"}]}
        payload = {"connectorId": 1, "meterValue": [sample]}
        assert await station.call("MeterValues", payload) == {}
        (told,) = await subscriber.wait_for("station.meter-values", station_id=station.station_id)
        assert told.connector_id == 1


# ---- remote control ----


async def test_tc_061_clear_cache(operator: Operator, ready: Ready) -> None:
    """1.6 5.4: the authorization cache is cleared by order."""
    async with ready("1.6") as station:
        found = await carried_out(operator, station.station_id, "clear_cache")
        assert (found["status"], found["answer_status"]) == ("answered", "Accepted")


async def test_remote_start_and_stop(operator: Operator, ready: Ready) -> None:
    """1.6 5.11, 5.12: a transaction is begun and ended from afar, with reason Remote."""
    token, ref = await operator.token()
    async with ready("1.6") as station:
        name = station.station_id
        wanted = {"id_token": token, "connector_id": 1}
        found = await carried_out(operator, name, "remote_start", wanted)
        assert found["answer_status"] == "Accepted"
        (record,) = await until(lambda: transactions(operator, name), bool)
        assert record["token_ref"] == ref
        number = {"transaction_id": record["transaction_id"]}
        found = await carried_out(operator, name, "remote_stop", number)
        assert found["answer_status"] == "Accepted"
        (record,) = await until(
            lambda: transactions(operator, name), lambda rows: rows[0]["state"] == "ended"
        )
        assert record["stopped_reason"] == "Remote"
        found = await carried_out(operator, name, "remote_stop", {"transaction_id": "1"})
        assert found["answer_status"] == "Rejected"


@pytest.mark.parametrize(("kind", "word"), [("immediate", "Hard"), ("on_idle", "Soft")])
async def test_reset(operator: Operator, ready: Ready, kind: str, word: str) -> None:
    """1.6 5.14: Hard and Soft: the station restarts, boots and reports its connectors."""
    async with ready("1.6") as station:
        found = await carried_out(operator, station.station_id, "reset", {"type": kind})
        assert found["answer_status"] == "Accepted"
        assert await station.wait_for("Reset") == {"type": word}
        await station.wait_until(lambda: count_of(station, "StatusNotification") == 2)
        assert station.mishaps == []


@pytest.mark.parametrize(
    ("connector", "status"), [(1, "Unlocked"), (9, "NotSupported"), (2, "UnlockFailed")]
)
async def test_unlock(operator: Operator, ready: Ready, connector: int, status: str) -> None:
    """1.6 5.18: Unlocked, UnlockFailed, NotSupported: as the station says."""
    async with ready("1.6") as station:
        station.answers["UnlockConnector"] = lambda _: {"status": status}
        wanted = {"connector_id": connector}
        found = await carried_out(operator, station.station_id, "unlock", wanted)
        assert found["answer_status"] == status
        assert await station.wait_for("UnlockConnector") == {"connectorId": connector}


@pytest.mark.parametrize("place", [{}, {"connector_id": 1}])
async def test_change_availability(operator: Operator, ready: Ready, place: dict[str, int]) -> None:
    """1.6 5.2: the station or a connector goes out of service and back; the state is shown."""
    async with ready("1.6") as station:
        for operative, state in ((False, "Unavailable"), (True, "Available")):
            wanted = {"operative": operative, **place}
            found = await carried_out(operator, station.station_id, "change_availability", wanted)
            assert found["answer_status"] == "Accepted"
            await connector_state(operator, station.station_id, state)


@pytest.mark.parametrize(
    ("message", "action"),
    [
        ("boot", "BootNotification"),
        ("heartbeat", "Heartbeat"),
        ("status", "StatusNotification"),
        ("firmware_status", "FirmwareStatusNotification"),
        ("log_status", "DiagnosticsStatusNotification"),
    ],
)
async def test_trigger_message(operator: Operator, ready: Ready, message: str, action: str) -> None:
    """1.6 5.17: each message can be asked for, and is taken when it comes."""
    async with ready("1.6") as station:
        found = await carried_out(operator, station.station_id, "trigger", {"message": message})
        assert found["answer_status"] == "Accepted"
        await station.wait_until(lambda: count_of(station, action) > 0)
        assert station.mishaps == []


async def test_firmware_and_diagnostics(
    operator: Operator, ready: Ready, subscriber: Subscriber
) -> None:
    """1.6 5.19, 5.9: an update and an upload are ordered, and each step is told."""
    async with ready("1.6") as station:
        name = station.station_id
        wanted = {"location": "https://files.example/fw", "retrieve_at": "2026-01-01T00:00:00Z"}
        assert (await carried_out(operator, name, "update_firmware", wanted))["answer"] == {}
        steps = await subscriber.wait_for("station.firmware-status", count=4, station_id=name)
        assert steps[-1].status == "Installed"
        found = await carried_out(operator, name, "get_log", {"location": "https://files.example/"})
        assert found["answer"]["fileName"]
        uploads = await subscriber.wait_for("station.log-status", count=2, station_id=name)
        assert uploads[-1].status == "Uploaded"


async def test_reservations(operator: Operator, ready: Ready) -> None:
    """1.6 5.13, 5.1: a connector is reserved and set free by order."""
    async with ready("1.6") as station:
        name = station.station_id
        payload = {
            "connectorId": 1,
            "expiryDate": "2030-01-01T00:00:00Z",
            "idTag": "AA01",
            "reservationId": 5,
        }
        assert (await answered(operator, name, "ReserveNow", payload))["status"] == "Accepted"
        await connector_state(operator, name, "Reserved")
        answer = await answered(operator, name, "CancelReservation", {"reservationId": 5})
        assert answer["status"] == "Accepted"
        answer = await answered(operator, name, "CancelReservation", {"reservationId": 5})
        assert answer["status"] == "Rejected"


async def test_data_transfer(operator: Operator, ready: Ready) -> None:
    """1.6 4.3, 5.6: DataTransfer goes both ways; an unknown vendor is said to be unknown."""
    async with ready("1.6") as station:
        payload = {"vendorId": "nobody", "data": "text"}
        answer = await answered(operator, station.station_id, "DataTransfer", payload)
        assert answer == {"status": "UnknownVendorId"}
        assert await station.call("DataTransfer", payload) == {"status": "UnknownVendorId"}

"""B Provisioning: resets, of a station and of an EVSE (B11, B12 of OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from conformance.acting import answered, carried_out, count_of, every_2x, transactions
from operating import until

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


@every_2x
async def test_tc_b_20_reset_when_idle(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """B11.FR.01: Reset OnIdle without a transaction: the station restarts and boots again."""
    async with ready(protocol) as station:
        found = await carried_out(operator, station.station_id, "reset", {"type": "on_idle"})
        assert found["answer_status"] == "Accepted"
        assert (await station.wait_for("Reset")) == {"type": "OnIdle"}
        await station.wait_until(
            lambda: (
                count_of(station, "BootNotification") == 1
                and station.sent[-1].action == "StatusNotification"
            )
        )
        assert station.mishaps == []


@every_2x
async def test_tc_b_21_reset_waits_for_the_transaction(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """B12.FR.01: Reset OnIdle while charging is Scheduled and happens after the transaction."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        transaction = await station.start(token)
        found = await carried_out(operator, station.station_id, "reset", {"type": "on_idle"})
        assert (found["status"], found["answer_status"]) == ("answered", "Scheduled")
        await station.finish(transaction, 0, "Local")
        assert (await station.authorize(token)).status == "Accepted"
        assert count_of(station, "BootNotification") == 1


@every_2x
async def test_tc_b_22_immediate_reset_ends_the_transaction(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """B12.FR.04: Reset Immediate while charging: the transaction ends with ImmediateReset."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        await station.start(token)
        found = await carried_out(operator, station.station_id, "reset", {"type": "immediate"})
        assert found["answer_status"] == "Accepted"
        (record,) = await until(
            lambda: transactions(operator, station.station_id),
            lambda rows: bool(rows) and rows[0]["state"] == "ended",
        )
        assert record["stopped_reason"] == "ImmediateReset"


@every_2x
@pytest.mark.parametrize(
    ("kind", "charging", "status"),
    [
        pytest.param("OnIdle", False, "Accepted", id="tc_b_25"),
        pytest.param("OnIdle", True, "Scheduled", id="tc_b_26"),
        pytest.param("Immediate", True, "Accepted", id="tc_b_27"),
    ],
)
async def test_reset_of_one_evse(
    ready: Ready,
    protocol: Protocol,
    kind: str,
    charging: bool,  # noqa: FBT001 - a row of the table
    status: str,
) -> None:
    """B11.FR.08, B12.FR.07/08: one EVSE is reset; the connection and the others stay."""
    token, _ = await ready.operator.token()
    async with ready(protocol) as station:
        if charging:
            await station.start(token, 1)
        station.answers["Reset"] = lambda _: {"status": status}
        answer = await answered(
            ready.operator, station.station_id, "Reset", {"type": kind, "evseId": 1}
        )
        assert answer["status"] == status
        assert (await station.wait_for("Reset")) == {"type": kind, "evseId": 1}
        await station.heartbeat()


@pytest.mark.parametrize(
    "charging", [pytest.param(True, id="tc_b_103"), pytest.param(False, id="tc_b_104")]
)
async def test_reset_immediate_and_resume(
    operator: Operator,
    ready: Ready,
    charging: bool,  # noqa: FBT001 - a row of the table
) -> None:
    """B12 (2.1): after ImmediateAndResume the transaction goes on: the same record, still open."""
    token, _ = await operator.token()
    async with ready("2.1") as station:
        transaction = await station.start(token) if charging else None
        station.answers["Reset"] = lambda _: {"status": "Accepted"}
        answer = await answered(
            operator, station.station_id, "Reset", {"type": "ImmediateAndResume"}
        )
        assert answer["status"] == "Accepted"
        await station.reconnect()
        assert (await station.boot("RemoteReset")).status == "Accepted"
        if transaction is None:
            assert await transactions(operator, station.station_id) == []
            return
        resumed = {
            "eventType": "Updated",
            "timestamp": station.now(),
            "triggerReason": "TxResumed",
            "seqNo": transaction.seq_no,
            "transactionInfo": {"transactionId": transaction.id, "chargingState": "Charging"},
        }
        assert await station.call("TransactionEvent", resumed) == {}
        (record,) = await transactions(operator, station.station_id)
        assert (record["state"], record["missing_seq_nos"]) == ("active", [])

"""E Transactions: every way to start, stop, resend and lose them, recorded once (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import Clock, booted, every_2x, transactions
from operating import until
from voltbus.simulator import Options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from conformance.acting import Ready
    from operating import Operator, Subscriber
    from voltbus.simulator import Protocol, Station2, Station16

pytestmark = pytest.mark.stack


class Session:
    """A transaction told event by event, as the cases want it."""

    def __init__(self, station: Station16 | Station2, clock: Clock | None = None) -> None:
        self.station = station
        self.clock = clock
        self.id = station.around.new_id()
        self.seq_no = 0

    def event(self, kind: str, trigger: str, **more: Any) -> dict[str, Any]:
        """The next event; ``more`` may hold ``info`` for transactionInfo."""
        info = {"transactionId": self.id, **more.pop("info", {})}
        payload = {
            "eventType": kind,
            "timestamp": self.station.now(),
            "triggerReason": trigger,
            "seqNo": self.seq_no,
            "transactionInfo": info,
            **more,
        }
        self.seq_no += 1
        if self.clock is not None:
            self.clock.pass_minutes(1)
        return payload

    async def tell(self, kind: str, trigger: str, **more: Any) -> dict[str, Any]:
        """Send the next event; its answer."""
        return await self.station.call("TransactionEvent", self.event(kind, trigger, **more))


def card(token: str) -> dict[str, str]:
    """An RFID card."""
    return {"idToken": token, "type": "ISO14443"}


EVSE = {"id": 1, "connectorId": 1}


async def plug_first(session: Session, token: str) -> str:
    """TxStartPoint EVConnected: the cable, then the card (E02)."""
    answer = await session.tell(
        "Started", "CablePluggedIn", evse=EVSE, info={"chargingState": "EVConnected"}
    )
    assert "idTokenInfo" not in answer
    answer = await session.tell("Updated", "Authorized", idToken=card(token))
    await session.tell("Updated", "ChargingStateChanged", info={"chargingState": "Charging"})
    return str(answer["idTokenInfo"]["status"])


async def card_first(session: Session, token: str) -> str:
    """TxStartPoint Authorized: the card, then the cable (E03)."""
    answer = await session.tell("Started", "Authorized", idToken=card(token))
    await session.tell(
        "Updated", "CablePluggedIn", evse=EVSE, info={"chargingState": "EVConnected"}
    )
    await session.tell("Updated", "ChargingStateChanged", info={"chargingState": "Charging"})
    return str(answer["idTokenInfo"]["status"])


@every_2x
@pytest.mark.parametrize(
    "begin",
    [
        pytest.param(plug_first, id="tc_e_03_tc_e_09_plug_first"),
        pytest.param(card_first, id="tc_e_04_tc_e_10_card_first"),
    ],
)
async def test_start_and_stop(
    operator: Operator,
    protocol: Protocol,
    begin: Callable[[Session, str], Awaitable[str]],
    subscriber: Subscriber,
) -> None:
    """E01, E02.FR.05, E03.FR.02: whatever begins it, one transaction with its token and energy."""
    token, ref = await operator.token()
    clock = Clock()
    async with booted(operator, protocol, clock=clock) as station:
        name = station.station_id
        assert (await station.authorize(token)).status == "Accepted"
        session = Session(station, clock)
        assert await begin(session, token) == "Accepted"
        answer = await session.tell(
            "Ended", "StopAuthorized", idToken=card(token), info={"stoppedReason": "Local"}
        )
        assert answer["idTokenInfo"]["status"] == "Accepted"
        (told,) = await subscriber.wait_for("transaction.ended", station_id=name)
        (record,) = await transactions(operator, name)
        assert (record["state"], record["token_ref"], record["evse_id"]) == ("ended", ref, 1)
        assert (record["missing_seq_nos"], told.transaction_id) == ([], session.id)


@every_2x
async def test_tc_e_16_deauthorized_by_an_invalid_token(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """E01.FR.12, E05.FR.01: a refused token in the start is told so, and the end is confirmed."""
    token, _ = await operator.token(status="blocked")
    async with ready(protocol) as station:
        session = Session(station)
        answer = await session.tell("Started", "Authorized", evse=EVSE, idToken=card(token))
        assert answer["idTokenInfo"]["status"] == "Blocked"
        answer = await session.tell("Ended", "Deauthorized", info={"stoppedReason": "DeAuthorized"})
        assert answer == {}
        (record,) = await transactions(operator, station.station_id)
        assert (record["state"], record["authorization"]) == ("ended", "Blocked")
        assert record["stopped_reason"] == "DeAuthorized"


@every_2x
async def test_tc_e_39_the_cable_never_came(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """E03.FR.05: authorized, but no cable in time: it ends with Timeout and without energy."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        session = Session(station)
        await session.tell("Started", "Authorized", idToken=card(token))
        answer = await session.tell("Ended", "EVConnectTimeout", info={"stoppedReason": "Timeout"})
        assert answer == {}
        (record,) = await transactions(operator, station.station_id)
        assert (record["state"], record["stopped_reason"]) == ("ended", "Timeout")


@every_2x
async def test_tc_e_53_sequence_numbers_begin_at_zero_each_time(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """E01.FR.07: a station may count from 0 for each transaction, and nothing is missing."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        for _ in range(2):
            session = Session(station)
            await session.tell("Started", "Authorized", evse=EVSE, idToken=card(token))
            await session.tell("Ended", "StopAuthorized", info={"stoppedReason": "Local"})
        records = await transactions(operator, station.station_id)
        assert [one["missing_seq_nos"] for one in records] == [[], []]


# ---- resent, reordered, offline (E04, E12, P4 4.1.3) ----


@every_2x
async def test_e13_a_resend_is_the_same_transaction(
    operator: Operator, ready: Ready, protocol: Protocol, subscriber: Subscriber
) -> None:
    """Rules B: the same event under a new message id changes nothing and gets the same answer."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        session = Session(station)
        answers = [await session.tell("Started", "Authorized", evse=EVSE, idToken=card(token))]
        answers += [await station.resend() for _ in range(3)]
        assert {one["idTokenInfo"]["status"] for one in answers} == {"Accepted"}
        await session.tell("Ended", "StopAuthorized", info={"stoppedReason": "Local"})
        await station.resend()
        await subscriber.wait_for("transaction.ended", station_id=station.station_id)
        assert len(await transactions(operator, station.station_id)) == 1
        told = subscriber.of("transaction.started", station_id=station.station_id)
        assert len(told) == 1


@every_2x
async def test_e04_events_in_any_order(operator: Operator, protocol: Protocol) -> None:
    """E04.FR.02: late events close the gaps; the record is as if they had come in order."""
    token, _ = await operator.token()
    clock = Clock()
    async with booted(operator, protocol, clock=clock) as station:
        session = Session(station, clock)
        started = session.event("Started", "Authorized", evse=EVSE, idToken=card(token))
        updates = [session.event("Updated", "MeterValuePeriodic") for _ in range(3)]
        over = session.event("Ended", "StopAuthorized", info={"stoppedReason": "Local"})
        await station.calls("TransactionEvent", [updates[2], over])
        (record,) = await transactions(operator, station.station_id)
        assert record["missing_seq_nos"] == [0, 1, 2]
        await station.calls("TransactionEvent", [updates[1], started, updates[0]])
        (record,) = await transactions(operator, station.station_id)
        assert record["missing_seq_nos"] == []
        assert (record["state"], record["authorization"]) == ("ended", "Accepted")


@every_2x
async def test_e04_offline_transaction_is_replayed_before_any_boot(
    operator: Operator, protocol: Protocol
) -> None:
    """E04.FR.01, A20: what was charged offline counts, after a reconnect without a boot."""
    token, _ = await operator.token()
    clock = Clock()
    async with booted(operator, protocol, Options(queue_offline=True), clock) as station:
        await station.drop()
        transaction = await station.start(token, 1, 1000)
        clock.pass_minutes(20)
        await station.stop(transaction, 3000)
        assert transaction.answer == {}
        await station.reconnect()
        await station.flush()
        assert transaction.status == "Accepted"
        (record,) = await transactions(operator, station.station_id)
        assert (record["energy_wh"], record["offline"]) == (2000, True)


@every_2x
async def test_e05_a_token_that_was_refused_offline(operator: Operator, protocol: Protocol) -> None:
    """E05.FR.01: the answer to a replayed start tells that the token is not valid."""
    token, _ = await operator.token(status="blocked")
    async with booted(operator, protocol, Options(queue_offline=True), Clock()) as station:
        await station.drop()
        transaction = await station.start(token)
        await station.reconnect()
        await station.flush()
        assert transaction.status == "Blocked"


@every_2x
async def test_e14_status_of_a_transaction(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """E14.FR.01: GetTransactionStatus asks whether it goes on and whether messages wait."""
    token, _ = await operator.token()
    async with ready(protocol) as station:
        transaction = await station.start(token)
        body = {"action": "GetTransactionStatus", "payload": {"transactionId": transaction.id}}
        path = f"/v1/stations/{station.station_id}/commands"
        made = await operator.done("POST", "config", path, json=body)
        await station.wait_for("GetTransactionStatus")
        found = await until(
            lambda: operator.done("GET", "config", f"/v1/commands/{made['id']}"),
            lambda one: one["status"] == "answered",
        )
        assert found["answer"] == {"messagesInQueue": False, "ongoingIndicator": True}


@every_2x
async def test_j02_meter_values_of_a_transaction(
    operator: Operator, protocol: Protocol, subscriber: Subscriber
) -> None:
    """J02.FR.11, E06.FR.11: the register at both ends gives the energy."""
    token, ref = await operator.token()
    clock = Clock()
    async with booted(operator, protocol, clock=clock) as station:
        transaction = await station.start(token, 1, 1000)
        clock.pass_minutes(15)
        await station.meter(transaction, 2500)
        clock.pass_minutes(15)
        await station.stop(transaction, 4000)
        (told,) = await subscriber.wait_for("transaction.ended", station_id=station.station_id)
        assert (told.meter_start_wh, told.meter_stop_wh, told.energy_wh) == (1000, 4000, 3000)
        assert (told.token_ref, told.doubts) == (ref, ())

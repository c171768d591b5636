"""The simulated station against an independent central system, in all three versions."""

from __future__ import annotations

import asyncio
import json
import random
from datetime import datetime
from typing import TYPE_CHECKING

import pytest
from ocpp.exceptions import GenericError

from sim_central import Central
from voltbus.simulator import (
    AnswerTimeoutError,
    Backoff,
    CallFailedError,
    ConnectionLostError,
    InvalidAnswerError,
    InvalidCallError,
    NoSubprotocolError,
    Options,
    RefusedError,
    Station,
    Surroundings,
    UnreachableError,
    make_station,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voltbus.simulator import Protocol

PASSWORD = "correct-horse-battery"
ALL: tuple[Protocol, ...] = ("1.6", "2.0.1", "2.1")
QUICK = Backoff(first=0.01, longest=0.05)


@pytest.fixture
async def central() -> AsyncIterator[Central]:
    """A central system that knows CP-1, CP 2 and an open one."""
    passwords = {"CP-1": PASSWORD.encode(), "CP 2/é": PASSWORD.encode(), "open": None}
    async with Central(passwords) as running:
        yield running


async def joined(central: Central, protocol: Protocol, **options: object) -> Station:
    """Return a station that is connected as CP-1."""
    station = make_station(protocol, Options(**options))  # type: ignore[arg-type]  # checked by Options
    await station.connect(central.url, "CP-1", PASSWORD)
    return station


@pytest.mark.parametrize("protocol", ALL)
async def test_a_whole_charge(central: Central, protocol: Protocol) -> None:
    """Boot, authorize, start, meter, stop: every message follows the library's schemas."""
    async with await joined(central, protocol) as station:
        boot = await station.boot()
        assert (boot.status, boot.interval) == ("Accepted", 60)
        assert (await station.heartbeat()).startswith("2026-01-02")
        await station.status(1, "Preparing")
        assert (await station.authorize("04A2B3C4")).status == "Accepted"
        transaction = await station.start("04A2B3C4", 1, 100)
        await station.meter(transaction, 2600)
        await station.stop(transaction, 5100)
        assert transaction.status == "Accepted"
        assert transaction.ended
        assert not station.transactions
    names = [name for name, _ in central.calls]
    assert names[:4] == ["BootNotification", "Heartbeat", "StatusNotification", "Authorize"]
    if protocol == "1.6":
        assert names[4:] == ["StartTransaction", "MeterValues", "StopTransaction"]
        assert central.asked("StopTransaction")[0]["transactionId"] == 7
        assert central.asked("StopTransaction")[0]["meterStop"] == 5100
    else:
        events = central.asked("TransactionEvent")
        assert [event["eventType"] for event in events] == ["Started", "Updated", "Ended"]
        assert [event["seqNo"] for event in events] == [0, 1, 2]
        assert {event["transactionInfo"]["transactionId"] for event in events} == {transaction.id}
        assert events[2]["meterValue"][0]["sampledValue"][0]["value"] == 5100


async def test_the_identity_is_percent_encoded(central: Central) -> None:
    """An identity with a space, a slash and a letter beyond ASCII arrives whole (A1)."""
    async with make_station("2.0.1") as station:
        await station.connect(central.url, "CP 2/é", PASSWORD)
        assert station.online


@pytest.mark.parametrize(
    ("station_id", "password", "status"),
    [("CP-1", "wrong-password-here", 401), ("CP-1", None, 401), ("nobody", PASSWORD, 404)],
)
async def test_a_refusal_carries_its_http_status(
    central: Central, station_id: str, password: str | None, status: int
) -> None:
    """A refused upgrade raises RefusedError with the status and never shows the password (A4)."""
    station = make_station("1.6")
    with pytest.raises(RefusedError) as refusal:
        await station.connect(central.url, station_id, password)
    assert refusal.value.status == status
    assert "wrong-password-here" not in str(refusal.value)
    assert "wrong-password-here" not in repr(vars(station))


async def test_a_16_password_may_be_bytes() -> None:
    """1.6's decoded AuthorizationKey need not be UTF-8 (A5, white paper A00.FR.205)."""
    async with Central({"CP-1": b"\xff\xfe:\x00" * 4}) as central, make_station("1.6") as station:
        await station.connect(central.url, "CP-1", b"\xff\xfe:\x00" * 4)
        assert (await station.boot()).status == "Accepted"


async def test_nothing_listens(central: Central) -> None:
    """A closed port and a malformed address are one clear error each."""
    await central.hang_up()
    with pytest.raises(UnreachableError, match="can't be reached"):
        await make_station("1.6").connect(central.url, "CP-1")
    with pytest.raises(UnreachableError, match="no WebSocket address"):
        await make_station("1.6").connect("http://127.0.0.1:1/ocpp", "CP-1")


async def test_no_common_subprotocol() -> None:
    """A server that upgrades without a version is left again at once (A3)."""
    async with Central({"open": None}, subprotocols=("ocpp2.1",)) as central:
        with pytest.raises(NoSubprotocolError):
            await make_station("1.6").connect(central.url, "open")


async def test_a_callerror_is_raised_with_its_code(central: Central) -> None:
    """A CALLERROR becomes CallFailedError; the station stays usable."""
    central.answers["Authorize"] = lambda _: "InternalError"
    async with await joined(central, "2.0.1") as station:
        with pytest.raises(CallFailedError) as failure:
            await station.authorize("04A2B3C4")
        assert failure.value.code == "InternalError"
        assert "04A2B3C4" not in str(failure.value)
        assert await station.heartbeat()


async def test_an_answer_against_the_schema_is_noticed(central: Central) -> None:
    """The library's validation of received answers is on: the independent check."""
    central.answers["Authorize"] = lambda _: {"idTagInfo": {"status": "Perhaps"}}
    async with await joined(central, "1.6") as station:
        with pytest.raises(InvalidAnswerError):
            await station.authorize("04A2B3C4")


async def test_a_21_station_complains_about_an_answer(central: Central) -> None:
    """2.1 reports an answer against the schema by CALLRESULTERROR under the same id (A17)."""
    central.answers["Heartbeat"] = lambda _: {"currentTime": 5}
    async with await joined(central, "2.1") as station:
        with pytest.raises(InvalidAnswerError):
            await station.heartbeat()
        central.answers["Heartbeat"] = lambda _: {"currentTime": "2026-01-01T00:00:00Z"}
        await station.heartbeat()
        complaint = json.loads(central.frames[1])
        assert complaint[:2] == [5, station.sent[0].message_id]


async def test_a_21_station_may_send_without_an_answer(central: Central) -> None:
    """SEND may overlap a call and gets no answer (A17)."""
    async with await joined(central, "2.1") as station:
        stream = {"id": 1, "pending": 0, "basetime": "2026-01-01T00:00:00Z", "data": []}
        await station.send_unanswered("NotifyPeriodicEventStream", stream)
        await station.heartbeat()
        assert json.loads(central.frames[0])[0] == 6


async def test_our_own_mistake_is_refused_before_it_leaves(central: Central) -> None:
    """A payload against the schema needs send_raw, or validation switched off for the call."""
    async with await joined(central, "1.6") as station:
        with pytest.raises(InvalidCallError, match="send_raw"):
            await station.call("Authorize", {"idTag": "a token of more than twenty"})
        assert not central.asked("Authorize")


async def test_no_answer_in_time(central: Central) -> None:
    """A silent central system is a timeout, not a hang."""
    central.answers["Heartbeat"] = lambda _: None
    async with await joined(central, "2.1", timeout=0.05) as station:
        with pytest.raises(AnswerTimeoutError):
            await station.heartbeat()


async def test_a_lost_connection_ends_what_waits(central: Central) -> None:
    """A call open when the socket closes fails at once, with the close code."""
    central.answers["Heartbeat"] = lambda _: None
    async with await joined(central, "1.6") as station:
        waiting = asyncio.create_task(station.heartbeat())
        session = await central.session()
        await session.socket.close(1012, "restart")
        with pytest.raises(ConnectionLostError) as lost:
            await waiting
        assert lost.value.code == 1012
        assert await station.wait_offline() == 1012


async def test_the_central_system_is_answered_while_a_call_of_ours_waits(central: Central) -> None:
    """Calls that cross are legal: ours is open, and theirs is answered (A13, P4 §4.1.1)."""
    held: list[str] = []
    central.answers["Authorize"] = lambda _: held.append("asked")
    async with await joined(central, "2.0.1") as station:
        session = await central.session()
        waiting = asyncio.create_task(station.authorize("04A2B3C4"))
        answer = await session.ask("GetLocalListVersion", {})
        assert answer == {"versionNumber": 0}
        assert not waiting.done()
        await session.socket.send(
            json.dumps([3, station.sent[-1].message_id, {"idTokenInfo": {"status": "Blocked"}}])
        )
        assert (await waiting).status == "Blocked"


async def test_calls_may_be_pipelined(central: Central) -> None:
    """Real stations send several calls without waiting; answers are matched by id."""
    async with await joined(central, "1.6") as station:
        beats = [station.call("Heartbeat", {}, overlap=True) for _ in range(20)]
        assert len(await asyncio.gather(*beats)) == 20


async def test_garbage_goes_out_and_the_answer_comes_back_raw(central: Central) -> None:
    """send_raw sends anything; a frame that answers no call of ours comes out of receive_raw."""
    central.answers["Authorize"] = lambda _: "FormationViolation"
    async with await joined(central, "1.6") as station:
        await station.send_raw('[2,"x","Authorize",{"idTag":"1"}]')
        assert json.loads(await station.receive_raw())[:3] == [4, "x", "FormationViolation"]
        with pytest.raises(AnswerTimeoutError):
            await station.receive_raw(0.01)


async def test_a_resend_takes_a_new_message_id(central: Central) -> None:
    """The same payload goes out again, under a new id or on demand the old one (A14)."""
    async with await joined(central, "1.6") as station:
        await station.authorize("04A2B3C4")
        await station.resend()
        await station.resend(same_id=True)
    assert len(central.asked("Authorize")) == 3
    assert central.ids[1] == central.ids[2] != central.ids[0]


async def test_a_manual_station_answers_nothing(central: Central) -> None:
    """In manual mode the driver sees each frame and the central system no answer."""
    async with await joined(central, "1.6") as station:
        session = await central.session()
        station.set_manual(on=True)
        await session.socket.send('[2,"c","ClearCache",{}]')
        assert await station.receive_raw() == '[2,"c","ClearCache",{}]'


async def test_own_answers(central: Central) -> None:
    """A test may replace an answer: by another payload, a CALLERROR, or silence."""
    async with await joined(central, "1.6", carry_out=False) as station:
        session = await central.session()
        station.answers["ClearCache"] = lambda _: {"status": "Rejected"}
        assert await session.ask("ClearCache", {}) == {"status": "Rejected"}

        def fail(_: object) -> None:
            raise GenericError

        station.answers["ClearCache"] = fail
        assert await session.ask("ClearCache", {}) == "GenericError"
        station.answers["ClearCache"] = lambda _: None
        await session.socket.send('[2,"silence","ClearCache",{}]')
        assert await session.ask("Reset", {"type": "Soft"}) == {"status": "Accepted"}
        assert not any('"silence"' in frame for frame in central.frames)


async def test_injected_ids_and_clock_make_messages_repeatable(central: Central) -> None:
    """With injected surroundings two runs send the same frames."""
    frames = []
    for _ in range(2):
        numbers = iter(range(100))
        around = Surroundings(
            now=lambda: datetime.fromisoformat("2026-05-01T12:00:00+02:00"),
            new_id=lambda numbers=numbers: f"n{next(numbers)}",  # type: ignore[misc]  # bound now
            rng=random.Random(1),  # noqa: S311 - jitter, no secret
        )
        central.frames.clear()
        async with make_station("2.1", None, around) as station:
            await station.connect(central.url, "CP-1", PASSWORD)
            await station.stop(await station.start("04A2B3C4"), 10)
        frames.append(list(central.frames))
    assert frames[0] == frames[1]
    assert '"2026-05-01T10:00:00.000Z"' in frames[0][0]


@pytest.mark.parametrize("protocol", ALL)
async def test_an_offline_station_replays_its_transaction(
    central: Central, protocol: Protocol
) -> None:
    """Start and stop made offline arrive in order after the reconnection, without a new boot."""
    station = await joined(central, protocol, reconnect=True, queue_offline=True, backoff=QUICK)
    async with station:
        await station.boot()
        await central.hang_up()
        await station.wait_offline()
        transaction = await station.start("04A2B3C4", 1, 0)
        await station.meter(transaction, 700)
        await station.stop(transaction, 900)
        assert len(station.outbox) == 3
        central.calls.clear()
        await central.listen()
        await station.wait_until(lambda: station.online and not station.outbox)
        assert transaction.status == "Accepted"
    if protocol == "1.6":
        assert [name for name, _ in central.calls] == [
            "StartTransaction",
            "MeterValues",
            "StopTransaction",
        ]
        assert central.asked("StopTransaction")[0]["transactionId"] == 7
    else:
        events = central.asked("TransactionEvent")
        assert [event["seqNo"] for event in events] == [0, 1, 2]
        assert all(event["offline"] for event in events)


@pytest.mark.parametrize("same_id", [False, True])
async def test_a_start_whose_answer_was_lost_is_sent_again(
    central: Central,
    same_id: bool,  # noqa: FBT001 - a test's parameter
) -> None:
    """The same start goes out again after the drop, by default under a new message id."""
    answer = central.answers["StartTransaction"]
    central.answers["StartTransaction"] = lambda _: None
    station = await joined(
        central,
        "1.6",
        reconnect=True,
        queue_offline=True,
        same_id_on_retry=same_id,
        backoff=QUICK,
    )
    async with station:
        starting = asyncio.create_task(station.start("04A2B3C4"))
        await station.wait_until(lambda: station.sent)
        await central.session()
        central.answers["StartTransaction"] = answer
        await station.drop()
        transaction = await starting
        await station.wait_until(lambda: transaction.id == 7)
    sent = [call for call in station.sent if call.action == "StartTransaction"]
    assert sent[0].payload == sent[1].payload
    assert (sent[0].message_id == sent[1].message_id) is same_id


async def test_a_refusing_server_is_tried_until_it_accepts(central: Central) -> None:
    """503 while the server is not ready doesn't end the attempts to reconnect."""
    station = await joined(central, "2.0.1", reconnect=True, backoff=QUICK)
    async with station:
        central.ready = False
        await station.drop()
        await station.wait_until(lambda: station.mishaps)
        assert isinstance(station.mishaps[0], RefusedError)
        assert station.mishaps[0].status == 503
        central.ready = True
        await station.wait_online()
        assert await station.heartbeat()

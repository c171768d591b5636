"""Stations that owe a BootNotification are asked for it (1.6 §5.17; 2.x F06, B02, B03)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from config.config_examples import NOW, event
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.config import CallOutcome, Registration
from voltbus_backbone.contract.gateway import RegistrationChanged
from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain import boot_requests
from voltbus_config.domain.boot_requests import MOST_ATTEMPTS, brings_boot
from voltbus_config.domain.stations import Registration as Registered

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from config.conftest import Replica
    from voltbus_backbone.contract.gateway import SendCall

BOOT = {"requestedMessage": "BootNotification"}
BOTH = [Protocol.OCPP16, Protocol.OCPP201, Protocol.OCPP21]


@pytest.mark.parametrize(
    ("action", "payload", "expected"),
    [
        ("TriggerMessage", BOOT, True),
        ("ExtendedTriggerMessage", BOOT, True),
        ("TriggerMessage", {"requestedMessage": "Heartbeat"}, False),
        ("TriggerMessage", {}, False),
        ("Reset", {"type": "Soft"}, True),
        ("ClearCache", {}, False),
        ("RemoteStartTransaction", {}, False),
    ],
)
def test_what_brings_a_boot(action: str, payload: dict[str, Any], *, expected: bool) -> None:
    """Only that may go to a station that has never been answered one."""
    assert brings_boot(action, payload) is expected


def test_pauses_double_up_to_an_hour_and_end() -> None:
    """A station that says nothing is not asked for ever on one connection."""
    request, now, pauses = None, NOW, []
    for number in range(MOST_ATTEMPTS):
        command = boot_requests.build_request_command(f"c-{number}", "CS-1", now, 30.0)
        request = boot_requests.record_attempt(request, command, "conn", Registered.ACCEPTED, now)
        if request.next_at is not None:
            pauses.append(request.next_at - now)
            now = request.next_at
    assert pauses[:3] == [timedelta(minutes=1), timedelta(minutes=2), timedelta(minutes=4)]
    assert max(pauses) == timedelta(hours=1)
    assert request is not None
    assert (request.attempts, request.next_at) == (MOST_ATTEMPTS, None)
    again = boot_requests.next_at(request, "another", Registered.ACCEPTED, now)
    assert again == request.asked_at + timedelta(minutes=1)


async def speak(replica: Replica, station_id: str) -> str:
    """The station says something that is no Boot; how it stands."""
    asked = Registration(
        station_id=station_id,
        protocol=Protocol.OCPP16,
        connection_id=replica.connections[station_id],
    )
    [answer] = await replica.ask(event(registry.REGISTRATION, asked))
    return str(answer.status)  # type: ignore[attr-defined]  # a BootAnswer


async def move_over(replica: Replica, protocol: Protocol = Protocol.OCPP16) -> SendCall:
    """A station that runs already appears, as it was, and is asked to boot."""
    await replica.register("CS-1")
    await replica.connect("CS-1", protocol)
    assert await speak(replica, "CS-1") == "Pending"
    await replica.settle()
    assert replica.calls("CS-1") == []
    replica.hands.move(1)
    return await replica.call("CS-1", "TriggerMessage")


async def shown(replica: Replica) -> dict[str, Any]:
    """What its page says of the request."""
    found: dict[str, Any] = (await replica.station("CS-1"))["boot_request"]
    return found


@pytest.mark.stack
@pytest.mark.parametrize("protocol", BOTH)
async def test_a_station_that_moved_over_while_it_ran_is_asked_to_boot(
    replica: Replica, protocol: Protocol
) -> None:
    """By itself, a second after its first word; what waited for it then goes out."""
    call = await move_over(replica, protocol)
    assert call.payload == BOOT
    await replica.command("CS-1", "ClearCache")
    await replica.end(call, {"status": "Accepted"})
    assert (await shown(replica))["attempts"] == 1
    await replica.boot("CS-1", protocol)
    await replica.call("CS-1", "ClearCache")
    assert await shown(replica) is None
    assert await speak(replica, "CS-1") == "Accepted"


@pytest.mark.stack
async def test_a_silent_station_is_asked_later(replica: Replica) -> None:
    """An honest Boot may still come: it is waited for, for as long as ``boot_wait_s``."""
    await replica.register("CS-1")
    await replica.connect("CS-1")
    replica.hands.move(9.9)
    await replica.settle()
    assert replica.calls("CS-1") == []
    replica.hands.move(0.1)
    await replica.call("CS-1", "TriggerMessage")


@pytest.mark.stack
async def test_a_station_that_boots_three_seconds_after_its_connection_is_not_called(
    replica: Replica,
) -> None:
    """Commands, settings and requests wait for its Boot, then go out (A20)."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.disconnect("CS-1")
    await replica.connect("CS-1")
    await replica.command("CS-1", "ClearCache")
    await replica.set("CS-1", keys={"HeartbeatInterval": 60})
    replica.hands.move(3)
    await replica.settle()
    assert replica.calls("CS-1") == []
    await replica.boot("CS-1")
    await replica.call("CS-1", "ClearCache")


@pytest.mark.stack
async def test_who_says_something_else_first_is_called_soon(replica: Replica) -> None:
    """It reconnects without a Boot: nothing is gained by waiting longer (A20)."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    await replica.disconnect("CS-1")
    await replica.connect("CS-1")
    await replica.command("CS-1", "ClearCache")
    await speak(replica, "CS-1")
    replica.hands.move(1)
    await replica.call("CS-1", "ClearCache")


@pytest.mark.stack
@pytest.mark.parametrize("action", ["trigger", "TriggerMessage", "reset"])
async def test_an_operator_s_own_request_goes_out_too(replica: Replica, action: str) -> None:
    """`trigger boot` and `reset` are what helps such a station; nothing else is sent."""
    payload = {"trigger": {"message": "boot"}, "TriggerMessage": BOOT, "reset": {}}[action]
    call = await move_over(replica)
    await replica.end(call, outcome=CallOutcome.REJECTED, error_code="NotImplemented")
    await replica.command("CS-1", "ClearCache")
    await replica.command("CS-1", action, payload=payload)
    sent = (await replica.call("CS-1", "Reset" if action == "reset" else "TriggerMessage")).payload
    assert sent == ({"type": "Soft"} if action == "reset" else BOOT)


@pytest.mark.stack
@pytest.mark.parametrize(
    "end",
    [
        {"payload": {"status": "NotImplemented"}},
        {"outcome": CallOutcome.REJECTED, "error_code": "NotSupported"},
        {"outcome": CallOutcome.REJECTED, "error_code": "NotImplemented"},
    ],
)
async def test_a_station_that_cannot_be_asked_is_shown_with_what_helps(
    replica: Replica, end: dict[str, Any]
) -> None:
    """It is not asked again on this connection; its page says what an operator can do."""
    await replica.end(await move_over(replica), **end)
    found = await shown(replica)
    assert found["next_at"] is None
    assert "reset" in found["detail"]
    replica.hands.move(24 * 3600)
    await replica.settle()
    assert len(replica.calls("CS-1")) == 1
    await replica.connect("CS-1")
    replica.hands.move(10)
    await replica.settle()
    assert len(replica.calls("CS-1")) == 2


@pytest.mark.stack
@pytest.mark.parametrize(
    ("end", "said"),
    [
        ({"outcome": CallOutcome.TIMED_OUT}, "no answer"),
        ({"payload": {"status": "Accepted"}}, "none came"),
        ({"payload": {"status": "Rejected"}}, "refused"),
    ],
)
async def test_who_does_not_boot_all_the_same_is_asked_again(
    replica: Replica, end: dict[str, Any], said: str
) -> None:
    """Later each time, and its page says why."""
    await replica.end(await move_over(replica), **end)
    assert said in (await shown(replica))["detail"]
    replica.hands.move(59)
    await replica.settle()
    assert len(replica.calls("CS-1")) == 1
    replica.hands.move(1)
    await replica.settle()
    assert len(replica.calls("CS-1")) == 2
    assert (await shown(replica))["attempts"] == 2


@pytest.mark.stack
@pytest.mark.parametrize("protocol", [Protocol.OCPP201, Protocol.OCPP21])
async def test_a_2x_station_that_refuses_holds_itself_accepted(
    replica: Replica, protocol: Protocol
) -> None:
    """F06.FR.17: it refuses exactly when its last Boot was accepted, by whoever was here before."""
    call = await move_over(replica, protocol)
    await replica.command("CS-1", "ClearCache")
    await replica.end(call, {"status": "Rejected"})
    found = await replica.station("CS-1")
    assert found["boot_request"] is None
    assert "F06.FR.17" in found["last_boot"]["reason"]
    assert await speak(replica, "CS-1") == "Accepted"
    [told] = replica.told("gateway.inbox", RegistrationChanged)
    assert (told.station_id, told.status, told.gateway_id) == ("CS-1", "Accepted", "g-1")
    await replica.call("CS-1", "ClearCache")


@pytest.mark.stack
@pytest.mark.parametrize("policy", ["pending", "accepted", "rejected"])
async def test_a_station_that_nobody_registered_is_asked_by_policy(
    make_replica: Callable[..., Awaitable[Replica]], policy: str
) -> None:
    """Where unknown stations are let in, a Boot makes them known; the rejected are sent nothing."""
    replica = await make_replica(unknown_station=policy)
    await replica.connect("CS-9")
    replica.hands.move(10)
    await replica.settle()
    if policy == "rejected":
        assert replica.calls("CS-9") == []
        return
    call = await replica.call("CS-9", "TriggerMessage")
    await replica.end(call, {"status": "Accepted"})
    await replica.boot("CS-9")
    await replica.settle()
    assert (await replica.station("CS-9"))["registration"] == policy
    assert len(replica.calls("CS-9")) == 1


@pytest.mark.stack
async def test_a_changed_registration_reaches_a_station_that_was_away(replica: Replica) -> None:
    """It comes back without a Boot: it is asked for one, whose answer is the new registration."""
    await replica.register("CS-1", registration="pending")
    await replica.arrive("CS-1")
    await replica.disconnect("CS-1")
    await replica.client.patch("/v1/stations/CS-1", json={"registration": "accepted"})
    replica.hands.move(3600)
    await replica.connect("CS-1")
    assert await speak(replica, "CS-1") == "Pending"
    replica.hands.move(1)
    await replica.call("CS-1", "TriggerMessage")
    await replica.boot("CS-1")
    assert await speak(replica, "CS-1") == "Accepted"

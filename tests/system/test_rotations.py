"""A station's password is rotated by one request: in every case it stays let in (A7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from ocpp.exceptions import InternalError

from operating import PUBLIC, until
from voltbus.simulator import Options
from voltbus_backbone.bus.kafka import read_all
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from operating import Operator
    from voltbus.simulator import Protocol, Station2, Station16

pytestmark = pytest.mark.stack
everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])

CARRIER = {"1.6": "ChangeConfiguration", "2.0.1": "SetVariables", "2.1": "SetVariables"}
OVER = {"succeeded", "failed"}


async def rotate(operator: Operator, name: str, **body: Any) -> dict[str, Any]:
    async def ask() -> Any:
        path = f"/v1/stations/{name}/credentials/rotate"
        return await operator.send("POST", "auth", path, json=body)

    # auth learns from config which stations are registered, soon.
    answer = await until(ask, lambda found: "not-registered" not in found.text)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/rotations/{found['id']}"
    return found


async def reaches(operator: Operator, rotation: dict[str, Any], *states: str) -> dict[str, Any]:
    async def read() -> Any:
        return await operator.done("GET", "auth", f"/v1/rotations/{rotation['id']}")

    found: dict[str, Any] = await until(read, lambda body: body["state"] in states)
    return found


async def logs_in_until_over(
    operator: Operator, protocol: Protocol, name: str, password: str, rotation: dict[str, Any]
) -> dict[str, Any]:
    """The station comes again and again: what tells is a log-in clearly later than the command."""

    async def come() -> Any:
        assert await operator.lets_in(protocol, name, password)
        return await operator.done("GET", "auth", f"/v1/rotations/{rotation['id']}")

    found: dict[str, Any] = await until(come, lambda body: body["state"] in OVER)
    return found


async def passwords(operator: Operator, name: str) -> int:
    shown = await operator.done("GET", "auth", f"/v1/stations/{name}/credentials")
    return int(shown["passwords"])


def given(station: Station16 | Station2, protocol: Protocol) -> str:
    """The password that the station was last told."""
    payload = [each for action, each in station.received if action == CARRIER[protocol]][-1]
    if protocol == "1.6":
        return str(payload["value"])
    return str(payload["setVariableData"][0]["attributeValue"])


def refusal(protocol: Protocol) -> dict[str, Any]:
    """The answer of a station that does not want the password."""
    if protocol == "1.6":
        return {"status": "Rejected"}
    place = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
    return {"setVariableResult": [{**place, "attributeStatus": "Rejected"}]}


@everywhere
async def test_accepted(operator: Operator, protocol: Protocol) -> None:
    """The station takes it: from then on the earlier one is refused (A01.FR.03, A7)."""
    name, old = await operator.station()
    async with operator.connected(protocol, name, old) as station:
        await station.boot()
        rotation = await rotate(operator, name)
        ended = await reaches(operator, rotation, *OVER)
        assert ended["state"] == "succeeded", ended
        new = given(station, protocol)
    assert new != old
    assert not await operator.lets_in(protocol, name, old)
    assert await operator.lets_in(protocol, name, new)
    command = await operator.done("GET", "config", f"/v1/commands/{ended['command_id']}")
    await nowhere(operator, new, str(ended), str(command))


@everywhere
async def test_rejected(operator: Operator, protocol: Protocol) -> None:
    """Any other status: the earlier one stays, and the new one is refused (A01.FR.04)."""
    name, old = await operator.station()
    async with operator.connected(protocol, name, old) as station:
        await station.boot()
        station.answers[CARRIER[protocol]] = lambda _: refusal(protocol)
        ended = await reaches(operator, await rotate(operator, name), *OVER)
        assert (ended["state"], ended["detail"]) == ("failed", "the station answered Rejected")
        new = given(station, protocol)
    assert await operator.lets_in(protocol, name, old)
    assert not await operator.lets_in(protocol, name, new)


async def test_a_callerror_that_repeats_the_password(operator: Operator) -> None:
    """Its words are stored nowhere (A6); it may have taken it, so that the next log-in tells."""
    name, old = await operator.station()
    async with operator.connected("2.0.1", name, old) as station:
        await station.boot()

        def repeats(payload: dict[str, Any]) -> dict[str, Any]:
            value = payload["setVariableData"][0]["attributeValue"]
            raise InternalError(description=f"cannot set {value}")

        station.answers["SetVariables"] = repeats
        shown = await reaches(operator, await rotate(operator, name), "unsettled")
        command = await operator.done("GET", "config", f"/v1/commands/{shown['command_id']}")
        assert (command["status"], command["error_code"]) == ("rejected", "InternalError")
        await nowhere(operator, given(station, "2.0.1"), str(shown), str(command))
    ended = await logs_in_until_over(operator, "2.0.1", name, old, shown)
    assert ended["state"] == "failed"


@everywhere
@pytest.mark.parametrize("took_it", [True, False])
async def test_never_answered(operator: Operator, protocol: Protocol, *, took_it: bool) -> None:
    """No answer: both are let in until the next log-in tells which one it uses (A7)."""
    name, old = await operator.station()
    async with operator.connected(protocol, name, old) as station:
        await station.boot()
        station.answers[CARRIER[protocol]] = lambda _: None
        rotation = await rotate(operator, name, timeout_s=0.5)
        await reaches(operator, rotation, "unsettled")
        assert await passwords(operator, name) == 2
        new = given(station, protocol)
    used, other = (new, old) if took_it else (old, new)
    ended = await logs_in_until_over(operator, protocol, name, used, rotation)
    assert ended["state"] == ("succeeded" if took_it else "failed")
    assert await passwords(operator, name) == 1
    assert not await operator.lets_in(protocol, name, other)
    assert await operator.lets_in(protocol, name, used)


@everywhere
async def test_dies_after_taking_it(operator: Operator, protocol: Protocol) -> None:
    """Its answer is lost with the socket; it comes back with the new one, which settles it."""
    name, old = await operator.station()
    cut = asyncio.Event()
    async with operator.connected(protocol, name, old) as station:
        await station.boot()

        def dies(_: dict[str, Any]) -> None:
            cut.set()

        station.answers[CARRIER[protocol]] = dies
        rotation = await rotate(operator, name)
        await asyncio.wait_for(cut.wait(), 60)
        await station.drop()
        new = given(station, protocol)
    assert await operator.lets_in(protocol, name, new)
    ended = await reaches(operator, rotation, *OVER)
    assert ended["state"] == "succeeded"
    assert not await operator.lets_in(protocol, name, old)


async def test_a_station_that_is_away_gets_it_when_it_comes(operator: Operator) -> None:
    """The command waits; logging in with the earlier one before it says nothing."""
    name, old = await operator.station()
    rotation = await rotate(operator, name)
    async with operator.connected("1.6", name, old, Options(boot_on_reconnect=True)) as station:
        await station.boot()
        assert (await reaches(operator, rotation, *OVER))["state"] == "succeeded"
        new = given(station, "1.6")
    assert await operator.lets_in("1.6", name, new)


async def test_one_at_a_time(operator: Operator) -> None:
    """A second rotation, and credentials set by hand, are refused while one is open: 409."""
    name, _ = await operator.station()
    rotation = await rotate(operator, name)
    path = f"/v1/stations/{name}/credentials"
    crossings = (
        ("POST", f"{path}/rotate", None),
        ("PUT", path, {"security_profile": 1}),
        ("DELETE", f"{path}/previous", None),
    )
    for method, where, body in crossings:
        answer = await operator.client.request(
            method, operator.stack.http("auth") + where, json=body
        )
        assert answer.status_code == 409, answer.text
        assert answer.json()["type"] == "urn:voltbus:problem:change-open"
    shown = await operator.done("GET", "auth", path)
    assert shown["change_id"] == rotation["id"]
    listed = await operator.done("GET", "auth", f"/v1/rotations?station_id={name}")
    assert [one["id"] for one in listed["data"]] == [rotation["id"]]


async def test_a_cancelled_command_and_the_operators_word(operator: Operator) -> None:
    """Cancelled at config, it is unsettled; the operator says which one stays, once."""
    name, old = await operator.station()
    rotation = await rotate(operator, name)
    asked = await reaches(operator, rotation, "commanded")

    async def with_command() -> Any:
        return await operator.done("GET", "auth", f"/v1/rotations/{rotation['id']}")

    asked = await until(with_command, lambda body: body["command_id"] is not None)
    settle = f"/v1/rotations/{rotation['id']}/settle"
    early = await operator.send("POST", "auth", settle, json={"keep": "earlier"})
    assert early.status_code == 409
    await operator.done("DELETE", "config", f"/v1/commands/{asked['command_id']}")
    await reaches(operator, rotation, "unsettled")
    done = await operator.done("POST", "auth", settle, json={"keep": "earlier"})
    assert done["state"] == "failed"
    assert await passwords(operator, name) == 1
    assert await operator.lets_in("1.6", name, old)


async def nowhere(operator: Operator, password: str, *texts: str) -> None:
    """The password is in no answer, no public event and no log (A01.FR.09)."""
    settings = KafkaSettings(bootstrap=operator.stack.kafka)
    for topic in PUBLIC:
        for record in await read_all(settings, operator.stack.topic_prefix + topic):
            assert password.encode() not in (record.value or b"")
    parts = ("gateway", "auth", "config", "agreements")
    logs = [operator.stack.log(part).read_text() for part in parts]
    assert not any(password in text for text in (*logs, *texts))

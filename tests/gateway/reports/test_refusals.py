"""Refusals have a subject: in the log, as an event, and at the gateway (A1-A5, A21)."""

from __future__ import annotations

import asyncio
import base64
import json
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs
from websockets.exceptions import InvalidStatus

from gateway.stage import DEADLINE_S, PASSWORD, Stage, basic, known_station, soon
from gateway.test_api import get
from voltbus_backbone.contract import registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping

    from voltbus_backbone.contract.stations import StationRefused


async def wait_for_refused(stage: Stage, station_id: str = "CP-1", **options: Any) -> int:
    """The status of a refused log-in."""
    with pytest.raises(InvalidStatus) as caught:
        await stage.socket(station_id, **options)
    return caught.value.response.status_code


def lines(logs: list[MutableMapping[str, Any]]) -> list[MutableMapping[str, Any]]:
    """What the log says of refusals."""
    return [line for line in logs if line["event"] == "station.refused"]


def list_published(stage: Stage) -> list[StationRefused]:
    """Every event of a refusal."""
    return [
        event.message
        for event in stage.bus.events("stations.events")
        if event.type == registry.STATION_REFUSED.name
    ]


async def test_the_log_names_who_was_refused_where_and_why(stage: Stage) -> None:
    """404, 400, 401, 429: identity as it was given, address, path and reason, and no secret."""
    stage.services.logins["CP-1"] = known_station()
    url = f"ws://127.0.0.1:{stage.gateway.listeners.port()}"
    with capture_logs() as logs:
        assert await wait_for_refused(stage, "CP-9") == 404
        assert (
            await wait_for_refused(stage, url=f"{url}/elsewhere/CP%0A1?key=secret-in-query") == 404
        )
        assert await wait_for_refused(stage, offers=("soap",)) == 400
        assert await wait_for_refused(stage, headers={}) == 401
        for _ in range(5):
            assert await wait_for_refused(stage, headers=basic("CP-1", "wrong-password-01")) == 401
        assert await wait_for_refused(stage) == 429
    said = [(line["station"], line["path"], line["reason"], line["status"]) for line in lines(logs)]
    assert said == [
        ("CP-9", "/ocpp/CP-9", "unknown_station", 404),
        ("", "/elsewhere/CP%0A1", "unknown_station", 404),
        ("CP-1", "/ocpp/CP-1", "subprotocol", 400),
        ("CP-1", "/ocpp/CP-1", "credentials_missing", 401),
        ("CP-1", "/ocpp/CP-1", "wrong_password", 401),
        ("CP-1", "/ocpp/CP-1", "too_many_failures", 429),
    ]
    assert {line["address"] for line in lines(logs)} == {"127.0.0.1"}
    for secret in ("wrong-password-01", PASSWORD, "secret-in-query"):
        assert secret not in json.dumps(logs, default=str)
        assert base64.b64encode(f"CP-1:{secret}".encode()).decode() not in json.dumps(logs)


async def test_a_request_that_is_no_websocket_is_told_too(stage: Stage) -> None:
    """RFC 6455 §4.2.1: what a proxy leaves of a station's request when it drops ``Upgrade``."""
    stage.services.logins["CP-1"] = known_station()
    reader, writer = await asyncio.open_connection("127.0.0.1", stage.gateway.listeners.port())
    header = basic("CP-1", PASSWORD)["Authorization"]
    writer.write(
        f"GET /ocpp/CP-1 HTTP/1.1\r\nHost: x\r\nAuthorization: {header}\r\n"
        "Sec-WebSocket-Protocol: ocpp1.6\r\n\r\n".encode()
    )
    async with asyncio.timeout(DEADLINE_S):
        assert (await reader.read()).startswith(b"HTTP/1.1 426")
    writer.close()
    assert (await stage.event(registry.STATION_REFUSED, "CP-1")).reason == "no_websocket"


async def test_a_stranger_fills_neither_the_log_nor_a_topic(stage: Stage) -> None:
    """However many names he knocks under: a bounded number of lines, the rest counted, no event."""
    stage.gateway.refusals._clock = lambda: 0.0
    with capture_logs() as logs:
        for number in range(100):
            assert await wait_for_refused(stage, f"X-{number}") == 404
    assert 60 <= len(lines(logs)) <= 61
    assert stage.gateway.refusals._left_out == 100 - len(lines(logs))
    assert list_published(stage) == []
    stage.services.logins["CP-1"] = known_station()
    await wait_for_refused(stage, headers=basic("CP-1", "wrong"))
    await stage.event(registry.STATION_REFUSED, "CP-1")
    assert [event.station_id for event in list_published(stage)] == ["CP-1"]


async def test_an_unregistered_identity_without_credentials_is_no_event(stage: Stage) -> None:
    """The door refuses it before it asks; only a registered station has a page to show it on."""
    assert await wait_for_refused(stage, "CP-9", headers={}) == 401
    stage.services.logins["CP-1"] = known_station()
    assert await wait_for_refused(stage, "CP-1", headers={}) == 401
    event = await stage.event(registry.STATION_REFUSED, "CP-1")
    assert (event.kind, event.reason, event.address) == (
        "login",
        "credentials_missing",
        "127.0.0.1",
    )
    assert [event.station_id for event in list_published(stage)] == ["CP-1"]


@pytest.mark.parametrize(
    ("action", "payload", "reason", "shown"),
    [
        ("Authorize", {}, "OccurenceConstraintViolation", None),
        ("ClearCache", {}, "NotSupported", None),
        ("NotAnAction4716", {}, "NotImplemented", ""),
    ],
)
async def test_a_refused_call_is_told_of_the_station(
    stage: Stage, action: str, payload: dict[str, Any], reason: str, shown: str | None
) -> None:
    """With the action, where the version knows it (any other text may hold what it likes)."""
    async with stage.station("CP-1") as station:
        assert (await station.call(action, payload))[2] == reason
        event = await stage.event(registry.STATION_REFUSED, "CP-1")
    assert (event.kind, event.reason, event.count) == ("call", reason, 1)
    assert event.action == (action if shown is None else shown)
    assert event.address == "127.0.0.1"


async def test_a_call_before_acceptance_is_told_as_refused(stage: Stage) -> None:
    """A21: SecurityError for a station that has yet to boot is what an operator looks for."""
    stage.services.registrations["CP-1"] = "Pending"
    async with stage.station("CP-1") as station:
        assert (await station.call("Heartbeat", {}))[2] == "SecurityError"
        event = await stage.event(registry.STATION_REFUSED, "CP-1")
    assert (event.reason, event.action) == ("SecurityError", "Heartbeat")


async def test_a_text_that_is_no_message_is_told_as_refused(stage: Stage) -> None:
    """2.x answers it (-1), so it is a refusal like another."""
    async with stage.station("CP-1", offers=("ocpp2.0.1",)) as station:
        await station.socket.send("{}")
        assert (await station.receive())[:2] == [4, "-1"]
        event = await stage.event(registry.STATION_REFUSED, "CP-1")
    assert (event.kind, event.action) == ("call", "")


async def test_the_same_refusal_is_told_once_a_minute_with_its_count(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """The first at once, the rest together; another reason is another kind."""
    stage = await start()
    refusals = stage.gateway.refusals
    seconds = 0.0
    refusals._clock = lambda: seconds
    async with stage.station("CP-1") as station:
        for _ in range(20):
            await station.call("StatusNotification", {})
        await station.call("ClearCache", {})
        await soon(lambda: len(list_published(stage)) == 2)
        seconds = 60.0
        refusals._publish_due()
    assert [(event.reason, event.count) for event in list_published(stage)] == [
        ("OccurenceConstraintViolation", 1),
        ("NotSupported", 1),
        ("OccurenceConstraintViolation", 20),
    ]


async def test_our_own_silence_is_no_refusal_of_the_station(
    start: Callable[..., Awaitable[Stage]],
) -> None:
    """InternalError and 503 say that we can't: an outage must not tell of each station."""
    stage = await start(answer_deadline_s=0.05, login_deadline_s=0.05)
    async with stage.station("CP-1") as station:
        stage.services.silent.add(registry.AUTHORIZE.name)
        assert (await station.call("Authorize", {"idTag": "A"}))[2] == "InternalError"
        stage.services.silent.add(registry.STATION_LOGIN.name)
        assert await wait_for_refused(stage, "CP-1") == 503
    assert list_published(stage) == []


async def test_the_gateway_lists_the_last_refused_logins(stage: Stage) -> None:
    """Where an operator finds the identity that a new station really uses; newest first."""
    await wait_for_refused(stage, "Schloß\u202e")
    await wait_for_refused(stage, "CP-9")
    body = (await get(stage, what="refusals")).json()
    assert [entry["station_id"] for entry in body["data"]] == ["CP-9", ""]
    assert body["data"][1]["path"] == "/ocpp/Schlo%C3%9F%E2%80%AE"
    assert "\u202e" not in json.dumps(body, ensure_ascii=False)
    assert (await get(stage, what="refusals", scopes="tokens:read")).status_code == 403

"""No id token and no password in a log, an event, a close reason or an error (design 8)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from websockets.exceptions import InvalidStatus

from gateway.stage import PASSWORD, Stage, basic, known_station
from voltbus_backbone.contract import registry

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

TOKEN = "SECRET-TOKEN-0042"
WRONG = "wrong-password-8765"
START = {
    "connectorId": 1,
    "idTag": TOKEN,
    "meterStart": 1,
    "timestamp": "2026-03-01T10:00:00Z",
}


async def test_nothing_readable_of_tokens_and_passwords_leaks(
    start: Callable[..., Awaitable[Stage]], caplog: pytest.LogCaptureFixture
) -> None:
    """Good and bad log-ins and calls; then every log line, frame, answer and event is read."""
    stage = await start(answer_deadline_s=0.1)
    stage.services.logins["CP-1"] = known_station()
    heard: list[str] = []
    caplog.set_level("DEBUG")
    with structlog.testing.capture_logs() as logs:
        for headers in (basic("CP-1", WRONG), basic(WRONG, PASSWORD)):
            with pytest.raises(InvalidStatus) as caught:
                await stage.socket("CP-1", headers=headers)
            heard.append(str(caught.value.response))
        async with stage.station("CP-1") as station:
            calls: list[tuple[str, Any]] = [
                ("Authorize", {"idTag": TOKEN}),
                ("Authorize", {"idTag": TOKEN, "x": TOKEN}),
                ("Authorize", {"idTag": [TOKEN]}),
                ("Authorize", {"idTag": TOKEN * 5}),
                (TOKEN, {"idTag": TOKEN}),
                ("StartTransaction", START),
                ("StartTransaction", START | {"timestamp": TOKEN}),
                ("StartTransaction", START | {"meterStart": TOKEN}),
                (
                    "StatusNotification",
                    {"connectorId": 1, "errorCode": TOKEN, "status": "Available"},
                ),
            ]
            for action, payload in calls:
                heard.append(json.dumps(await station.call(action, payload)))
            await station.socket.send('[2,"x","Authorize",{"idTag":"' + TOKEN)
            heard.append(json.dumps(await station.receive()))
            stage.services.silent |= {registry.AUTHORIZE.name, registry.TRANSACTION.name}
            for action, payload in calls[:1] + calls[5:6]:
                heard.append(json.dumps(await station.call(action, payload)))
            stage.bus.broken = True
            heard.append(json.dumps(await station.call("StartTransaction", START)))
            stage.bus.broken = False
            await station.socket.send(b"\xff" + TOKEN.encode(), text=True)
            heard.append(str(await station.wait_closed()))
    ours = [record for record in caplog.records if record.name != "websockets.client"]
    texts = [*heard, *(str(line) for line in logs), *(record.getMessage() for record in ours)]
    for place, log in stage.bus.logs.items():
        if not place[0].endswith((".requests", ".inbox")):
            texts += [str(record) for record in log]
    texts += [
        str(record.headers)
        for place, log in stage.bus.logs.items()
        if place[0].endswith(".requests")
        for record in log
    ]
    assert len(texts) > 20
    for text in texts:
        for secret in (TOKEN, PASSWORD, WRONG):
            assert secret not in text

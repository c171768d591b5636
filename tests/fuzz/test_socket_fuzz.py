"""The same over a real socket: it answers, or closes with a proper code, and others go on."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

import pytest
import pytest_asyncio
from websockets.exceptions import ConnectionClosed

from conformance.by_hand import open_by_hand
from fuzz.frames_made import GARBAGE, make
from operating import operating
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.by_hand import Raw
    from operating import Operator
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol as Version

pytestmark = pytest.mark.stack

MESSAGES = 120
PROPER = {1002, 1003, 1007, 1008, 1009}


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def operator(stack: Stack) -> AsyncIterator[Operator]:
    """The operator of the shared stack."""
    async with operating(stack) as operator:
        yield operator


async def survives(raw: Raw, message: str | bytes) -> bool:
    """Send it, then a heartbeat: whether that is answered; a close must have a proper code."""
    try:
        await raw.socket.send(message)
        await raw.send(2, "beat", "Heartbeat", {})
        while (await raw.frame())[:2] != [3, "beat"]:
            pass  # answers to what came before
    except ConnectionClosed as closed:
        if closed.rcvd is None or closed.rcvd.code not in PROPER:
            raise
        return False
    return True


@pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])
async def test_a_station_that_sends_anything(operator: Operator, protocol: Version) -> None:
    """A19: after any message the socket answers or is closed with a code; the next one works."""
    chance = random.Random(f"fuzz {protocol}")  # noqa: S311 - a fuzzer's dice
    name, password = await operator.station()
    raw = await open_by_hand(operator, protocol, name, password)
    await raw.boot()
    version = Protocol(f"ocpp{protocol}")
    messages = [*GARBAGE, *(make(version, chance) for _ in range(MESSAGES))]
    for message in messages:
        if not await survives(raw, message):
            raw = await open_by_hand(operator, protocol, name, password)
            await raw.boot()
    await raw.socket.close()
    assert (await operator.send("GET", "gateway", "/readyz")).status_code == 200
    log = operator.stack.log("gateway").read_text()
    broken = [line for line in log.splitlines() if "broke" in line and name in line]
    assert broken == [], json.dumps(broken)[:2000]

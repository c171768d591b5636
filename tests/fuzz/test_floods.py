"""Floods: whatever eight stations send, the others charge and the gateway's memory has a bound.

Design 4: a station that floods uses up its own budget, nobody else's (docs/adr/0013).
"""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import pytest_asyncio

from conformance.by_hand import open_by_hand
from fuzz.flooding import FLOODS, Flooder
from operating import operating
from voltbus.embedded.stack import temporary_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from conformance.by_hand import Raw
    from fuzz.flooding import Flood
    from operating import Operator

pytestmark = pytest.mark.stack

FLOODERS = 8
SECONDS = 3.0
PAUSE_S = 0.02
ENOUGH = 2000
# Far less than the budgets allow (docs/operations.md): eight stations hold no more than a message
# or two each, and one of them, parsed, takes some twenty times its bytes. Measured: at most 30.
BOUND = 100 * 1024 * 1024


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def operator() -> AsyncIterator[Operator]:
    """A stack of our own: its gateway's memory is what the floods made of it."""
    # Not the deadlines are tried here, and the machine may be busy with other tests.
    environment = {"gateway": {"VOLTBUS_ANSWER_DEADLINE_S": "60", "VOLTBUS_LOGIN_DEADLINE_S": "60"}}
    async with temporary_stack(environment=environment) as stack, operating(stack) as operator:
        yield operator


def resident(pid: int) -> int:
    """Bytes of a process that are in memory."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no VmRSS")


async def authorize_all_the_while(
    bystander: Raw, token: str, pid: int, flooders: list[Flooder]
) -> tuple[list[float], int]:
    """Seconds of each Authorize, and the most that the gateway took meanwhile."""
    until = time.monotonic() + SECONDS
    waits: list[float] = []
    most = resident(pid)
    while time.monotonic() < until or not all(flooder.sent for flooder in flooders):
        began = time.monotonic()
        answer = await bystander.call("Authorize", {"idTag": token})
        waits.append(time.monotonic() - began)
        assert answer[2]["idTagInfo"]["status"] == "Accepted"
        most = max(most, resident(pid))
        assert len(waits) < ENOUGH, "a station that cannot flood tries nothing"
        await asyncio.sleep(PAUSE_S)
    return waits, most


@pytest.mark.parametrize("flood", FLOODS, ids=lambda flood: flood.name)
async def test_a_flood_harms_nobody_else(operator: Operator, flood: Flood) -> None:
    """A bystander is answered and not closed, and the memory stays under its bound."""
    stack = operator.stack
    url = urlsplit(stack.ocpp())
    address = (str(url.hostname), url.port or 0)
    payload = flood.payload()
    pid = stack.pid("gateway")
    stations = [await operator.station() for _ in range(FLOODERS)]
    token, _ = await operator.token()
    bystander = await open_by_hand(operator, "1.6", *await operator.station())
    assert (await bystander.boot())[2]["status"] == "Accepted"
    before = resident(pid)
    flooders = [Flooder(flood, payload, address, station) for station in stations]
    try:
        for flooder in flooders:
            await asyncio.to_thread(flooder.log_in)
        for flooder in flooders:
            flooder.start()
        waits, most = await authorize_all_the_while(bystander, token, pid, flooders)
    finally:
        for flooder in flooders:
            await asyncio.to_thread(flooder.stop)
    waits.sort()
    print(  # noqa: T201 - the figures are for who looks at the run
        f"\n{flood.name}: {len(waits)} Authorize, p50 {waits[len(waits) // 2] * 1000:.0f} ms, "
        f"p99 {waits[len(waits) * 99 // 100] * 1000:.0f} ms, longest {waits[-1] * 1000:.0f} ms, "
        f"memory {before >> 20} -> {most >> 20} MiB, "
        f"{sum(flooder.sent for flooder in flooders) / 1e6:.1f} MB sent"
    )
    assert most - before < BOUND
    if flood.closes is not None and flood.reads:
        assert {flooder.close_code for flooder in flooders} == {flood.closes}
    assert (await bystander.call("Heartbeat", {}))[0] == 3
    await bystander.socket.close()
    assert (await operator.send("GET", "gateway", "/readyz")).status_code == 200
    log = stack.log("gateway").read_text()
    assert [line for line in log.splitlines() if "broke" in line or "kafka.away" in line] == []

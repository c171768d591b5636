"""How soon a station that comes back at another gateway is reached there, its old socket hanging.

A station is connected to one gateway and falls silent without closing. It connects to the other
gateway and boots; a command is given at once. Counted from the first byte of the new connection:
until its boot is answered there, and until the command comes there. (One that does not boot gets
commands ``VOLTBUS_SETTLE_S`` after its first word, so that none overtakes a boot.)

    python benchmarks/takeover.py
    python benchmarks/takeover.py --rounds 5 --no-record
"""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import TYPE_CHECKING

import orjson
import uvloop

from load import boot, open_station
from shared import measured, operator, parser, record, register_station
from voltbus.embedded.stack import Stack, temporary_stack

if TYPE_CHECKING:
    import argparse

    import httpx

NAME = "TAKEOVER-1"
SECOND = "gateway-2"
BOOT = {"chargePointVendor": "Load", "chargePointModel": "L1"}


async def round_trip(stack: Stack, client: httpx.AsyncClient, password: str) -> tuple[float, float]:
    """Milliseconds until its boot is answered at the second gateway and until a command comes."""
    old = await open_station(stack.ocpp(), NAME, password)
    await boot(old)
    old.transport.pause_reading()
    began = time.perf_counter()
    new = await open_station(stack.ocpp(SECOND), NAME, password)
    await new.send(orjson.dumps([2, "b", "BootNotification", BOOT]).decode())
    given = asyncio.create_task(
        client.post(
            f"{stack.http('config')}/v1/stations/{NAME}/commands",
            json={"action": "DataTransfer", "payload": {"vendorId": "bench"}},
        )
    )
    arrived: dict[int, float] = {}
    async with asyncio.timeout(60):
        while len(arrived) < 2:
            frame = orjson.loads(await new.recv())
            arrived.setdefault(frame[0], (time.perf_counter() - began) * 1000)
            if frame[0] == 2:
                await new.send(orjson.dumps([3, frame[1], {"status": "Accepted"}]).decode())
    (await given).raise_for_status()
    old.transport.abort()
    await new.close()
    return arrived[3], arrived[2]


async def run(arguments: argparse.Namespace) -> None:
    """Take over again and again."""
    async with temporary_stack() as stack:
        await stack.add_replica("gateway")
        async with operator(stack) as client:
            password = await register_station(client, stack, NAME)
            rounds = [await round_trip(stack, client, password) for _ in range(arguments.rounds)]
    answered = sorted(one for one, _ in rounds)
    reached = sorted(one for _, one in rounds)
    print(f"answered there after {statistics.median(answered):.0f} ms, at most {answered[-1]:.0f}")
    print(f"reached there after {statistics.median(reached):.0f} ms, at most {reached[-1]:.0f}")
    if not arguments.no_record:
        note = (
            f"rounds={arguments.rounds} answered_ms={statistics.median(answered):.0f} "
            f"answered_most_ms={answered[-1]:.0f} reached_ms={statistics.median(reached):.0f} "
            f"reached_most_ms={reached[-1]:.0f}"
        )
        record(measured("takeover", 1, note=note))


def main() -> None:
    """Parse and run."""
    options = parser(__doc__)
    options.add_argument("--rounds", type=int, default=20)
    uvloop.run(run(options.parse_args()))


if __name__ == "__main__":
    main()

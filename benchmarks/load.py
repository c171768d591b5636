"""Stations that ask Authorize as fast as they are answered: one call in flight each, as in OCPP.

Runs as its own process and prints one JSON line: calls, seconds, and latencies in milliseconds.

    python benchmarks/load.py --url ws://127.0.0.1:9000/ocpp --stations 100 --seconds 5 \
        --password-file passwords.json --tokens tokens.json
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import time
from pathlib import Path

import orjson
import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

CONNECT_AT_ONCE = 20


async def open_station(url: str, station: str, password: str) -> ClientConnection:
    """One socket, logged in."""
    basic = base64.b64encode(f"{station}:{password}".encode()).decode()
    return await connect(
        f"{url}/{station}",
        subprotocols=[Subprotocol("ocpp1.6")],
        additional_headers={"Authorization": f"Basic {basic}"},
        compression=None,
        open_timeout=60,
    )


async def boot(socket: ClientConnection) -> None:
    """A station registers before it asks (OCPP 1.6, 4.2)."""
    payload = {"chargePointVendor": "Load", "chargePointModel": "L1"}
    await socket.send(orjson.dumps([2, "boot", "BootNotification", payload]).decode())
    while True:
        answer = orjson.loads(await socket.recv())
        if answer[1] == "boot":
            if answer[0] != 3 or answer[2].get("status") not in {"Accepted", "Invalid", None}:
                raise SystemExit(f"the boot was not accepted: {answer[0]} {answer[2:3]}")
            return


async def ask(
    socket: ClientConnection, tokens: list[str], until: float, latencies: list[float]
) -> None:
    """Ask until it is time; a call under way is finished."""
    number = 0
    clock = time.perf_counter
    while clock() < until:
        number += 1
        token = tokens[number % len(tokens)]
        message_id = f"m{number}"
        began = clock()
        await socket.send(f'[2,"{message_id}","Authorize",{{"idTag":"{token}"}}]')
        answer = await socket.recv()
        latencies.append(clock() - began)
        if '"Accepted"' not in str(answer):
            raise SystemExit(f"a known token was not accepted: {str(answer)[:120]}")


async def run(arguments: argparse.Namespace) -> dict[str, float]:
    """Connect, warm up, measure."""
    passwords: dict[str, str] = arguments.passwords
    tokens: list[str] = arguments.token_values
    stations = list(passwords)[: arguments.stations]
    gate = asyncio.Semaphore(CONNECT_AT_ONCE)

    async def enter(station: str) -> ClientConnection:
        async with gate:
            socket = await open_station(arguments.url, station, passwords[station])
            await boot(socket)
            return socket

    sockets = await asyncio.gather(*(enter(station) for station in stations))
    warm: list[float] = []
    until = time.perf_counter() + arguments.warm_seconds
    await asyncio.gather(*(ask(socket, tokens, until, warm) for socket in sockets))
    latencies: list[float] = []
    began = time.perf_counter()
    until = began + arguments.seconds
    await asyncio.gather(*(ask(socket, tokens, until, latencies) for socket in sockets))
    took = time.perf_counter() - began
    await asyncio.gather(*(socket.close() for socket in sockets))
    latencies.sort()

    def at(share: float) -> float:
        return latencies[min(len(latencies) - 1, int(len(latencies) * share))] * 1000

    return {
        "calls": len(latencies),
        "seconds": took,
        "per_second": len(latencies) / took,
        "p50_ms": at(0.50),
        "p99_ms": at(0.99),
    }


def main() -> None:
    """Print one JSON line."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--url", required=True)
    parser.add_argument("--stations", type=int, required=True)
    parser.add_argument("--seconds", type=float, default=5.0)
    # Long enough for what follows a boot (settings, events) to be over on every station.
    parser.add_argument("--warm-seconds", type=float, default=4.0)
    parser.add_argument("--password-file", required=True)
    parser.add_argument("--tokens", required=True)
    arguments = parser.parse_args()
    arguments.passwords = json.loads(Path(arguments.password_file).read_text())
    arguments.token_values = json.loads(Path(arguments.tokens).read_text())
    print(json.dumps(uvloop.run(run(arguments))))


if __name__ == "__main__":
    main()

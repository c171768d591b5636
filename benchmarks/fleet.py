"""A fleet of idle stations in one process, told by lines on standard input what to do.

Prints one JSON line for each: ``connect`` (all in), ``drop N`` (N lose their TCP connection at the
same moment and come back with the backoff of real stations), ``quit``.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import random
import sys
import time
from pathlib import Path

import uvloop
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

FIRST_WAIT_S = 1.0
LONGEST_WAIT_S = 8.0


class Fleet:
    """Stations by name, each with its socket."""

    def __init__(self, url: str, passwords: dict[str, str], pace: int) -> None:
        self._url = url
        self._passwords = passwords
        self._sockets: dict[str, ClientConnection] = {}
        self._gate = asyncio.Semaphore(pace)
        self._random = random.Random(7)  # noqa: S311 - jitter, no secret
        self.refused = 0

    async def enter(self, name: str) -> None:
        """Connect, and again after a growing pause while refused."""
        wait = FIRST_WAIT_S
        basic = base64.b64encode(f"{name}:{self._passwords[name]}".encode()).decode()
        while True:
            try:
                async with self._gate:
                    self._sockets[name] = await connect(
                        f"{self._url}/{name}",
                        subprotocols=[Subprotocol("ocpp1.6")],
                        additional_headers={"Authorization": f"Basic {basic}"},
                        compression=None,
                        ping_interval=None,
                        open_timeout=120,
                    )
            except (InvalidStatus, WebSocketException, OSError, TimeoutError):
                self.refused += 1
                await asyncio.sleep(wait * self._random.uniform(0.5, 1.5))
                wait = min(wait * 2, LONGEST_WAIT_S)
            else:
                return

    async def connect_all(self) -> dict[str, float]:
        """Everyone in."""
        began = time.perf_counter()
        await asyncio.gather(*(self.enter(name) for name in self._passwords))
        return {"connected": len(self._sockets), "seconds": time.perf_counter() - began}

    async def drop(self, count: int) -> dict[str, float]:
        """Cut ``count`` at once; the time until each is in again."""
        names = list(self._sockets)[:count]
        self.refused = 0
        self._gate = asyncio.Semaphore(count)
        for name in names:
            self._sockets.pop(name).transport.abort()
        began = time.perf_counter()
        back: list[float] = []

        async def again(name: str) -> None:
            await self.enter(name)
            back.append(time.perf_counter() - began)

        await asyncio.gather(*(again(name) for name in names))
        back.sort()
        return {
            "dropped": count,
            "half_back_s": back[len(back) // 2],
            "all_back_s": back[-1],
            "refused": self.refused,
        }


async def run(arguments: argparse.Namespace, passwords: dict[str, str]) -> None:
    """Follow standard input."""
    fleet = Fleet(arguments.url, passwords, arguments.pace)
    loop = asyncio.get_running_loop()
    while True:
        words = (await loop.run_in_executor(None, sys.stdin.readline)).split()
        if not words or words[0] == "quit":
            return
        result = await (fleet.connect_all() if words[0] == "connect" else fleet.drop(int(words[1])))
        print(json.dumps(result), flush=True)


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--url", required=True)
    parser.add_argument("--passwords", required=True)
    parser.add_argument("--pace", type=int, default=100, help="connections opened side by side")
    arguments = parser.parse_args()
    passwords: dict[str, str] = json.loads(Path(arguments.passwords).read_text())
    uvloop.run(run(arguments, passwords))


if __name__ == "__main__":
    main()

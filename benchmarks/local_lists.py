"""Local authorization lists of a fleet: how soon all stations hold them, and hold a change.

Stations of OCPP 1.6 with one plan for their group. Counted: from the plan until every station has
acknowledged the whole list, and from blocking one token until every station has taken it off.

    python benchmarks/local_lists.py
    python benchmarks/local_lists.py --stations 50 --tokens 100 --no-record
"""

from __future__ import annotations

import argparse
import asyncio
import secrets
import time
from typing import TYPE_CHECKING, Any

import httpx
import orjson
import uvloop
from rich.console import Console
from rich.progress import Progress

from authorize import record_row, register_station
from load import boot, open_station
from voltbus.embedded.stack import Stack, temporary_stack

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

GROUP = "bench"
LIMITS = {"LocalAuthListMaxLength": "10000", "SendLocalListMaxLength": "500"}
AT_ONCE = 20
DEADLINE_S = 1800


class Holder:
    """A station that holds a list, and does as it is told."""

    def __init__(self, socket: ClientConnection, changed: asyncio.Event) -> None:
        self._socket = socket
        self._changed = changed
        self._version = 0
        self.tags: set[str] = set()
        self.messages = 0

    async def serve(self) -> None:
        """Answer calls until the socket closes."""
        async for text in self._socket:
            frame = orjson.loads(text)
            if frame[0] == 2:
                answer = self._answer(frame[2], frame[3])
                await self._socket.send(orjson.dumps([3, frame[1], answer]).decode())

    def _answer(self, action: str, payload: dict[str, Any]) -> dict[str, Any]:
        if action == "GetConfiguration":
            rows = [
                {"key": key, "readonly": True, "value": value}
                for key, value in LIMITS.items()
                if key in payload.get("key", [])
            ]
            unknown = [key for key in payload.get("key", []) if key not in LIMITS]
            return {"configurationKey": rows, "unknownKey": unknown}
        if action == "GetLocalListVersion":
            return {"listVersion": self._version}
        if action == "SendLocalList":
            self._take(payload)
            return {"status": "Accepted"}
        return {"status": "Rejected"}

    def _take(self, update: dict[str, Any]) -> None:
        self.messages += 1
        self._version = update["listVersion"]
        if update["updateType"] == "Full":
            self.tags = set()
        for line in update.get("localAuthorizationList", []):
            if "idTagInfo" in line:
                self.tags.add(line["idTag"])
            else:
                self.tags.discard(line["idTag"])
        self._changed.set()


async def until(holders: list[Holder], changed: asyncio.Event, wanted: int, name: str) -> float:
    """Seconds until every station holds so many entries."""
    began = time.perf_counter()
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=len(holders))
        async with asyncio.timeout(DEADLINE_S):
            while (done := sum(len(one.tags) == wanted for one in holders)) < len(holders):
                progress.update(task, completed=done)
                changed.clear()
                await changed.wait()
    return time.perf_counter() - began


async def enter(
    stack: Stack, client: httpx.AsyncClient, count: int, changed: asyncio.Event
) -> list[Holder]:
    """Stations of the group, registered, connected and booted."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str) -> Holder:
        async with gate:
            password = await register_station(client, stack, name)
            answer = await client.patch(
                f"{stack.http('config')}/v1/stations/{name}",
                json={"group_id": GROUP},
                headers={"If-Match": "*"},
            )
            answer.raise_for_status()
            socket = await open_station(stack.ocpp(), name, password)
            await boot(socket)
        return Holder(socket, changed)

    return await asyncio.gather(*(one(f"LIST-{number:05d}") for number in range(count)))


async def give_tokens(stack: Stack, client: httpx.AsyncClient, count: int) -> None:
    """Tokens that belong on the list."""
    lines = [
        orjson.dumps(
            {
                "id_token": f"{number:04d}{secrets.token_hex(5)}".upper(),
                "type": "ISO14443",
                "group_id": GROUP,
            }
        )
        for number in range(count)
    ]
    answer = await client.post(
        f"{stack.http('auth')}/v1/tokens/import",
        content=b"\n".join(lines),
        headers={"Content-Type": "application/x-ndjson"},
    )
    answer.raise_for_status()


async def block_one(stack: Stack, client: httpx.AsyncClient) -> None:
    """Block one of the tokens."""
    url = f"{stack.http('auth')}/v1/tokens"
    found = (await client.get(url, params={"limit": 1})).raise_for_status().json()["data"][0]
    answer = await client.patch(
        f"{url}/{found['ref']}", json={"status": "blocked"}, headers={"If-Match": "*"}
    )
    answer.raise_for_status()


async def run(arguments: argparse.Namespace) -> None:
    """Fill, wait, block, wait."""
    stations, tokens = arguments.stations, arguments.tokens
    changed = asyncio.Event()
    async with temporary_stack() as stack:
        headers = {"Authorization": f"Bearer {stack.operator_token()}"}
        async with httpx.AsyncClient(headers=headers, timeout=300) as client:
            await give_tokens(stack, client, tokens)
            holders = await enter(stack, client, stations, changed)
            serving = [asyncio.create_task(one.serve()) for one in holders]
            plan = await client.put(
                f"{stack.http('auth')}/v1/local-lists/groups/{GROUP}",
                json={"token_groups": [GROUP]},
            )
            plan.raise_for_status()
            filled = await until(holders, changed, tokens, "Filling")
            messages = sum(one.messages for one in holders)
            await block_one(stack, client)
            taken_off = await until(holders, changed, tokens - 1, "Taking one off")
            for task in serving:
                task.cancel()
            await asyncio.wait(serving)
    print(
        f"{stations} stations hold {tokens} tokens after {filled:.1f} s ({messages} messages), "
        f"and a blocked one is off after {taken_off:.1f} s"
    )
    if not arguments.no_record:
        note = f"tokens={tokens} filled_s={filled:.1f} messages={messages} off_s={taken_off:.1f}"
        record_row({"benchmark": "local_lists", "stations": stations, "note": note})


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stations", type=int, default=500)
    parser.add_argument("--tokens", type=int, default=1000)
    parser.add_argument("--no-record", action="store_true", help="do not touch results.csv")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()

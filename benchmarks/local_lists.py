"""Local authorization lists of a fleet: how soon all stations hold them, and hold a change.

Simulated stations of OCPP 1.6 with one plan for their group. Counted: from the plan until every
station holds the whole list, and from blocking one token until every station has taken it off.

    python benchmarks/local_lists.py
    python benchmarks/local_lists.py --stations 50 --tokens 100 --no-record
"""

from __future__ import annotations

import asyncio
import secrets
import time
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import orjson
import uvloop
from rich.console import Console
from rich.progress import Progress

from shared import import_tokens, measured, operator, parser, record, register_stations
from voltbus.embedded.stack import Stack, temporary_stack
from voltbus.simulator import Options, Station16, make_station

if TYPE_CHECKING:
    import argparse

    import httpx

GROUP = "bench"
LIMITS = {"LocalAuthListMaxLength": "10000", "SendLocalListMaxLength": "500"}
AT_ONCE = 20
DEADLINE_S = 1800


async def enter(stack: Stack, exits: AsyncExitStack, passwords: dict[str, str]) -> list[Station16]:
    """The stations, connected and booted, with room for long lists."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(name: str, password: str) -> Station16:
        async with gate:
            station = await exits.enter_async_context(make_station("1.6", Options(validate=False)))
            assert isinstance(station, Station16)  # noqa: S101 - of that version
            for key, value in LIMITS.items():
                station.configuration.keys[key].value = value
            await station.connect(stack.ocpp(), name, password)
            await station.boot()
        return station

    return await asyncio.gather(*(one(*each) for each in passwords.items()))


async def hold(stations: list[Station16], count: int, name: str) -> float:
    """Seconds until every station holds so many entries."""
    began = time.perf_counter()
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=len(stations))

        async def one(station: Station16) -> None:
            await station.wait_until(lambda: len(station.local_list.entries) == count, DEADLINE_S)
            progress.advance(task)

        await asyncio.gather(*map(one, stations))
    return time.perf_counter() - began


async def plan(stack: Stack, client: httpx.AsyncClient) -> None:
    """The tokens of the group belong on the lists of the group's stations."""
    answer = await client.put(
        f"{stack.http('auth')}/v1/local-lists/groups/{GROUP}", json={"token_groups": [GROUP]}
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
    count = arguments.tokens
    names = [f"LIST-{number:05d}" for number in range(arguments.stations)]
    tokens = [
        {"id_token": f"{number:04d}{secrets.token_hex(5)}".upper(), "group_id": GROUP}
        for number in range(count)
    ]
    async with temporary_stack() as stack, operator(stack) as client, AsyncExitStack() as exits:
        await import_tokens(client, stack, map(orjson.dumps, tokens))
        passwords = await register_stations(client, stack, names, group_id=GROUP)
        stations = await enter(stack, exits, passwords)
        await plan(stack, client)
        filled = await hold(stations, count, "Filling")
        messages = sum(
            action == "SendLocalList" for station in stations for action, _ in station.received
        )
        await block_one(stack, client)
        taken_off = await hold(stations, count - 1, "Taking one off")
    print(
        f"{len(names)} stations hold {count} tokens after {filled:.1f} s ({messages} messages), "
        f"and a blocked one is off after {taken_off:.1f} s"
    )
    if not arguments.no_record:
        note = f"tokens={count} filled_s={filled:.1f} messages={messages} off_s={taken_off:.1f}"
        record(measured("local_lists", len(names), note=note))


def main() -> None:
    """Parse and run."""
    options = parser(__doc__)
    options.add_argument("--stations", type=int, default=500)
    options.add_argument("--tokens", type=int, default=1000)
    uvloop.run(run(options.parse_args()))


if __name__ == "__main__":
    main()

"""How much of MongoDB's and Kafka's disks a charging session takes.

Simulated stations charge one session after another; weighed before and after: what each service's
database takes (documents and indexes, as MongoDB stores them), and what each topic takes, in one
copy. A session is Authorize, start, the meter values, stop, and the connector's states.

    python benchmarks/disk.py
    python benchmarks/disk.py --stations 20 --sessions 2 --meter-values 4 --no-record
"""

from __future__ import annotations

import asyncio
import itertools
import json
import tempfile
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from motor.motor_asyncio import AsyncIOMotorClient
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from authorize import register
from shared import DATABASES, measured, parser, record, told
from voltbus.embedded.stack import Stack, temporary_stack
from voltbus.simulator import Options, Surroundings, make_station
from voltbus.simulator.lapse import Lapse, lasting
from voltbus.simulator.visit import Visitor, Wish

if TYPE_CHECKING:
    import argparse

    from voltbus.simulator import Protocol

AT_ONCE = 50
CHARGE_WH = 5_500
POWER_W = 11_000


class Chapter(Lapse):
    """One session's part of a clock that tells many sessions, one after another."""

    def __init__(self, told: Lapse, number: int, count: int) -> None:
        super().__init__(timedelta(0))
        self._told, self._number, self._count = told, number, count

    def reach(self, part: float) -> None:
        """Move the common clock on."""
        self._told.reach((self._number + part) / self._count)


async def charge(
    stack: Stack, name: str, password: str, wishes: list[Wish], protocol: Protocol
) -> None:
    """One station connects, boots, and charges one session after another."""
    whole = sum((lasting(wish.charge_wh, wish.power_w) for wish in wishes), timedelta(0))
    clock = Lapse(whole)
    async with make_station(
        protocol, Options(serial=name[-25:]), Surroundings(now=clock)
    ) as station:
        await station.connect(stack.ocpp(), name, password)
        await station.boot()
        for number, wish in enumerate(wishes):
            chapter = Chapter(clock, number, len(wishes))
            visitor = Visitor(station, wish, lambda _: None, chapter)
            if await visitor.authorize():
                await visitor.charge()
            if not visitor.visit.charged:
                raise SystemExit(f"{name} may not charge: {visitor.visit.status}")


async def charge_all(
    stack: Stack, passwords: dict[str, str], tokens: list[str], arguments: argparse.Namespace
) -> None:
    """Every station its sessions, some stations side by side."""
    gate = asyncio.Semaphore(AT_ONCE)
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task("Charging", total=len(passwords))

        async def one(name: str, id_token: str) -> None:
            wishes = [
                Wish(
                    id_token,
                    charge_wh=CHARGE_WH,
                    power_w=POWER_W,
                    meter_values=arguments.meter_values,
                    begin_wh=number * CHARGE_WH,
                )
                for number in range(arguments.sessions)
            ]
            async with gate:
                await charge(stack, name, passwords[name], wishes, arguments.protocol)
            progress.advance(task)

        await asyncio.gather(*map(one, passwords, itertools.cycle(tokens)))


async def settled(client: AsyncIOMotorClient[dict[str, Any]], stack: Stack, ended: int) -> None:
    """Until so many sessions are recorded as ended, every event has left, and all is on disk."""
    transactions = client[stack.database("auth")]["transactions"]
    async with asyncio.timeout(600):
        while await transactions.count_documents({"state": "ended"}) < ended:  # noqa: ASYNC110 - other processes work: there is no event to await
            await asyncio.sleep(1)
        await told(stack)
        await asyncio.sleep(5)  # what is written behind the answers: decisions, usage
    await client.admin.command("fsync")


async def weigh(client: AsyncIOMotorClient[dict[str, Any]], stack: Stack) -> Counter[str]:
    """Bytes by name: of each service's database as MongoDB stores it, and of each topic."""
    found: Counter[str] = Counter()
    for service in DATABASES:
        stats = await client[stack.database(service)].command("dbStats")
        found[f"MongoDB {service}"] = int(stats["storageSize"] + stats["indexSize"])
    for segment in (stack.home.path / "kafka" / "data").glob("*/*.log"):
        topic = segment.parent.name.rpartition("-")[0]
        if topic.startswith(stack.topic_prefix):
            name = topic.removeprefix(stack.topic_prefix)
            found[f"Kafka {name}"] += segment.stat().st_size
    return found


async def run(arguments: argparse.Namespace) -> None:
    """Weigh, charge, weigh."""
    sessions = arguments.stations * arguments.sessions
    with tempfile.TemporaryDirectory() as folder:
        async with temporary_stack() as stack:
            client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(stack.mongo_uri())
            password_file, _, tokens = await register(stack, arguments.stations, Path(folder))
            passwords: dict[str, str] = json.loads(password_file.read_text())
            await settled(client, stack, 0)
            before = await weigh(client, stack)
            await charge_all(stack, passwords, tokens, arguments)
            await settled(client, stack, sessions)
            taken = await weigh(client, stack) - before
            client.close()
    table = Table(title=f"Disk for each of {sessions} sessions, OCPP {arguments.protocol}")
    table.add_column("where")
    table.add_column("bytes", justify="right")
    for name, size in sorted(taken.items()):
        table.add_row(name, f"{size / sessions:,.0f}")
    Console().print(table)
    if not arguments.no_record:
        mongo, kafka = (
            sum(size for name, size in taken.items() if name.startswith(server)) / sessions
            for server in ("MongoDB", "Kafka")
        )
        note = (
            f"protocol={arguments.protocol} sessions={sessions} "
            f"meter_values={arguments.meter_values} mongodb_bytes_per_session={mongo:.0f} "
            f"kafka_bytes_per_session={kafka:.0f}"
        )
        record(measured("disk", arguments.stations, note=note))


def main() -> None:
    """Parse and run."""
    options = parser(__doc__)
    options.add_argument("--protocol", choices=("1.6", "2.0.1", "2.1"), default="2.0.1")
    options.add_argument("--stations", type=int, default=200)
    options.add_argument("--sessions", type=int, default=20, help="of each station")
    options.add_argument("--meter-values", type=int, default=10, help="in each session")
    uvloop.run(run(options.parse_args()))


if __name__ == "__main__":
    main()

"""Authorize, end to end: Voltbus beside the bare pipe of the same parts, in one run.

Starts the embedded stack on free ports, registers stations and tokens over REST, then measures
each number of stations on the floor and on Voltbus in turn, several times, and appends the rows to
benchmarks/results.csv. Compare the ratio only: machines and neighbours differ, and change within a
run; the note has the ratio of each round.

    make bench
    python benchmarks/authorize.py --stations 1,100 --rounds 1 --no-record
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from motor.motor_asyncio import AsyncIOMotorClient
from rich.console import Console
from rich.table import Table

from shared import HERE, import_tokens, measured, operator, parser, record, register_stations
from voltbus.embedded.ports import free_ports
from voltbus.embedded.stack import Stack, temporary_stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator

TOKENS = 1000
PARTITIONS = 6


@dataclass(frozen=True)
class Targets:
    """Where to send the load, and with which names."""

    floor: str
    voltbus: str
    passwords: Path
    tokens: Path


async def register(stack: Stack, stations: int, folder: Path) -> tuple[Path, Path, list[str]]:
    """Stations and tokens over REST, as an operator would."""
    tokens = [f"{index:04d}{secrets.token_hex(5)}".upper() for index in range(TOKENS)]
    names = [f"LOAD-{index}" for index in range(stations)]
    async with operator(stack) as client:
        passwords = await register_stations(client, stack, names)
        await import_tokens(
            client, stack, (b'{"id_token":"%b","type":"ISO14443"}' % one.encode() for one in tokens)
        )
    password_file, token_file = folder / "passwords.json", folder / "tokens.json"
    password_file.write_text(json.dumps(passwords))
    token_file.write_text(json.dumps(tokens))
    return password_file, token_file, tokens


@contextlib.asynccontextmanager
async def floor(stack: Stack, values: list[str]) -> AsyncIterator[str]:
    """The bare pipe on the same Kafka and MongoDB."""
    admin = AIOKafkaAdminClient(bootstrap_servers=stack.kafka)
    await admin.start()
    await admin.create_topics(
        [NewTopic("floor.requests", PARTITIONS, 1), NewTopic("floor.replies", 1, 1)]
    )
    await admin.close()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(stack.mongo_uri())
    await client["floor"]["tokens"].insert_many(
        [{"_id": token, "status": "accepted"} for token in values]
    )
    client.close()
    port = free_ports(1)[0]
    script = [sys.executable, str(HERE / "floor.py")]
    started = [
        await asyncio.create_subprocess_exec(*script, *arguments)
        for arguments in (
            ["gateway", "--kafka", stack.kafka, "--port", str(port)],
            ["service", "--kafka", stack.kafka, "--mongo", stack.mongo_uri()],
        )
    ]
    try:
        await listening(port)
        yield f"ws://127.0.0.1:{port}"
    finally:
        for process in started:
            process.send_signal(signal.SIGTERM)
        await asyncio.gather(*(process.wait() for process in started))


async def listening(port: int) -> None:
    """Until the floor's gateway accepts."""
    async with asyncio.timeout(60):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


async def measure(url: str, targets: Targets, stations: int, seconds: float) -> dict[str, float]:
    """One load run in a process of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(HERE / "load.py"),
        "--url",
        url,
        "--stations",
        str(stations),
        "--seconds",
        str(seconds),
        "--password-file",
        str(targets.passwords),
        "--tokens",
        str(targets.tokens),
        stdout=subprocess.PIPE,
    )
    output, _ = await process.communicate()
    if process.returncode != 0:
        raise SystemExit(f"the load on {stations} stations failed")
    result: dict[str, float] = json.loads(output)
    return result


@dataclass(frozen=True)
class Rounds:
    """The bare pipe and Voltbus in turn: `load.py`'s figures of each round."""

    bare: list[dict[str, float]]
    ours: list[dict[str, float]]

    @property
    def ratio(self) -> float:
        """Voltbus's calls per second over the pipe's, all rounds together."""
        return self.mean("per_second") / self.mean("per_second", of_floor=True)

    def mean(self, name: str, *, of_floor: bool = False) -> float:
        """The mean of one figure."""
        return statistics.fmean(one[name] for one in (self.bare if of_floor else self.ours))

    def note(self) -> str:
        """The ratio of each round, for how much they differ."""
        pairs = zip(self.ours, self.bare, strict=True)
        ratios = [f"{ours['per_second'] / bare['per_second']:.2f}" for ours, bare in pairs]
        return f"rounds={len(ratios)} ratios={'/'.join(ratios)}"


async def measure_in_turn(targets: Targets, stations: int, seconds: float, count: int) -> Rounds:
    """So many rounds, each first on the floor: both see the same weather."""
    rounds = Rounds([], [])
    for _ in range(count):
        rounds.bare.append(await measure(targets.floor, targets, stations, seconds))
        rounds.ours.append(await measure(targets.voltbus, targets, stations, seconds))
    return rounds


def row(stations: int, rounds: Rounds) -> dict[str, Any]:
    """One line of results.csv: means over the rounds."""
    return measured(
        "authorize",
        stations,
        per_second=round(rounds.mean("per_second")),
        p50_ms=round(rounds.mean("p50_ms"), 2),
        p99_ms=round(rounds.mean("p99_ms"), 2),
        floor_per_second=round(rounds.mean("per_second", of_floor=True)),
        floor_p50_ms=round(rounds.mean("p50_ms", of_floor=True), 2),
        floor_p99_ms=round(rounds.mean("p99_ms", of_floor=True), 2),
        ratio=round(rounds.ratio, 3),
        note=rounds.note(),
    )


def show(rows: list[dict[str, Any]]) -> None:
    """The table a person reads."""
    table = Table(title="Authorize: Voltbus beside the bare pipe, same run")
    for name in ("stations", "per second", "p50 ms", "p99 ms", "floor/s", "floor p50", "ratio"):
        table.add_column(name, justify="right")
    for item in rows:
        names = ("stations", "per_second", "p50_ms", "p99_ms", "floor_per_second", "floor_p50_ms")
        table.add_row(*(str(item[name]) for name in names), f"{item['ratio']:.2f}")
    Console().print(table)


async def run(arguments: argparse.Namespace) -> None:
    """Measure each number of stations on both."""
    counts = [int(count) for count in arguments.stations.split(",")]
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        async with temporary_stack(partitions=PARTITIONS) as stack:
            passwords, tokens, values = await register(stack, max(counts), Path(folder))
            async with floor(stack, values) as floor_url:
                targets = Targets(floor_url, stack.ocpp(), passwords, tokens)
                for count in counts:
                    rounds = await measure_in_turn(
                        targets, count, arguments.seconds, arguments.rounds
                    )
                    rows.append(row(count, rounds))
                    print(f"{count} stations done", file=sys.stderr)
    show(rows)
    if not arguments.no_record:
        record(*rows)


def main() -> None:
    """Parse and run."""
    options = parser(__doc__)
    options.add_argument("--stations", default="1,10,100,500", help="numbers, comma separated")
    options.add_argument("--seconds", type=float, default=4.0, help="per measurement")
    options.add_argument("--rounds", type=int, default=5, help="on each, in turn")
    uvloop.run(run(options.parse_args()))


if __name__ == "__main__":
    main()

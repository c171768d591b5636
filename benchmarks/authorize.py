"""Authorize, end to end: Voltbus beside the bare pipe of the same parts, in one run.

Starts the embedded stack on free ports, registers stations and tokens over REST, then measures
each number of stations on the floor and on Voltbus in turn, several times, and appends the rows to
benchmarks/results.csv. Compare the ratio only: machines and neighbours differ, and change within a
run; the note has the ratio of each round.

    make bench
    python benchmarks/authorize.py --stations 1,100 --rounds 1 --no-record
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import csv
import json
import os
import platform
import secrets
import signal
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import uvloop
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from motor.motor_asyncio import AsyncIOMotorClient
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from voltbus.embedded.ports import free_ports
from voltbus.embedded.stack import Stack, temporary_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
TOKENS = 1000
PARTITIONS = 6
COLUMNS = (
    "at",
    "commit",
    "machine",
    "benchmark",
    "stations",
    "per_second",
    "p50_ms",
    "p99_ms",
    "floor_per_second",
    "floor_p50_ms",
    "floor_p99_ms",
    "ratio",
    "note",
)


@dataclass(frozen=True)
class Targets:
    """Where to send the load, and with which names."""

    floor: str
    voltbus: str
    passwords: Path
    tokens: Path


async def register_station(client: httpx.AsyncClient, stack: Stack, name: str) -> str:
    """Register one station; its password."""
    made = await client.post(f"{stack.http('config')}/v1/stations", json={"id": name})
    made.raise_for_status()
    answer = await client.put(
        f"{stack.http('auth')}/v1/stations/{name}/credentials", json={"security_profile": 1}
    )
    answer.raise_for_status()
    password: str = answer.json()["password"]
    return password


async def register(stack: Stack, stations: int, folder: Path) -> tuple[Path, Path, list[str]]:
    """Stations and tokens over REST, as an operator would."""
    headers = {"Authorization": f"Bearer {stack.operator_token()}"}
    passwords: dict[str, str] = {}
    tokens = [f"{index:04d}{secrets.token_hex(5)}".upper() for index in range(TOKENS)]
    limits = httpx.Limits(max_connections=20)
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task("Registering", total=stations + TOKENS)
        async with httpx.AsyncClient(headers=headers, timeout=60, limits=limits) as client:
            gate = asyncio.Semaphore(20)

            async def station(name: str) -> None:
                async with gate:
                    passwords[name] = await register_station(client, stack, name)
                    progress.advance(task)

            async def token(value: str) -> None:
                async with gate:
                    answer = await client.post(
                        f"{stack.http('auth')}/v1/tokens",
                        json={"id_token": value, "type": "ISO14443", "status": "accepted"},
                    )
                    answer.raise_for_status()
                    progress.advance(task)

            await asyncio.gather(*(station(f"LOAD-{index}") for index in range(stations)))
            await asyncio.gather(*(token(value) for value in tokens))
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


def commit() -> str:
    """The commit that was measured, with a plus when the tree was changed."""

    def git(*words: str) -> str:
        return subprocess.run(
            ["git", "-C", str(HERE), *words],
            capture_output=True,
            text=True,
            check=False,
        ).stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain") else "")


def machine() -> str:
    """Cores, processor family and Python."""
    return f"{os.cpu_count()} cores {platform.machine()} Python {platform.python_version()}"


def record(rows: list[dict[str, Any]]) -> None:
    """Append to results.csv."""
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)


def record_row(fields: dict[str, Any]) -> None:
    """Append one row of another benchmark: what it does not name is left empty."""
    stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    record([{"at": stamp, "commit": commit(), "machine": machine(), **fields}])


def row(stations: int, rounds: Rounds) -> dict[str, Any]:
    """One line of results.csv: means over the rounds."""
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit(),
        "machine": machine(),
        "benchmark": "authorize",
        "stations": stations,
        "per_second": round(rounds.mean("per_second")),
        "p50_ms": round(rounds.mean("p50_ms"), 2),
        "p99_ms": round(rounds.mean("p99_ms"), 2),
        "floor_per_second": round(rounds.mean("per_second", of_floor=True)),
        "floor_p50_ms": round(rounds.mean("p50_ms", of_floor=True), 2),
        "floor_p99_ms": round(rounds.mean("p99_ms", of_floor=True), 2),
        "ratio": round(rounds.ratio, 3),
        "note": rounds.note(),
    }


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
        record(rows)
        print(f"appended {len(rows)} rows to {RESULTS}")


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stations", default="1,10,100,500", help="numbers, comma separated")
    parser.add_argument("--seconds", type=float, default=4.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5, help="on each, in turn")
    parser.add_argument("--no-record", action="store_true", help="do not touch results.csv")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()

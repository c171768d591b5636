"""What the benchmarks have in common: an operator's REST calls, and the rows of results.csv."""

from __future__ import annotations

import argparse
import asyncio
import csv
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from motor.motor_asyncio import AsyncIOMotorClient
from rich.console import Console
from rich.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voltbus.embedded.stack import Stack

HERE = Path(__file__).parent
RESULTS = HERE / "results.csv"
DATABASES = ("auth", "config", "agreements")
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
_AT_ONCE = 20
_LONGEST_S = 3600  # an import of a large file, its events, on a busy machine


def parser(description: str | None) -> argparse.ArgumentParser:
    """A benchmark's command line, described by its module."""
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    made.add_argument("--no-record", action="store_true", help="do not touch results.csv")
    return made


# What an operator does.


def operator(stack: Stack) -> httpx.AsyncClient:
    """Every right at every service."""
    headers = {"Authorization": f"Bearer {stack.operator_token()}"}
    return httpx.AsyncClient(headers=headers, timeout=_LONGEST_S)


async def register_station(
    client: httpx.AsyncClient, stack: Stack, name: str, **fields: Any
) -> str:
    """Register one station; its password."""
    made = await client.post(f"{stack.http('config')}/v1/stations", json={"id": name, **fields})
    made.raise_for_status()
    answer = await client.put(
        f"{stack.http('auth')}/v1/stations/{name}/credentials", json={"security_profile": 1}
    )
    answer.raise_for_status()
    password: str = answer.json()["password"]
    return password


async def register_stations(
    client: httpx.AsyncClient, stack: Stack, names: Sequence[str], **fields: Any
) -> dict[str, str]:
    """Register many; their passwords by name."""
    gate = asyncio.Semaphore(_AT_ONCE)
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task("Registering", total=len(names))

        async def one(name: str) -> str:
            async with gate:
                password = await register_station(client, stack, name, **fields)
            progress.advance(task)
            return password

        passwords = await asyncio.gather(*map(one, names))
    return dict(zip(names, passwords, strict=True))


async def import_tokens(client: httpx.AsyncClient, stack: Stack, lines: Iterable[bytes]) -> None:
    """One file of tokens, NDJSON."""
    answer = await client.post(
        f"{stack.http('auth')}/v1/tokens/import",
        content=b"\n".join(lines),
        headers={"Content-Type": "application/x-ndjson"},
    )
    answer.raise_for_status()


async def told(stack: Stack) -> None:
    """Until every event of what was done is in Kafka: that is work of its own."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(stack.mongo_uri())
    async with asyncio.timeout(_LONGEST_S):
        for service in DATABASES:
            outbox = client[stack.database(service)]["outbox"]
            while await outbox.count_documents({}, limit=1):  # noqa: ASYNC110 - another process empties it: there is no event to await
                await asyncio.sleep(1)
    client.close()


# What is recorded.


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


def measured(benchmark: str, stations: int, **columns: Any) -> dict[str, Any]:
    """A row of results.csv, measured now; what is not named is left empty."""
    return {
        "at": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "commit": commit(),
        "machine": machine(),
        "benchmark": benchmark,
        "stations": stations,
        **columns,
    }


def record(*rows: dict[str, Any]) -> None:
    """Append to results.csv."""
    new = not RESULTS.exists()
    with RESULTS.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerows(rows)
    print(f"appended {len(rows)} rows to {RESULTS}")

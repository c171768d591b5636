"""Authorize with few tokens and with a million in the store: the same stack, the same run.

The stations ask for the same thousand tokens each time. In between, the store is filled over the
REST import, as an operator would. Each is measured in turn with the bare pipe, because machines and
neighbours change meanwhile; the row has Voltbus's share of the pipe before and after.

    python benchmarks/tokens.py
    python benchmarks/tokens.py --tokens 100000 --stations 100 --no-record
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import uvloop
from motor.motor_asyncio import AsyncIOMotorClient
from rich.console import Console
from rich.progress import Progress

from authorize import PARTITIONS, Targets, floor, measure_in_turn, record_row, register
from voltbus.embedded.stack import Stack, temporary_stack

if TYPE_CHECKING:
    from collections.abc import Iterator

FILE = 50_000  # tokens in one import


def lines(first: int, count: int) -> Iterator[bytes]:
    """NDJSON of tokens that no station asks for."""
    for number in range(first, first + count):
        yield b'{"id_token":"FILL%010d","type":"ISO14443","status":"accepted"}\n' % number


async def fill(stack: Stack, count: int) -> None:
    """Import so many tokens, file by file."""
    headers = {
        "Authorization": f"Bearer {stack.operator_token()}",
        "Content-Type": "application/x-ndjson",
    }
    url = f"{stack.http('auth')}/v1/tokens/import"
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task("Importing tokens", total=count)
        async with httpx.AsyncClient(headers=headers, timeout=None) as client:  # noqa: S113 - a file takes minutes on a busy machine
            for first in range(0, count, FILE):
                size = min(FILE, count - first)
                answer = await client.post(url, content=b"".join(lines(first, size)))
                answer.raise_for_status()
                progress.advance(task, size)


async def told(stack: Stack) -> None:
    """Until the import's events are all in Kafka: they are work of their own."""
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(stack.mongo_uri())
    async with asyncio.timeout(3600):
        while await client["voltbus_auth"]["outbox"].count_documents({}, limit=1):  # noqa: ASYNC110 - another process empties it: there is no event to await
            await asyncio.sleep(1)
    client.close()


async def run(arguments: argparse.Namespace) -> None:
    """Measure, fill, measure."""
    with tempfile.TemporaryDirectory() as folder:
        async with temporary_stack(partitions=PARTITIONS) as stack:
            passwords, tokens, values = await register(stack, arguments.stations, Path(folder))
            async with floor(stack, values) as url:
                targets = Targets(url, stack.ocpp(), passwords, tokens)
                load = (targets, arguments.stations, arguments.seconds, arguments.rounds)
                before = await measure_in_turn(*load)
                began = time.monotonic()
                await fill(stack, arguments.tokens)
                filled = time.monotonic() - began
                await told(stack)
                print(f"imported in {filled:.0f} s, told in {time.monotonic() - began:.0f} s")
                after = await measure_in_turn(*load)
    p50_before, p50 = before.mean("p50_ms"), after.mean("p50_ms")
    print(
        f"{arguments.stations} stations: {before.ratio:.2f} of the bare pipe with {len(values)} "
        f"tokens (p50 {p50_before:.1f} ms), {after.ratio:.2f} with {arguments.tokens} more "
        f"(p50 {p50:.1f} ms)"
    )
    if not arguments.no_record:
        record_row(
            {
                "benchmark": "tokens",
                "stations": arguments.stations,
                "per_second": round(after.mean("per_second")),
                "p50_ms": round(p50, 2),
                "ratio": round(after.ratio / before.ratio, 3),
                "note": f"tokens={arguments.tokens} share_before={before.ratio:.3f} "
                f"share_after={after.ratio:.3f} p50_before={p50_before:.2f} "
                f"before: {before.note()} after: {after.note()}",
            }
        )


def main() -> None:
    """Parse and run."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tokens", type=int, default=1_000_000, help="to fill the store with")
    parser.add_argument("--stations", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=4.0, help="per measurement")
    parser.add_argument("--rounds", type=int, default=5, help="on each, in turn, before and after")
    parser.add_argument("--no-record", action="store_true", help="do not touch results.csv")
    uvloop.run(run(parser.parse_args()))


if __name__ == "__main__":
    main()

"""Authorize with few tokens and with a million in the store: the same stack, the same run.

The stations ask for the same thousand tokens each time. In between, the store is filled over the
REST import, as an operator would. Each is measured in turn with the bare pipe, because machines and
neighbours change meanwhile; the row has Voltbus's share of the pipe before and after.

    python benchmarks/tokens.py
    python benchmarks/tokens.py --tokens 100000 --stations 100 --no-record
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import uvloop
from rich.console import Console
from rich.progress import Progress

from authorize import PARTITIONS, Targets, floor, measure_in_turn, register
from shared import import_tokens, measured, operator, parser, record, told
from voltbus.embedded.stack import Stack, temporary_stack

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

FILE = 50_000  # tokens in one import


def lines(first: int, count: int) -> Iterator[bytes]:
    """NDJSON of tokens that no station asks for."""
    for number in range(first, first + count):
        yield b'{"id_token":"FILL%010d","type":"ISO14443","status":"accepted"}' % number


async def fill(stack: Stack, count: int) -> None:
    """Import so many tokens, file by file."""
    with Progress(transient=True, console=Console(stderr=True)) as progress:
        task = progress.add_task("Importing tokens", total=count)
        async with operator(stack) as client:
            for first in range(0, count, FILE):
                size = min(FILE, count - first)
                await import_tokens(client, stack, lines(first, size))
                progress.advance(task, size)


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
        record(
            measured(
                "tokens",
                arguments.stations,
                per_second=round(after.mean("per_second")),
                p50_ms=round(p50, 2),
                ratio=round(after.ratio / before.ratio, 3),
                note=f"tokens={arguments.tokens} share_before={before.ratio:.3f} "
                f"share_after={after.ratio:.3f} p50_before={p50_before:.2f} "
                f"before: {before.note()} after: {after.note()}",
            )
        )


def main() -> None:
    """Parse and run."""
    options = parser(__doc__)
    options.add_argument("--tokens", type=int, default=1_000_000, help="to fill the store with")
    options.add_argument("--stations", type=int, default=100)
    options.add_argument("--seconds", type=float, default=4.0, help="per measurement")
    options.add_argument("--rounds", type=int, default=5, help="on each, in turn, before and after")
    uvloop.run(run(options.parse_args()))


if __name__ == "__main__":
    main()

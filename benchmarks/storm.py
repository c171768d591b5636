"""Memory per idle connection, and how long a fleet that drops together takes to be back.

python benchmarks/storm.py --stations 10000 --drop 5000
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop

from shared import HERE, commit, machine, measured, operator, parser, record, register_stations
from voltbus.embedded.stack import temporary_stack

if TYPE_CHECKING:
    import argparse

FLEETS = 2


def resident(pid: int) -> int:
    """A process's resident memory, in bytes (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise SystemExit(f"the kernel does not tell the memory of {pid}")


async def fleets(url: str, passwords: dict[str, str], folder: Path) -> list[Any]:
    """The stations in processes of their own."""
    names = list(passwords)
    started = []
    for number in range(FLEETS):
        part = folder / f"fleet-{number}.json"
        part.write_text(json.dumps({name: passwords[name] for name in names[number::FLEETS]}))
        started.append(
            await asyncio.create_subprocess_exec(
                sys.executable,
                str(HERE / "fleet.py"),
                "--url",
                url,
                "--passwords",
                str(part),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
        )
    return started


async def tell(fleet: Any, words: str) -> dict[str, float]:
    """Send one command and read its answer."""
    fleet.stdin.write(f"{words}\n".encode())
    await fleet.stdin.drain()
    line = await fleet.stdout.readline()
    if not line:
        raise SystemExit("a fleet process ended early")
    result: dict[str, float] = json.loads(line)
    return result


async def run(arguments: argparse.Namespace) -> None:
    """Connect all, weigh, drop, count the seconds."""
    with tempfile.TemporaryDirectory() as name:
        async with temporary_stack() as stack:
            names = [f"STORM-{index:05d}" for index in range(arguments.stations)]
            async with operator(stack) as client:
                passwords = await register_stations(client, stack, names)
            before = resident(stack.pid("gateway"))
            started = await fleets(stack.ocpp(), passwords, Path(name))
            connected = await asyncio.gather(*(tell(fleet, "connect") for fleet in started))
            after = resident(stack.pid("gateway"))
            each = arguments.drop // FLEETS
            storm = await asyncio.gather(*(tell(fleet, f"drop {each}") for fleet in started))
            for fleet in started:
                fleet.stdin.close()
            await asyncio.gather(*(fleet.wait() for fleet in started))
    per_connection = (after - before) / arguments.stations
    back = max(part["all_back_s"] for part in storm)
    half = max(part["half_back_s"] for part in storm)
    refused = sum(part["refused"] for part in storm)
    took = max(part["seconds"] for part in connected)
    print(f"{arguments.stations} stations connected in {took:.1f} s")
    print(f"{per_connection / 1000:.1f} kB per idle connection in the gateway")
    print(f"{arguments.drop} dropped together: half back in {half:.1f} s, all in {back:.1f} s")
    print(f"{refused} attempts were refused meanwhile")
    if not arguments.no_record:
        note = (
            f"bytes_per_connection={per_connection:.0f} dropped={arguments.drop} "
            f"half_back_s={half:.1f} all_back_s={back:.1f} refused={refused}"
        )
        record(measured("storm", arguments.stations, note=note))


def main() -> None:
    """Parse and run."""
    options = parser(__doc__)
    options.add_argument("--stations", type=int, default=10_000)
    options.add_argument("--drop", type=int, default=5_000)
    print(f"commit {commit()}, {machine()}")
    uvloop.run(run(options.parse_args()))


if __name__ == "__main__":
    main()

"""`voltbus demo` as a person runs it: a process, its output, and what is left of it."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from asyncio.subprocess import Process
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.stack
DEADLINE_S = 300


def processes_of(session: int) -> list[str]:
    """Return the command lines of every process of a session that is still alive."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if os.getsid(int(folder.name)) == session:
                found.append((folder / "cmdline").read_text().replace("\0", " "))
        except (ProcessLookupError, FileNotFoundError):
            continue
    return [line for line in found if line]  # a zombie has no command line


def left_in(folder: Path) -> list[Path]:
    """Return what is in a folder."""
    return list(folder.iterdir())


@asynccontextmanager
async def demo(folder: Path, *arguments: str) -> AsyncIterator[Process]:
    """Run the command in a session and a temporary folder of its own."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voltbus",
        "demo",
        *arguments,
        env={**os.environ, "TMPDIR": str(folder)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await process.communicate()


async def read_until(process: Process, text: str) -> str:
    """Return what the process prints up to the line that holds ``text``."""
    assert process.stdout is not None
    shown = ""
    async with asyncio.timeout(DEADLINE_S):
        while text not in shown:
            line = await process.stdout.readline()
            assert line, f"the demonstration ended before it said {text!r}:\n{shown}"
            shown += line.decode()
    return shown


async def test_the_demonstration(tmp_path: Path) -> None:
    """It plays, shows events and summary, exits 0, and leaves neither process nor file."""
    async with demo(tmp_path) as process:
        out, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    shown = out.decode()
    assert process.returncode == 0, f"{shown}\n{err.decode()}"
    for part in (
        "agreement.activated",
        "station.connected",
        "station.booted",
        "transaction.ended",
        "What the stations saw",
        "What the services recorded",
        "What passed through Kafka",
    ):
        assert part in shown
    assert re.search(r"2 sessions, 25\.70 kWh, \d+ events; Authorize took \d+\.\d ms", shown)
    assert "Traceback" not in shown + err.decode()
    assert not processes_of(process.pid)
    assert not left_in(tmp_path)


async def test_the_demonstration_stays_up_on_request(tmp_path: Path) -> None:
    """With --keep it prints the addresses and waits; Ctrl-C then ends it with nothing left."""
    async with demo(tmp_path, "--keep") as process:
        shown = await read_until(process, "Ctrl-C stops it.")
        assert re.search(r"ws://127\.0\.0\.1:\d+/ocpp", shown)
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 0
    assert not processes_of(process.pid)
    assert not left_in(tmp_path)


async def test_an_interrupted_demonstration(tmp_path: Path) -> None:
    """SIGTERM in the middle of the story: exit code 130, nothing left."""
    async with demo(tmp_path) as process:
        await read_until(process, "▶")
        process.send_signal(signal.SIGTERM)
        _, err = await asyncio.wait_for(process.communicate(), DEADLINE_S)
    assert process.returncode == 130
    assert "Interrupted" in err.decode()
    assert not processes_of(process.pid)
    assert not left_in(tmp_path)

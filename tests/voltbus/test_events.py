"""`voltbus events` on a real broker, and its refusals."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from voltbus.__main__ import run
from voltbus_backbone.bus.envelope import event
from voltbus_backbone.bus.kafka import Publisher
from voltbus_backbone.contract.registry import STATION_BOOTED
from voltbus_backbone.contract.stations import StationBooted
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from voltbus_backbone.settings import KafkaSettings

NOW = datetime(2026, 5, 1, tzinfo=UTC)


async def test_without_a_stack(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """No running stack and no --kafka: one line that says what to do, exit code 2."""
    assert await asyncio.to_thread(run, ["events", "--home", str(tmp_path)]) == 2
    shown = capsys.readouterr().err
    assert "voltbus up" in shown
    assert shown.count("\n") == 1


async def test_a_malformed_address(capsys: pytest.CaptureFixture[str]) -> None:
    """--kafka without a port is refused before anything is tried."""
    assert await asyncio.to_thread(run, ["events", "--kafka", "nowhere"]) == 2
    assert "HOST:PORT" in capsys.readouterr().err


async def _command(*arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voltbus",
        "events",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_nobody_listens() -> None:
    """A broker that does not answer is one line and exit code 2, without a trace."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    process = await _command("--kafka", f"127.0.0.1:{port}")
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert process.returncode == 2
    assert not out
    assert err.decode().count("\n") == 1
    assert "Kafka does not answer" in err.decode()


async def _publish(settings: KafkaSettings, prefix: str, *stations: str) -> None:
    publisher = Publisher(settings, prefix)
    await publisher.start()
    for station in stations:
        body = StationBooted(
            station_id=station, protocol=Protocol.OCPP16, status="Accepted", at=NOW, model="M"
        )
        await publisher.publish(
            [event(STATION_BOOTED, body, id=station, source="/test", now=NOW, subject=station)]
        )
    await publisher.stop()


@pytest.mark.stack
async def test_what_was_published_is_shown(
    kafka_settings: KafkaSettings, topic_prefix: str
) -> None:
    """From the beginning, filtered by station, as JSON: the event that was published."""
    await _publish(kafka_settings, topic_prefix, "EV-1", "EV-2")
    process = await _command(
        "--kafka", kafka_settings.bootstrap, "--prefix", topic_prefix, "--from-beginning",
        "--station", "EV-2", "--json", "--count", "1",
    )  # fmt: skip
    out, err = await asyncio.wait_for(process.communicate(), 120)
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out)["data"]["station_id"] == "EV-2"


@pytest.mark.stack
async def test_sigterm_ends_it_quietly(kafka_settings: KafkaSettings, topic_prefix: str) -> None:
    """What comes while it watches is shown at once, and SIGTERM is an orderly end."""
    process = await _command("--kafka", kafka_settings.bootstrap, "--prefix", topic_prefix)
    assert process.stdout is not None
    assert b"what it says" in await asyncio.wait_for(process.stdout.readline(), 120)
    await _publish(kafka_settings, topic_prefix, "EV-3")
    row = await asyncio.wait_for(process.stdout.readline(), 120)
    assert row.decode().split()[1:] == ["station.booted", "EV-3", "Accepted,", "M"]
    process.send_signal(signal.SIGTERM)
    _, err = await asyncio.wait_for(process.communicate(), 120)
    assert (process.returncode, err) == (0, b"")

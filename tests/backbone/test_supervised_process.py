"""A whole process on real Kafka: what breaks or hangs in it is seen in /readyz, and by its name."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from breaking_service import BREAKS, HANGS
from operating import until
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.kafka import Publisher
from voltbus_backbone.contract.auth import StationLogin
from voltbus_backbone.contract.registry import STATION_LOGIN

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voltbus_backbone.settings import KafkaSettings

pytestmark = pytest.mark.stack

SERVICE = Path(__file__).parents[1] / "breaking_service.py"
START_S = 60.0


class Running:
    """The process, its address and what it has logged."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.logged: list[dict[str, Any]] = []
        self.address = ""

    async def follow(self) -> None:
        """Keep its log."""
        assert self.process.stderr is not None
        async for line in self.process.stderr:
            with contextlib.suppress(ValueError):
                self.logged.append(json.loads(line))

    def lines(self, event: str) -> list[dict[str, Any]]:
        return [line for line in self.logged if line["event"] == event]

    async def started(self) -> bool:
        for line in self.lines("service.started"):
            self.address = f"http://127.0.0.1:{line['http_port']}"
        return bool(self.address)

    async def readyz(self) -> tuple[int, dict[str, bool]]:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.address}/readyz")
        return answer.status_code, answer.json()["checks"]


@contextlib.asynccontextmanager
async def running(kafka: KafkaSettings, prefix: str) -> AsyncIterator[Running]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(SERVICE),
        stderr=asyncio.subprocess.PIPE,
        env={
            "PATH": os.environ["PATH"],
            "VOLTBUS_HTTP_PORT": "0",
            "VOLTBUS_KAFKA_BOOTSTRAP": kafka.bootstrap,
            "VOLTBUS_TOPIC_PREFIX": prefix,
            "VOLTBUS_STUCK_S": "2",
            "VOLTBUS_GRACE_S": "1",
        },
    )
    service = Running(process)
    following = asyncio.create_task(service.follow())
    try:
        await until(service.started, bool, deadline_s=START_S)
        yield service
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()
        await following


async def test_what_breaks_or_hangs_is_named_until_it_holds(
    kafka_settings: KafkaSettings, topic_prefix: str
) -> None:
    """A job that broke is started again; a record that never gets done stops the commits."""
    async with running(kafka_settings, topic_prefix) as service:
        _, checks = await service.readyz()
        assert {"working-breaking", "consuming-auth", "committing-auth", "inbox"} <= checks.keys()
        assert checks["working-breaking"] is False
        status, _ = await until(service.readyz, lambda seen: all(seen[1].values()))
        assert status == 200
        broke = service.lines("reader.broke")
        assert [line["reader"] for line in broke] == ["working-breaking"] * BREAKS
        publisher = Publisher(kafka_settings, topic_prefix)
        await publisher.start()
        message = StationLogin(station_id=HANGS)
        await publisher.publish(
            [envelope.event(STATION_LOGIN, message, id="1", source="/t", now=datetime.now(UTC))]
        )
        await publisher.stop()
        status, checks = await until(service.readyz, lambda seen: seen[0] == 503)
        assert [name for name, holds in checks.items() if not holds] == ["committing-auth"]
        assert service.process.returncode is None

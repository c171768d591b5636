"""A gateway per test, stopped with it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest_asyncio

from gateway.stage import Stage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from voltbus_backbone.bus.testing import MemoryBus


@pytest_asyncio.fixture
async def start() -> AsyncIterator[Callable[..., Awaitable[Stage]]]:
    """Start gateways with settings of one's own; they stop with the test."""
    stages: list[Stage] = []

    async def begin(bus: MemoryBus | None = None, **settings: Any) -> Stage:
        stages.append(await Stage.up(bus, **settings))
        return stages[-1]

    yield begin
    for stage in stages:
        await stage.down()


@pytest_asyncio.fixture
async def stage(start: Callable[..., Awaitable[Stage]]) -> Stage:
    """A gateway with the default settings."""
    return await start()

"""A stack of the fault tests' own: what they break is nobody else's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest_asyncio

from operating import operating
from voltbus.embedded.stack import Stack, temporary_stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator


@pytest_asyncio.fixture(scope="package", loop_scope="session")
async def fragile() -> AsyncIterator[Stack]:
    """A whole stack whose processes may be killed; every test leaves it whole again."""
    async with temporary_stack() as started:
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def operator(fragile: Stack) -> AsyncIterator[Operator]:
    """An operator of the fragile stack."""
    async with operating(fragile) as one:
        yield one

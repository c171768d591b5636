"""A service whose background work breaks twice, and whose handler hangs on one station's record.

Run as a process by ``test_supervised_process.py``.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from voltbus_backbone.bus.consumption import Consumption
from voltbus_backbone.contract.registry import STATION_LOGIN, Topic
from voltbus_backbone.service import Parts, main
from voltbus_backbone.settings import ServiceSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.service import Runtime

BREAKS = 2
HANGS = "CP-hangs"


async def compose(runtime: Runtime[ServiceSettings]) -> Parts:
    """One consumption, one job, an inbox."""
    await runtime.requester()
    left = BREAKS

    async def job() -> None:
        nonlocal left
        if left:
            left -= 1
            raise ZeroDivisionError
        await asyncio.Event().wait()

    async def handle(events: Sequence[Event]) -> Sequence[Record]:
        if any(event.message.station_id == HANGS for event in events):
            await asyncio.Event().wait()
        return []

    types = frozenset({STATION_LOGIN.name})
    return Parts(
        consumptions=[Consumption("auth", (Topic.AUTH_REQUESTS,), types, handle)],
        background={"breaking": job},
    )


if __name__ == "__main__":
    main("auth", ServiceSettings, compose)

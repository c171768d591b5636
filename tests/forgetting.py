"""MongoDB deletes what is over by its own clock; no test with another clock must meet it."""

from __future__ import annotations

from pymongo import AsyncMongoClient


async def forget_by_itself(uri: str, *, on: bool) -> None:
    """Whether the server looks every second for documents whose time is over, or never."""
    client: AsyncMongoClient[dict[str, object]] = AsyncMongoClient(uri)
    async with client:
        for name, value in (("ttlMonitorSleepSecs", 1), ("ttlMonitorEnabled", on)):
            await client.admin.command({"setParameter": 1, name: value})

"""Two auth replicas under load, one of them killed again and again: nothing lost, nothing twice."""

from __future__ import annotations

import asyncio
import secrets
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from charging import PATIENT, insist
from operating import until

if TYPE_CHECKING:
    from operating import Operator
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Station2, Station16

pytestmark = pytest.mark.stack

STATIONS = 12
CHARGES = 4
KILLS = 3


class Killer:
    """SIGKILLs one of two processes at a time, and brings it back before the next."""

    def __init__(self, stack: Stack, victims: tuple[str, str]) -> None:
        self._stack = stack
        self._victims = victims
        self.kills = 0

    async def run(self) -> None:
        while self.kills < KILLS:
            victim = self._victims[self.kills % 2]
            await self._stack.kill(victim)
            self.kills += 1
            await self._stack.restart(victim)


async def charge(
    station: Station16 | Station2, token: str, began: datetime, done: asyncio.Event
) -> list[int]:
    """Charge until the killing is over, at least a few times; the transactionIds it was given."""
    ids = []
    number = 0
    while number < CHARGES or not done.is_set():
        moment = began + timedelta(minutes=number)
        started = await insist(
            station,
            "StartTransaction",
            {
                "connectorId": 1,
                "idTag": token,
                "meterStart": number * 1000,
                "timestamp": moment.isoformat(),
            },
        )
        assert started["idTagInfo"]["status"] == "Accepted"
        ids.append(started["transactionId"])
        await insist(
            station,
            "StopTransaction",
            {
                "transactionId": started["transactionId"],
                "meterStop": number * 1000 + 100,
                "timestamp": (moment + timedelta(seconds=30)).isoformat(),
            },
        )
        number += 1
    return ids


async def test_each_answer_comes_and_each_transaction_is_there_once(
    fragile: Stack, operator: Operator
) -> None:
    """Replicas are killed in turn: each call is answered, each charge recorded exactly once."""
    second = await fragile.add_replica("auth")
    token, _ = await operator.token()
    stations = [await operator.station(f"R-{secrets.token_hex(4)}") for _ in range(STATIONS)]
    began = datetime.now(UTC) - timedelta(days=1)
    done = asyncio.Event()
    entered = asyncio.Semaphore(0)
    killer = Killer(fragile, ("auth", second))

    async def live(name: str, password: str) -> tuple[str, list[int]]:
        async with operator.connected("1.6", name, password, PATIENT) as station:
            await station.boot()
            entered.release()
            return name, await charge(station, token, began, done)

    async with asyncio.TaskGroup() as group:
        lives = [group.create_task(live(*one)) for one in stations]
        for _ in stations:
            await entered.acquire()
        await killer.run()
        done.set()
    await fragile.stop_part(second)
    ids: list[int] = []
    for one in lives:
        name, given = one.result()
        ids += given

        async def listed(name: str = name) -> Any:
            return await operator.done(
                "GET", "auth", "/v1/transactions", params={"station_id": name, "limit": 100}
            )

        found = await until(
            listed, lambda body: all(item["state"] == "ended" for item in body["data"])
        )
        if not found["has_more"]:
            recorded = {int(item["transaction_id"]) for item in found["data"]}
            assert recorded == set(given)
            assert len(found["data"]) == len(given)
        assert {item["energy_wh"] for item in found["data"]} == {100}
    assert killer.kills == KILLS
    assert len(ids) == len(set(ids))

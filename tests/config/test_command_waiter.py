"""Waiting for the end of a command (RFC 7240 §4.3: Prefer: wait)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from config.config_examples import NOW
from voltbus_backbone.contract.config import CommandStatus
from voltbus_config.api.commands import preferred_wait
from voltbus_config.domain.commands import Command, Purpose
from voltbus_config.handlers.command_waiter import LONGEST_WAIT_S, CommandWaiter

if TYPE_CHECKING:
    from collections.abc import Collection

    from config.conftest import Replica

DEADLINE_S = 20


class Stored:
    """A command in memory, and how often it was asked for."""

    def __init__(self) -> None:
        self.status = CommandStatus.SENT
        self.asked: list[list[str]] = []
        self.reads = 0

    async def read(self) -> Command:
        self.reads += 1
        return Command(
            id="cmd-1",
            station_id="CS-1",
            action="ClearCache",
            status=self.status,
            purpose=Purpose.OPERATOR,
            created_at=NOW,
        )

    async def ended(self, ids: Collection[str]) -> list[str]:
        self.asked.append(list(ids))
        over = self.status is not CommandStatus.SENT
        return list(ids) if over else []


async def until_waiting(waiter: CommandWaiter, count: int) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while waiter.count != count:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)


async def test_many_wait_with_one_question() -> None:
    """A hundred requests for one command ask the store once a look, and end together, early."""
    stored = Stored()
    waiter = CommandWaiter(stored.ended)
    tasks = [asyncio.create_task(waiter.wait_until_ended(stored.read, 30)) for _ in range(100)]
    await until_waiting(waiter, 100)
    await waiter.release_ended()
    assert not any(task.done() for task in tasks)
    stored.status = CommandStatus.ANSWERED
    await waiter.release_ended()
    async with asyncio.timeout(DEADLINE_S):
        results = await asyncio.gather(*tasks)
    assert {(found.status, waited) for found, waited in results} == {(CommandStatus.ANSWERED, True)}
    assert stored.asked == [["cmd-1"], ["cmd-1"]]
    assert waiter.count == 0
    await waiter.release_ended()
    assert len(stored.asked) == 2  # nobody waits: nothing is asked


async def test_whoever_finds_no_place_is_answered_at_once() -> None:
    """The bound holds, and is told; a place that becomes free is used again."""
    stored = Stored()
    waiter = CommandWaiter(stored.ended, most=2)
    tasks = [asyncio.create_task(waiter.wait_until_ended(stored.read, 30)) for _ in range(2)]
    await until_waiting(waiter, 2)
    found, waited = await waiter.wait_until_ended(stored.read, 30)
    assert (found.status, waited) == (CommandStatus.SENT, False)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert waiter.count == 0
    await waiter.release_ended()
    assert stored.asked == []


async def test_the_time_is_up() -> None:
    """Still out: the command as it is, without a look."""
    stored = Stored()
    found, waited = await CommandWaiter(stored.ended).wait_until_ended(stored.read, 0.01)
    assert (found.status, waited, stored.reads) == (CommandStatus.SENT, True, 2)


async def test_a_process_that_leaves_keeps_nobody() -> None:
    """Whoever waits is answered before the store is closed; nobody waits from then on."""
    stored = Stored()
    waiter = CommandWaiter(stored.ended)
    task = asyncio.create_task(waiter.wait_until_ended(stored.read, 30))
    await until_waiting(waiter, 1)
    async with asyncio.timeout(DEADLINE_S):
        await waiter.close()
    assert stored.reads == 2
    assert (await task)[1]
    assert (await waiter.wait_until_ended(stored.read, 30))[1] is False


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        (["wait=30"], 30),
        (["respond-async, Wait = 5; x=1"], 5),
        (["return=minimal", 'wait="7"'], 7),
        (["wait=100000"], LONGEST_WAIT_S),
        (["wait=0"], 0),
        (["wait=-1"], None),
        (["wait"], None),
        (["await=3"], None),
        (["wait=1e3"], None),
        (["wait=" + "9" * 5000], None),
        ([], None),
    ],
)
def test_a_preference(headers: list[str], seconds: int | None) -> None:
    """What cannot be read is no preference, never an error (RFC 7240 §2)."""
    assert preferred_wait(headers) == seconds


async def shown(replica: Replica, command_id: str, **options: Any) -> asyncio.Task[Any]:
    """A request for a command on its way."""
    return asyncio.create_task(replica.client.get(f"/v1/commands/{command_id}", **options))


@pytest.mark.stack
@pytest.mark.parametrize(
    ("options", "applied"),
    [({"params": {"wait": 30}}, None), ({"headers": {"Prefer": "wait=30"}}, "wait=30")],
)
async def test_rest_answers_when_the_command_ends(
    replica: Replica, options: dict[str, Any], applied: str | None
) -> None:
    """By the query or by the preference; another replica may have ended it."""
    await replica.register("CS-1")
    await replica.arrive("CS-1")
    made = await replica.command("CS-1", "ClearCache")
    call = await replica.call("CS-1", "ClearCache")
    task = await shown(replica, made["id"], **options)
    await until_waiting(replica.waiter, 1)
    await replica.end(call, {"status": "Accepted"})
    await replica.waiter.release_ended()
    async with asyncio.timeout(DEADLINE_S):
        answer = await task
    assert answer.json()["status"] == "answered"
    assert answer.headers.get("preference-applied") == applied


@pytest.mark.stack
async def test_a_senseless_wait_is_refused(replica: Replica) -> None:
    """422 beyond a minute, and 404 at once for a command that is none."""
    for wait in (-1, 61, "long"):
        answer = await replica.client.get("/v1/commands/cmd-1", params={"wait": wait})
        assert answer.status_code == 422
    answer = await replica.client.get("/v1/commands/cmd-1", params={"wait": 60})
    assert answer.status_code == 404

"""Tokens that another system pushes over Kafka charge at stations, on the real stack."""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from operating import until
from voltbus_backbone.bus.kafka import PartitionReader, Publisher
from voltbus_backbone.bus.rpc import Requester
from voltbus_backbone.contract.pushed import PutToken, PutTokenAnswer, RemoveToken
from voltbus_backbone.contract.registry import PUT_TOKEN, REMOVE_TOKEN
from voltbus_backbone.errors import Unavailable
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator, Subscriber
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "push_tokens.py"
SOON_S = 20.0


def a_uid() -> str:
    return secrets.token_hex(7).upper()


async def push(stack: Stack, *lines: dict[str, Any]) -> None:
    """The documentation's own example, as a process."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(EXAMPLE),
        stack.kafka,
        "SE-NDL",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    text = "".join(json.dumps(line) + "\n" for line in lines)
    out, _ = await process.communicate(text.encode())
    assert out.decode() == f"{len(lines)} sent\n"


async def registered(operator: Operator, value: str) -> list[dict[str, Any]]:
    """What REST knows of a token."""
    body = {"id_token": value}
    answer = await operator.done("POST", "auth", "/v1/tokens/search", json=body)
    found: list[dict[str, Any]] = answer["data"]
    return found


@asynccontextmanager
async def partner(stack: Stack) -> AsyncIterator[Requester]:
    """A system that waits for answers; its inbox is borrowed from a service that is not asked."""
    settings = KafkaSettings(bootstrap=stack.kafka)
    publisher = Publisher(settings, stack.topic_prefix)
    await publisher.start()
    one = Requester(
        instance_id="partner-1",
        source="/partner/1",
        inbox_topic=f"{stack.topic_prefix}agreements.inbox",
        publisher=publisher,
        start_mark=secrets.token_hex(3),
    )
    await one.start(lambda topic, partition: PartitionReader(settings, topic, partition), 1)
    try:
        yield one
    finally:
        await one.stop()
        await publisher.stop()


@pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])
async def test_a_pushed_token_charges_until_it_is_removed(
    operator: Operator, subscriber: Subscriber, protocol: Protocol
) -> None:
    """Put, put again, block and remove: each takes effect, the repetition has none."""
    name, password = await operator.station()
    value = a_uid()
    line = {"id_token": value, "language": "sv"}
    await push(operator.stack, line, line)
    (token,) = await until(lambda: registered(operator, value), bool)
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        assert (await station.authorize(value)).status == "Accepted"
        await push(operator.stack, {**line, "status": "blocked"})
        blocked = await until(
            lambda: registered(operator, value), lambda found: found[0]["revision"] == 2
        )
        assert blocked[0]["status"] == "blocked"
        assert (await station.authorize(value)).status == "Blocked"
        await push(operator.stack, {"remove": value})
        await until(lambda: registered(operator, value), lambda found: not found)
        unknown = "Invalid" if protocol == "1.6" else "Unknown"
        assert (await station.authorize(value)).status == unknown
    await subscriber.wait_for("token.deleted", token_ref=token["ref"])
    told = [event.type for event in subscriber.events if event.key == token["ref"].encode()]
    assert [word.split(".")[-2] for word in told] == ["created", "updated", "deleted"]


async def test_whoever_asks_is_answered(operator: Operator) -> None:
    """The reference and revision of what is there now; a fault where it was refused."""
    value = a_uid()
    async with partner(operator.stack) as one:
        put = PutToken(provider_id="SE-NDL", id_token=value, max_concurrent=1)
        answer = await one.ask(PUT_TOKEN, put, deadline_s=SOON_S)
        assert isinstance(answer, PutTokenAnswer)
        assert (answer.revision, answer.outcome) == (1, "created")
        shown = await operator.done("GET", "auth", f"/v1/tokens/{answer.token_ref}")
        assert shown["max_concurrent"] == 1
        late = RemoveToken(provider_id="SE-NDL", token_ref=answer.token_ref, expected_revision=9)
        with pytest.raises(Unavailable, match="expected_revision"):
            await one.ask(REMOVE_TOKEN, late, deadline_s=SOON_S)
        broken = PutToken(provider_id="SE-NDL", id_token=value, charging_priority=99)
        with pytest.raises(Unavailable, match="charging_priority"):
            await one.ask(PUT_TOKEN, broken, deadline_s=SOON_S)
    assert value not in operator.stack.log("auth").read_text()


async def test_many_tokens_and_their_repetition(operator: Operator) -> None:
    """Two hundred tokens and their repetition: each is there once, at its first revision."""
    values = [a_uid() for _ in range(200)]
    lines = [{"id_token": value, "group_id": "pushed"} for value in values]
    await push(operator.stack, *lines, *lines)
    await until(lambda: registered(operator, values[-1]), bool)
    for value in (values[0], values[99], values[-1]):
        (found,) = await registered(operator, value)
        assert (found["revision"], found["group_id"]) == (1, "pushed")

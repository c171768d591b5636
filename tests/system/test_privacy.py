"""No readable token and no secret is left anywhere by a whole run of the system.

A run in all versions, with faults and kills; then every log line, event, header, dead letter,
document, error and metric is read, in every spelling (design 8; ocpp-rules B, privacy; E).
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from pymongo import MongoClient

from system.hunting import SHORT_LIVED, Found, Hunt, places, spellings
from system.whole_run import Life, Run, at_the_desk, on_the_bus
from voltbus.embedded.stack import temporary_stack
from voltbus_backbone.bus.envelope import Record
from voltbus_backbone.bus.kafka import Publisher
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

# After its kill auth asks others about tokens that nobody registered; nobody answers.
ASKING = {"VOLTBUS_EXTERNAL_AUTHORIZER": "topic", "VOLTBUS_EXTERNAL_DEADLINE_S": "0.5"}
PROTOCOLS: tuple[Protocol, ...] = ("1.6", "2.0.1", "2.1")


@pytest_asyncio.fixture(loop_scope="session")
async def run() -> AsyncIterator[Run]:
    """An operator on a stack of their own: what is planted here is nobody else's."""
    async with temporary_stack() as stack:
        hunt = Hunt()
        bearer = stack.operator_token()
        hunt.secret("bearer token", bearer.rpartition(".")[2])
        for file in ("token-reference.key", "field-encryption.key"):
            hunt.secret(file, (stack.home.path / "keys" / file).read_text().strip())
        users = json.loads((stack.home.path / "mongo-users.json").read_text())
        for name, password in users.items():
            hunt.secret(f"MongoDB password of {name}", password)
        headers = {"Authorization": f"Bearer {bearer}"}
        async with httpx.AsyncClient(headers=headers, timeout=30) as client:
            yield Run(stack, client, hunt)


async def _found(run: Run) -> set[Found]:
    """Every secret in every place."""
    found: set[Found] = set()
    async for place, content in places(run.stack):
        found |= run.hunt.in_bytes(place, content)
    for text in run.heard:
        found |= run.hunt.in_bytes("an answer", text.encode())
    return found


async def test_nothing_readable_is_left_by_a_whole_run(run: Run) -> None:
    """Three versions, bad input of every kind and four kills: no secret is anywhere afterwards."""
    lives = [Life(run, protocol) for protocol in PROTOCOLS]
    await asyncio.gather(*(life.begin() for life in lives))
    await on_the_bus(run)
    for service in ("auth", "config", "agreements", "gateway"):
        await run.stack.kill(service)
        await run.stack.restart(service, ASKING if service == "auth" else None)
    await asyncio.gather(*(life.go_on() for life in lives))
    await at_the_desk(run)
    assert await _found(run) == set()
    await _what_is_planted_is_found(run)


async def _what_is_planted_is_found(run: Run) -> None:
    """The search can fail: a value in each kind of place, each in another spelling, is found."""
    value = run.value("ISO14443", "planted")
    folded, exact = spellings(value)
    texts = {**folded, **exact}
    publisher = Publisher(KafkaSettings(bootstrap=run.stack.kafka), run.stack.topic_prefix)
    await publisher.start()
    topics = [topic for topic in Topic if topic not in SHORT_LIVED]
    await publisher.publish([
        Record(topic, *parts)
        for topic in topics
        for parts in (
            (texts["percent"], b"{}", []),
            (b"k", texts["base64+1"], []),
            (b"k", b"{}", [("h", texts["JSON escapes"])]),
        )
    ])  # fmt: skip
    await publisher.stop()
    with MongoClient[Any](run.stack.mongo_uri()) as client:
        for service in ("auth", "config", "agreements"):
            client[run.stack.database(service)]["planted"].insert_one({"x": [{"y": value.lower()}]})
    with run.stack.log("gateway").open("ab") as log:
        log.write(texts["hex"])
    run.heard.append(texts["sha256"].decode())
    found = await _found(run)
    assert {one.label for one in found} == {"planted"}
    expected = {f"topic {topic}" for topic in topics} | {"log gateway.log", "an answer"}
    expected |= {f"collection {service}.planted" for service in ("auth", "config", "agreements")}
    assert {one.place for one in found} >= expected
    in_topics = {one.spelling for one in found if one.place == f"topic {Topic.TOKENS_EVENTS}"}
    assert in_topics >= {"plain", "base64+1", "JSON escapes"}


@pytest.mark.parametrize("spelling", sorted({name for part in spellings("x" * 9) for name in part}))
def test_every_spelling_is_found(spelling: str) -> None:
    """Between other bytes, a value is found in each way of writing it; another one is not."""
    hunt = Hunt()
    hunt.secret("it", "04a1B2/ü+c3d4")
    folded, exact = spellings("04a1B2/ü+c3d4")
    text = {**folded, **exact}[spelling]
    assert {one.label for one in hunt.in_bytes("here", b'{"x":"' + text + b'"}')} == {"it"}
    assert hunt.in_bytes("here", b'{"x":"04a1B2/c3d5"}') == set()


def test_only_requests_and_inboxes_are_left_out() -> None:
    """Readable tokens are allowed for an hour, on the topics of requests and replies (design 3)."""
    assert all(topic.endswith(("requests", "inbox")) for topic in SHORT_LIVED)
    assert len(SHORT_LIVED) < len(Topic)

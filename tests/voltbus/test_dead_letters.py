"""`voltbus dead-letters`: seen, understood and sent again, on the real broker."""

from __future__ import annotations

import asyncio
import secrets
import sys
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.dead_letters import again, letter_of
from voltbus_backbone.bus.kafka import Publisher, ensure_topics, read_all
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import InvalidRecord

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from voltbus_backbone.settings import KafkaSettings

LETTER = [
    ("ce_id", b"e-1"),
    ("ce_type", b"voltbus.auth.transaction.v1"),
    ("correlation-id", b"g/1"),
    ("reply-topic", b"t"),
    ("dead-letter-reason", b"handler failed: ZeroDivisionError"),
    ("dead-letter-topic", b"voltbus.auth.requests"),
    ("dead-letter-partition", b"2"),
    ("dead-letter-offset", b"17"),
    ("dead-letter-time", b"2026-03-01T00:00:00.000Z"),
    ("dead-letter-body", b"withheld"),
]


def test_a_letter_tells_where_its_record_came_from() -> None:
    """Reason, place and original headers are read back from a letter."""
    letter = letter_of(LETTER, b"CP-1", None)
    assert (letter.topic, letter.partition, letter.offset) == ("voltbus.auth.requests", 2, 17)
    assert letter.reason == "handler failed: ZeroDivisionError"
    assert letter.withheld
    assert letter.headers == LETTER[:4]


def test_sent_again_it_keeps_its_id_and_asks_nobody() -> None:
    """The same ce_id, so that a repetition can be told; no reply is expected any more."""
    record = again(letter_of(LETTER, b"CP-1", None), b"{}")
    names = [name for name, _ in record.headers]
    assert record.topic == "voltbus.auth.requests"
    assert ("ce_id", b"e-1") in record.headers
    assert "correlation-id" not in names
    assert "reply-topic" not in names
    assert envelope.header(record.headers, "dead-letter-replay-of") == (
        b"voltbus.auth.requests:2:17"
    )


def test_anything_else_on_the_topic_is_no_letter() -> None:
    """A foreign record is told apart, not guessed at."""
    with pytest.raises(InvalidRecord):
        letter_of([("ce_id", b"1")], None, b"x")


@pytest_asyncio.fixture(loop_scope="session")
async def prefix(kafka_settings: KafkaSettings) -> AsyncIterator[str]:
    """Topics that hold this test's letters only."""
    name = f"letters{secrets.token_hex(3)}."
    await ensure_topics(kafka_settings, name, partitions=2)
    yield name


async def command(settings: KafkaSettings, prefix: str, *words: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voltbus",
        "dead-letters",
        "--kafka",
        settings.bootstrap,
        "--prefix",
        prefix,
        *words,
        env={"COLUMNS": "200"},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


@pytest.mark.stack
async def test_a_withheld_body_is_fetched_from_its_place_and_sent_again(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    """A letter names the place; a replay reads the body there and sends the whole record again."""
    publisher = Publisher(kafka_settings, prefix)
    await publisher.start()
    await publisher.publish(
        [envelope.Record(Topic.AUTH_REQUESTS, b"CP-1", b'{"n":1}', [("ce_id", b"e-1")])]
    )
    (stored,) = await read_all(kafka_settings, f"{prefix}auth.requests")
    headers: list[Any] = [
        ("ce_id", b"e-1"),
        ("dead-letter-reason", b"handler failed: KeyError"),
        ("dead-letter-topic", stored.topic.encode()),
        ("dead-letter-partition", str(stored.partition).encode()),
        ("dead-letter-offset", str(stored.offset).encode()),
        ("dead-letter-time", b"2026-03-01T00:00:00.000Z"),
        ("dead-letter-body", b"withheld"),
    ]
    await publisher.publish([envelope.Record(Topic.AUTH_DEAD_LETTER, b"CP-1", None, headers)])
    await publisher.stop()

    code, listed = await command(kafka_settings, prefix, "--service", "auth")
    assert code == 0
    assert "handler failed: KeyError" in listed
    assert len(await read_all(kafka_settings, f"{prefix}auth.requests")) == 1

    code, said = await command(kafka_settings, prefix, "--service", "auth", "--replay")
    assert code == 0
    assert "1 sent again, 0 no longer kept" in said
    both = await read_all(kafka_settings, f"{prefix}auth.requests")
    assert [record.value for record in both] == [b'{"n":1}', b'{"n":1}']
    assert [envelope.header(record.headers, "ce_id") for record in both] == [b"e-1", b"e-1"]


@pytest.mark.stack
async def test_there_may_be_nothing_to_show(kafka_settings: KafkaSettings, prefix: str) -> None:
    """No letters is good news, said in words."""
    assert await command(kafka_settings, prefix, "--service", "config") == (0, "No dead letters.\n")


@pytest.mark.stack
async def test_an_unknown_service_is_one_line_and_exit_2(
    kafka_settings: KafkaSettings, prefix: str
) -> None:
    """A slip of the pen names what there is."""
    code, said = await command(kafka_settings, prefix, "--service", "billing")
    assert code == 2
    assert "auth, config, agreements" in said

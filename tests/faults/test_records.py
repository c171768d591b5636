"""What anybody may write on Kafka, on the real stack: no service ends, waits, or grows by it."""

from __future__ import annotations

import random
import secrets
import time
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from fuzz.records_made import DEEP, seeds, vary
from operating import until
from raw_batches import CODECS, HEAD, batch, compress, packed, squeezed_zeros, store, zeros
from voltbus.embedded.services import SERVICES
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.dead_letters import letter_of
from voltbus_backbone.bus.kafka import Tail, read_all
from voltbus_backbone.contract.pushed import PutToken
from voltbus_backbone.contract.registry import PUT_TOKEN, Topic
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

    from operating import Operator
    from voltbus.embedded.stack import Stack
    from voltbus_backbone.bus.envelope import Headers

pytestmark = pytest.mark.stack

FACTS = Topic.AUTH_TOKEN_REQUESTS
REQUESTS = (
    Topic.AUTH_REQUESTS,
    Topic.AUTH_CERTIFICATE_REQUESTS,
    Topic.AUTH_EXTERNAL_REQUESTS,
    Topic.AUTH_TOKEN_REQUESTS,
    Topic.CONFIG_REQUESTS,
    Topic.AGREEMENTS_REQUESTS,
)
INBOXES = (Topic.GATEWAY_INBOX, Topic.AUTH_INBOX, Topic.CONFIG_INBOX, Topic.AGREEMENTS_INBOX)
PARTITIONS = 6
MEBIBYTE = 2**20
# Of one take: what it may unpack, the batch that passes that, and copies of both (ADR 17).
MAY_GROW = 96 * MEBIBYTE
SOON_S = 30.0


def now_ms() -> int:
    return int(time.time() * 1000)


def a_token() -> tuple[str, bytes, Headers]:
    """A token that nobody has yet: its value, and the record that registers it."""
    value = secrets.token_hex(7).upper()
    record = envelope.event(
        PUT_TOKEN,
        PutToken(provider_id="SE-NDL", id_token=value),
        id=secrets.token_hex(8),
        source="/SE-NDL",
        now=datetime.now(UTC),
    )
    assert record.value is not None
    return value, record.value, record.headers


async def registered(operator: Operator, value: str) -> bool:
    answer = await operator.done("POST", "auth", "/v1/tokens/search", json={"id_token": value})
    return bool(answer["data"])


class Bystanders:
    """The services, which must all stay as they are."""

    def __init__(self, operator: Operator) -> None:
        self._operator = operator
        self._pids = self._running()

    def _running(self) -> dict[str, int]:
        return {name: self._operator.stack.pid(name) for name in SERVICES}

    async def checks(self, service: str) -> dict[str, bool]:
        answer = await self._operator.send("GET", service, "/readyz")
        found: dict[str, bool] = answer.json()["checks"]
        return found

    async def unharmed(self) -> None:
        """Each is the same process, ready in everything; a token charges at a station."""
        assert self._running() == self._pids
        for service in SERVICES:
            await until(partial(self.checks, service), lambda found: all(found.values()))
        operator = self._operator
        name, password = await operator.station()
        token, _ = await operator.token()
        async with operator.connected("1.6", name, password) as station:
            await station.boot()
            assert (await station.authorize(token)).status == "Accepted"


def forget_highest(pid: int) -> None:
    """VmHWM begins anew (proc(5), clear_refs)."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")


def memory(pid: int, field: str) -> int:
    """VmRSS or VmHWM of a process, in bytes."""
    text = Path(f"/proc/{pid}/status").read_text()
    (line,) = [line for line in text.splitlines() if line.startswith(f"{field}:")]
    return int(line.split()[1]) * 1024


async def letters(stack: Stack, service: str) -> list[Any]:
    """What is on a dead-letter topic, read as letters."""
    settings = KafkaSettings(bootstrap=stack.kafka)
    found = await read_all(settings, f"{stack.topic_prefix}{service}.dead-letter")
    return [letter_of(record.headers, record.key, record.value) for record in found]


async def test_packed_zeros_do_not_grow_auth(fragile: Stack, operator: Operator) -> None:
    """500 MB of zeros in a gzip batch of 500 kB, and others in each codec on every partition.

    They become dead letters that name their places; what comes behind them is handled. Batches that
    are not too large each, but together, are read in several takes.
    """
    bystanders = Bystanders(operator)
    settings = KafkaSettings(bootstrap=fragile.kafka)
    topic = fragile.topic_prefix + FACTS
    large, small = zeros(20 * MEBIBYTE), zeros(1_000_000)
    bombs = [
        packed(compress(body, codec), CODECS[codec], at_ms=now_ms())
        for codec in ("zstd", "lz4", "snappy")
        for body in (large, *[small] * 8)
    ]
    pid = fragile.pid("auth")
    forget_highest(pid)
    before = memory(pid, "VmRSS")
    tokens = [a_token() for _ in range(PARTITIONS)]
    await store(settings, topic, 0, squeezed_zeros(500_000_000, now_ms()))
    for partition, (_, body, headers) in enumerate(tokens):
        good = batch([(body, headers)], at_ms=now_ms())
        await store(settings, topic, partition, *bombs, good)
    for value, _, _ in tokens:
        await until(partial(registered, operator, value), bool)
    grown = memory(pid, "VmHWM") - before
    print(f"auth has grown by {grown / MEBIBYTE:.0f} MiB")  # noqa: T201 - for whoever measures
    assert grown < MAY_GROW, f"{grown / MEBIBYTE:.0f} MiB"
    reasons = [letter.reason for letter in await letters(fragile, "auth")]
    unpacked = [reason for reason in reasons if "once it is unpacked" in reason]
    assert len(unpacked) >= PARTITIONS * 3 + 1
    await bystanders.unharmed()


ODD_BODIES: dict[str, bytes | None] = {
    "Latin-1": '{"provider_id":"Müller","id_token":"1234567"}'.encode("latin-1"),
    "invalid UTF-8": b'{"provider_id":"\xff","id_token":"1234567"}',
    "nested 100,000 deep": b'{"provider_id":"x","id_token":"1234567","more":' + DEEP + b"}",
    "a huge number": b'{"provider_id":"x","id_token":"1234567","credit":' + b"9" * 5000 + b"}",
    "nothing": None,
}
ODD_HEADERS: dict[str, dict[str, bytes | None]] = {
    "a null header": {"ce_id": None},
    "a null type": {"ce_type": None},
    "a header in Latin-1": {"ce_source": "Müller".encode("latin-1")},
}


def changed(headers: Headers, more: dict[str, bytes | None]) -> list[tuple[str, bytes | None]]:
    """The headers, with other values for some."""
    return [(name, more.get(name, value)) for name, value in headers]


async def test_an_unreadable_record_is_a_dead_letter_and_its_neighbours_count(
    fragile: Stack, operator: Operator
) -> None:
    """An honest partner's mistake, or anybody's: in the same batch as what is sound."""
    bystanders = Bystanders(operator)
    settings = KafkaSettings(bootstrap=fragile.kafka)
    topic = fragile.topic_prefix + FACTS
    known = len(await letters(fragile, "auth"))
    value, body, headers = a_token()
    odd: list[tuple[bytes | None, Sequence[tuple[str, bytes | None]]]] = [
        *((bad, headers) for bad in ODD_BODIES.values()),
        *((body, changed(headers, more)) for more in ODD_HEADERS.values()),
    ]
    first, second = a_token(), a_token()
    records = [(first[1], first[2]), *odd, (second[1], second[2])]
    await store(settings, topic, 1, batch([(v, list(h)) for v, h in records], at_ms=now_ms()))
    third, fourth = a_token(), a_token()
    sound = batch(
        [(third[1], third[2]), (body, [*headers, ("nXme", b"1")]), (fourth[1], fourth[2])],
        at_ms=now_ms(),
    )
    misspelt = sound[HEAD:].replace(b"nXme", b"n\xffme")
    await store(settings, topic, 2, packed(misspelt, 0, count=3, at_ms=now_ms()))
    for good in (first, second, third, fourth):
        await until(partial(registered, operator, good[0]), bool)
    found = await until(
        lambda: letters(fragile, "auth"), lambda now: len(now) >= known + len(odd) + 1
    )
    assert not await registered(operator, value)
    assert "a header's name is not UTF-8" in [letter.reason for letter in found]
    assert not any("ller" in letter.reason or value in repr(letter) for letter in found)
    await bystanders.unharmed()


@pytest.mark.parametrize(
    ("topic", "partition"),
    [
        ("gateway.inbox", "-1"),
        ("gateway.inbox", "9999"),
        ("stations.state", "0"),
        ("no-such-topic", "0"),
        ("no topic/at all", "0"),
    ],
)
async def test_a_reply_address_that_is_none_of_ours_gets_nothing_and_stops_nothing(
    fragile: Stack, operator: Operator, topic: str, partition: str
) -> None:
    """The token is registered all the same (a fact), and whoever comes behind is answered."""
    bystanders = Bystanders(operator)
    settings = KafkaSettings(bootstrap=fragile.kafka)
    value, body, headers = a_token()
    asking = [
        ("correlation-id", b"them/1"),
        ("reply-topic", (fragile.topic_prefix + topic).encode()),
        ("reply-partition", partition.encode()),
        ("deadline", b"%d" % (now_ms() + 60_000)),
    ]
    async with Tail(settings, [Topic.STATIONS_STATE], prefix=fragile.topic_prefix) as tail:
        place = fragile.topic_prefix + FACTS
        await store(settings, place, 0, batch([(body, [*headers, *asking])], at_ms=now_ms()))
        await until(lambda: registered(operator, value), bool)
        await bystanders.unharmed()  # which changes a station's state, too
        async for record in tail.records():
            assert envelope.header(record.headers, "correlation-id") is None
            if envelope.header(record.headers, "ce_source") is not None:
                break


@pytest.mark.parametrize("seed", [5])
async def test_mutated_records_on_every_topic_stop_nobody(
    fragile: Stack, operator: Operator, seed: int
) -> None:
    """Some hundred near to sound ones on each request topic and inbox; then all goes on."""
    bystanders = Bystanders(operator)
    settings = KafkaSettings(bootstrap=fragile.kafka)
    chance = random.Random(seed)  # noqa: S311 - a fuzzer's dice
    known = list(seeds())
    for topic in (*REQUESTS, *INBOXES):
        sound = [case for case in known if case.topic.endswith(topic)] or known
        for partition in range(PARTITIONS):
            cases = [vary(chance.choice(sound), chance, known) for _ in range(60)]
            records = [(case.value, case.headers) for case in cases]
            made = batch(records, at_ms=now_ms())
            await store(settings, fragile.topic_prefix + topic, partition, made)
    tokens = [a_token() for _ in range(PARTITIONS)]
    for partition, (_, body, headers) in enumerate(tokens):
        good = batch([(body, headers)], at_ms=now_ms())
        await store(settings, fragile.topic_prefix + FACTS, partition, good)
    for value, _, _ in tokens:
        await until(partial(registered, operator, value), bool)
    await bystanders.unharmed()
    await operator.agreement((await operator.token())[1])

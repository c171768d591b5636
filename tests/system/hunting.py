"""Looking for secrets in everything that a running stack leaves behind."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import urllib.parse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient

from voltbus.embedded.services import SERVICES
from voltbus_backbone.bus.kafka import read_all
from voltbus_backbone.bus.topics import HOUR_MS, PLANS
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from voltbus.embedded.stack import Stack

# Where a readable identifier may be, for an hour at most (design 3 and 8).
SHORT_LIVED = frozenset(
    plan.topic for plan in PLANS if int(plan.config.get("retention.ms", "-1")) == HOUR_MS
)
_SHORTEST = 8


@dataclass(frozen=True)
class Found:
    """A secret where it should not be. It is named, never shown."""

    label: str
    spelling: str
    place: str


class Hunt:
    """The secrets of a run, each under a label, and every spelling of theirs."""

    def __init__(self) -> None:
        self.labels: set[str] = set()
        self._folded: dict[bytes, tuple[str, str]] = {}
        self._exact: dict[bytes, tuple[str, str]] = {}

    def secret(self, label: str, value: str) -> str:
        """Remember a secret; returns it."""
        self.labels.add(label)
        assert len(value) >= _SHORTEST, f"{label} could be found by chance"
        folded, exact = spellings(value)
        for name, text in folded.items():
            self._folded.setdefault(text.lower(), (label, name))
        for name, text in exact.items():
            self._exact.setdefault(text, (label, name))
        return value

    def in_bytes(self, place: str, content: bytes) -> set[Found]:
        """What of it is in there."""
        lower = content.lower()
        hits = [one for text, one in self._folded.items() if text in lower]
        hits += [one for text, one in self._exact.items() if text in content]
        return {Found(label, spelling, place) for label, spelling in hits}


def spellings(value: str) -> tuple[dict[str, bytes], dict[str, bytes]]:
    """How a value may be written, by name: where case does not matter, and where it does."""
    raw = value.encode()
    folded = {
        "plain": raw,
        "JSON": json.dumps(value)[1:-1].encode(),
        "JSON escapes": "".join(f"\\u{ord(one):04x}" for one in value).encode(),
        "percent": urllib.parse.quote(value, safe="").encode(),
        "all percent": "".join(f"%{one:02x}" for one in raw).encode(),
        "hex": binascii.hexlify(raw),
        "hex of lower case": binascii.hexlify(raw.lower()),
        "hex of upper case": binascii.hexlify(raw.upper()),
    }
    # An unkeyed hash of a short identifier is reversed by trying them all: it is no protection.
    for name in ("md5", "sha1", "sha256"):
        for case, text in (("", raw), (" of lower case", raw.lower()), (" of upper", raw.upper())):
            folded[f"{name}{case}"] = hashlib.new(name, text).hexdigest().encode()
    exact: dict[str, bytes] = {}
    for case, text in (("", raw), (" of lower case", raw.lower()), (" of upper", raw.upper())):
        for offset in range(3):
            # Within a longer text the value begins at any of three places of a base64 group; the
            # characters that its neighbours have a part in are left away.
            inner = base64.b64encode(b"\0" * offset + text)[offset and 4 : -4]
            exact[f"base64+{offset}{case}"] = inner
            exact[f"base64url+{offset}{case}"] = inner.translate(bytes.maketrans(b"+/", b"-_"))
    return folded, exact


async def places(stack: Stack) -> AsyncIterator[tuple[str, bytes]]:
    """Everything that a run leaves, by name: topics, logs, databases, metrics, command lines."""
    async for place in _topics(stack):
        yield place
    for file in sorted((stack.home.path / "logs").rglob("*")):
        if file.is_file():
            yield f"log {file.name}", file.read_bytes()
    for place in _documents(stack):
        yield place
    async with httpx.AsyncClient() as client:
        for service in SERVICES:
            page = await client.get(f"{stack.http(service)}/metrics")
            yield f"metrics of {service}", page.content
    for place in _command_lines(stack):
        yield place


def _command_lines(stack: Stack) -> Iterator[tuple[str, bytes]]:
    for part in (*SERVICES, "kafka", "mongod"):
        yield f"command line of {part}", Path(f"/proc/{stack.pid(part)}/cmdline").read_bytes()


async def _topics(stack: Stack) -> AsyncIterator[tuple[str, bytes]]:
    settings = KafkaSettings(bootstrap=stack.kafka)
    for plan in PLANS:
        if plan.topic in SHORT_LIVED:
            continue
        for record in await read_all(settings, stack.topic_prefix + plan.topic):
            parts = [record.key or b"", record.value or b""]
            parts += [part for name, value in record.headers for part in (name.encode(), value)]
            yield f"topic {plan.topic}", b"\n".join(parts)


def _documents(stack: Stack) -> Iterator[tuple[str, bytes]]:
    """Every document of the services' databases, as the bytes that it is stored in."""
    client: MongoClient[Any] = MongoClient(stack.mongo_uri(), document_class=RawBSONDocument)
    with client:
        for service in ("auth", "config", "agreements"):
            database = client[stack.database(service)]
            for name in sorted(database.list_collection_names()):
                for document in database[name].find():
                    yield f"collection {service}.{name}", bytes(document.raw)

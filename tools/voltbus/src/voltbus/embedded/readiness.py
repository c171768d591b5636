"""Ask a server whether it is ready, with next to no cost: one small request on a new connection."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

PATIENCE = 2.0  # seconds for one question; a server that is busier than that is not ready
LARGEST_ANSWER = 1 << 20

METADATA_KEY, METADATA_VERSION = 3, 4
CLIENT_ID = b"voltbus-up"


@asynccontextmanager
async def _connected(
    host: str, port: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def http_ready(host: str, port: int, path: str = "/readyz") -> bool:
    """Whether `GET path` is answered with 200."""
    request = f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n"
    try:
        async with asyncio.timeout(PATIENCE), _connected(host, port) as (reader, writer):
            writer.write(request.encode("ascii"))
            status_line = await reader.readline()
    except (OSError, TimeoutError, ValueError):
        return False
    return status_line.split(b" ")[1:2] == [b"200"]


async def kafka_ready(host: str, port: int) -> bool:
    """Whether a metadata request is answered with at least one broker and a known controller.

    A broker opens its port long before it serves: only an answer counts.
    """
    try:
        async with asyncio.timeout(PATIENCE), _connected(host, port) as (reader, writer):
            writer.write(metadata_request())
            (size,) = struct.unpack(">i", await reader.readexactly(4))
            if not 0 < size <= LARGEST_ANSWER:
                return False
            return names_a_controller(await reader.readexactly(size))
    except (OSError, TimeoutError, asyncio.IncompleteReadError, struct.error):
        return False


async def port_open(host: str, port: int) -> bool:
    """Whether somebody accepts connections there."""
    try:
        async with asyncio.timeout(PATIENCE), _connected(host, port):
            return True
    except (OSError, TimeoutError):
        return False


def metadata_request() -> bytes:
    """A Kafka Metadata request, version 4, for no topic (protocol guide, API key 3)."""
    header = struct.pack(">hhih", METADATA_KEY, METADATA_VERSION, 1, len(CLIENT_ID)) + CLIENT_ID
    no_topics_no_creation = struct.pack(">i?", 0, False)
    body = header + no_topics_no_creation
    return struct.pack(">i", len(body)) + body


def names_a_controller(answer: bytes) -> bool:
    """Read a Metadata response, version 4: brokers there, and a controller among them.

    Raises struct.error when it is cut short.
    """
    _correlation, _throttle_ms, brokers = struct.unpack_from(">iii", answer)
    position = 12
    for _ in range(brokers):
        position += 4  # node id
        position = _skip_string(answer, position)  # host
        position += 4  # port
        position = _skip_string(answer, position)  # rack
    position = _skip_string(answer, position)  # cluster id
    (controller,) = struct.unpack_from(">i", answer, position)
    return bool(brokers > 0 and controller >= 0)


def _skip_string(answer: bytes, position: int) -> int:
    (length,) = struct.unpack_from(">h", answer, position)
    return int(position + 2 + max(length, 0))

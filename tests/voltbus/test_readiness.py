"""Questions to servers: what counts as ready, and what does not."""

from __future__ import annotations

import asyncio
import struct
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest

from voltbus.embedded.ports import free_ports
from voltbus.embedded.readiness import (
    http_ready,
    kafka_ready,
    metadata_request,
    names_a_controller,
    port_open,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def answering(answer: bytes) -> AsyncIterator[int]:
    """A server that reads once, gives this answer and hangs up; yields its port."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1024)
        writer.write(answer)
        writer.close()
        await writer.wait_closed()

    server = await asyncio.start_server(handle, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def string(text: str | None) -> bytes:
    """A nullable string of the Kafka protocol."""
    if text is None:
        return struct.pack(">h", -1)
    return struct.pack(">h", len(text)) + text.encode()


def metadata(brokers: int, controller: int) -> bytes:
    """A Metadata response, version 4, without its size."""
    one = struct.pack(">i", 1) + string("127.0.0.1") + struct.pack(">i", 9005) + string(None)
    head = struct.pack(">iii", 1, 0, brokers) + one * brokers
    return head + string("cluster") + struct.pack(">ii", controller, 0)


async def test_200_is_ready() -> None:
    """Only the status line is read."""
    async with answering(b"HTTP/1.1 200 OK\r\n\r\n{}") as port:
        assert await http_ready("127.0.0.1", port)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 Service Unavailable\r\n\r\n", b"", b"nonsense"])
async def test_anything_else_over_http_is_not(answer: bytes) -> None:
    """503 says not ready; silence and noise are no service of ours."""
    async with answering(answer) as port:
        assert not await http_ready("127.0.0.1", port)


async def test_nobody_there() -> None:
    """A refused connection is an answer too."""
    (port,) = free_ports(1)
    assert not await http_ready("127.0.0.1", port)
    assert not await kafka_ready("127.0.0.1", port)
    assert not await port_open("127.0.0.1", port)


async def test_a_broker_with_a_controller_is_ready() -> None:
    """An answered metadata request that names a broker and the controller."""
    body = metadata(brokers=1, controller=1)
    async with answering(struct.pack(">i", len(body)) + body) as port:
        assert await kafka_ready("127.0.0.1", port)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        struct.pack(">i", 4),
        struct.pack(">i", -1),
        struct.pack(">i", 1 << 30),
        struct.pack(">i", 6) + b"\0" * 6,
    ],
)
async def test_an_open_port_alone_is_not_a_broker(answer: bytes) -> None:
    """Kafka opens its port before it serves; cut or senseless answers do not count."""
    async with answering(answer) as port:
        assert not await kafka_ready("127.0.0.1", port)


def test_a_broker_that_is_not_registered_yet_is_not_ready() -> None:
    """No broker in the answer, or no controller elected."""
    assert names_a_controller(metadata(brokers=1, controller=1))
    assert not names_a_controller(metadata(brokers=0, controller=1))
    assert not names_a_controller(metadata(brokers=1, controller=-1))


def test_the_request_carries_its_own_size() -> None:
    """Kafka's framing: four bytes of size, then that many bytes."""
    request = metadata_request()
    assert struct.unpack(">i", request[:4]) == (len(request) - 4,)

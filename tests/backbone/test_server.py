"""What a stranger at the HTTP side costs: bounded memory, bounded time, bounded sockets.

Everything here runs against a process of its own (``rest_server``), over real sockets.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from operating import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

pytestmark = pytest.mark.stack

TESTS = Path(__file__).parents[1]
KEY = ec.generate_private_key(ec.SECP256R1())
MEBIBYTE = 1024 * 1024
DEADLINE_S = 90.0
# What six bodies of 16 MiB may add to the process: what the kernel and one read per socket buffer.
MOST_MEMORY = 24 * MEBIBYTE


def bearer(scopes: str = "things:read things:write") -> str:
    claims = {"iss": "voltbus-local", "aud": "voltbus", "exp": time.time() + 600, "scope": scopes}
    return f"Authorization: Bearer {jwt.encode(claims, KEY, algorithm='ES256')}\r\n"


def head(method: str, path: str, *lines: str) -> bytes:
    return f"{method} {path} HTTP/1.1\r\nHost: test\r\n{''.join(lines)}\r\n".encode()


@dataclass
class Serving:
    """A process that serves."""

    port: int
    pid: int

    def memory(self) -> int:
        """The process's resident bytes."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def sockets(self) -> int:
        """How many sockets it has open."""
        links = Path(f"/proc/{self.pid}/fd").iterdir()
        return sum(1 for link in links if _target(link).startswith("socket:"))

    @asynccontextmanager
    async def connected(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield reader, writer
        finally:
            writer.transport.abort()

    async def status(self, request: bytes) -> int:
        """The status of the answer to a request on a connection of its own."""
        async with self.connected() as (reader, writer):
            writer.write(request)
            return await status_of(reader)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""  # closed meanwhile


async def status_of(reader: asyncio.StreamReader) -> int:
    async with asyncio.timeout(DEADLINE_S):
        return int((await reader.readuntil(b"\r\n")).split()[1])


async def is_cut(reader: asyncio.StreamReader) -> bool:
    """Whether the server ends the connection, before the test's patience does."""
    try:
        async with asyncio.timeout(DEADLINE_S):
            while await reader.read(65536):
                pass
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False
    return True


@asynccontextmanager
async def served(folder: Path, most: int, *settings: str) -> AsyncIterator[Serving]:
    key = folder / "operator.pem"
    key.write_bytes(
        KEY.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "backbone.rest_server",
        str(key),
        str(most),
        *settings,
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": str(TESTS)},
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(DEADLINE_S):
            port = int(await process.stdout.readline())
        yield Serving(port, process.pid)
    finally:
        process.kill()
        await process.wait()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def serving(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    """One with the usual limits."""
    async with served(tmp_path_factory.mktemp("usual"), 512) as one:
        yield one


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def hurried(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Serving]:
    """One that has a second for everything."""
    limits = ("HEAD_S=1", "BODY_S=1", "REST_S=1", "UNREAD_S=1")
    async with served(tmp_path_factory.mktemp("hurried"), 600, *limits) as one:
        yield one


async def push(writer: asyncio.StreamWriter, reader: asyncio.StreamReader, body: bytes) -> int:
    """Send a body to the end, or until the server ends it; the status that it was answered with."""
    status = asyncio.create_task(status_of(reader))
    try:
        for start in range(0, len(body), MEBIBYTE):
            writer.write(body[start : start + MEBIBYTE])
            await writer.drain()
    except ConnectionError:
        pass  # it had answered by then
    return await status


@pytest.mark.parametrize("chunked", [False, True])
async def test_large_bodies_without_a_token_take_no_memory(
    serving: Serving,
    chunked: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Six bodies of 16 MiB at once: 401 each, and the process grows by a few reads (ADR 0015)."""
    assert await serving.status(head("GET", "/v1/things", bearer())) == 200
    before = serving.memory()
    body = b"[" + b"[]," * (16 * MEBIBYTE // 3) + b"[]]"
    peak = before

    async def stranger() -> int:
        nonlocal peak
        size = "Transfer-Encoding: chunked\r\n" if chunked else f"Content-Length: {len(body)}\r\n"
        async with serving.connected() as (reader, writer):
            writer.write(head("POST", "/v1/things", "Content-Type: application/json\r\n", size))
            if chunked:
                writer.write(f"{len(body):x}\r\n".encode())
            status = await push(writer, reader, body)
            peak = max(peak, serving.memory())
            return status

    assert await asyncio.gather(*(stranger() for _ in range(6))) == [401] * 6
    assert peak - before < MOST_MEMORY, f"{(peak - before) // MEBIBYTE} MiB"


async def test_the_answer_comes_before_the_body(serving: Serving) -> None:
    """401 without a token, 403 without the scope, 413 for a size: not one byte of body was sent."""
    size, kind = f"Content-Length: {MEBIBYTE}\r\n", "Content-Type: application/json\r\n"
    for token, status in (("", 401), (bearer("things:read"), 403), (bearer(), 413)):
        assert await serving.status(head("POST", "/v1/things", kind, size, token)) == status


async def test_bodies_that_parse_large_share_a_bounded_room(serving: Serving) -> None:
    """100 bodies at once with a token, many times as large when parsed: each is answered."""
    body = json.dumps({f"{number:x}": [] for number in range(5000)}).encode()
    before = serving.memory()
    kind, size = "Content-Type: application/json\r\n", f"Content-Length: {len(body)}\r\n"
    request = head("POST", "/v1/things", kind, size, bearer()) + body
    answers = await asyncio.gather(*(serving.status(request) for _ in range(100)))
    assert set(answers) <= {200, 503}  # who found no room in time is told to come back
    assert answers.count(200) >= 32  # what the room holds at once
    grown = serving.memory() - before
    assert grown < 128 * MEBIBYTE, f"{grown // MEBIBYTE} MiB"


async def test_a_head_that_never_ends_is_cut(hurried: Serving) -> None:
    """A byte now and then (slow-loris) prolongs nothing."""
    async with hurried.connected() as (reader, writer):
        cut = asyncio.create_task(is_cut(reader))
        for byte in head("GET", "/v1/things", "X-Long: " + "x" * 10_000):
            if cut.done() or writer.is_closing():
                break
            writer.write(bytes([byte]))
            await asyncio.wait([cut], timeout=0.05)
        assert await cut


async def test_the_second_head_has_its_time_too(hurried: Serving) -> None:
    """A kept connection may be idle for long, but not begin a request and never end it."""
    async with hurried.connected() as (reader, writer):
        writer.write(head("GET", "/v1/things", bearer()))
        assert await status_of(reader) == 200
        writer.write(b"GET /v1/thi")
        assert await is_cut(reader)


async def test_connections_that_send_nothing_are_cut(hurried: Serving) -> None:
    """500 silent connections are all gone after the time for a head."""
    silent = [await asyncio.open_connection("127.0.0.1", hurried.port) for _ in range(500)]
    try:
        assert all(await asyncio.gather(*(is_cut(reader) for reader, _ in silent)))
    finally:
        for _, writer in silent:
            writer.transport.abort()


async def test_a_body_that_never_ends_is_408(hurried: Serving) -> None:
    """An operator's body has its time too, and the answer says so."""
    async with hurried.connected() as (reader, writer):
        kind, size = "Content-Type: application/json\r\n", "Content-Length: 1000\r\n"
        writer.write(head("POST", "/v1/things", kind, size, bearer()) + b"{")
        assert await status_of(reader) == 408
        assert await is_cut(reader)


async def test_a_body_that_nobody_wants_is_dropped_for_a_while_only(hurried: Serving) -> None:
    """After a 401 the rest of the body may still come, but not for ever."""
    async with hurried.connected() as (reader, writer):
        writer.write(head("POST", "/v1/things", "Content-Length: 1000000\r\n") + b"{")
        assert await status_of(reader) == 401
        assert await is_cut(reader)


async def test_an_answer_that_is_never_read_is_given_up(hurried: Serving) -> None:
    """64 MiB for a client that reads none of them do not wait for ever in the process."""
    async with hurried.connected() as (reader, writer):
        writer.write(head("GET", "/v1/things", bearer()))
        assert await status_of(reader) == 200
        connected = hurried.sockets()

        async def sockets() -> int:
            return hurried.sockets()

        reader._transport.pause_reading()  # type: ignore[attr-defined]  # asyncio has no other way
        writer.write(head("GET", "/v1/long", bearer()))
        await until(sockets, lambda count: count < connected)


async def test_the_many_do_not_lock_out_the_others(tmp_path: Path) -> None:
    """At the limit the connection that waited longest goes: probes and operators get in."""
    async with served(tmp_path, 50) as serving:
        silent = [await asyncio.open_connection("127.0.0.1", serving.port) for _ in range(200)]
        try:
            assert await serving.status(head("GET", "/healthz")) == 200
            assert await serving.status(head("GET", "/v1/things", bearer())) == 200
            assert serving.sockets() < 70  # those 50, the listener, and what the loop has
        finally:
            for _, writer in silent:
                writer.transport.abort()

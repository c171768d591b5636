"""A file sent while its answer already comes in: how an import tells of its progress.

HTTP allows it, most clients do not do it: they read nothing before everything is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from urllib.parse import urlencode, urlsplit

import h11

from voltbus.errors import CommandError
from voltbus.rest.client import refused, silent
from voltbus_backbone.tls import create_client_context

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from io import BufferedReader

    from voltbus.rest.service import Service

_PIECE = 64 * 1024
_PATIENCE_S = 120.0
_OK = 200


async def upload(
    service: Service,
    path: str,
    file: BufferedReader,
    *,
    params: Mapping[str, str],
    headers: Mapping[str, str],
    on_line: Callable[[bytes], None],
) -> None:
    """Send a file, and hand over each line of the answer as it comes. Holds a piece at a time.

    Raises:
        CommandError: the service refused it, or went away.
    """
    parts = urlsplit(service.url)
    secure = create_client_context() if parts.scheme == "https" else None
    port = parts.port or (443 if secure else 80)
    request = h11.Request(
        method="POST",
        target=f"{parts.path}{path}?{urlencode(params)}",
        headers=[
            ("Host", parts.netloc),
            ("Authorization", f"Bearer {service.token}"),
            ("Transfer-Encoding", "chunked"),
            ("Connection", "close"),
            *headers.items(),
        ],
    )
    try:
        reader, writer = await asyncio.open_connection(parts.hostname, port, ssl=secure)
    except OSError as failure:
        raise silent(service, failure) from None
    talk = _Talk(reader, writer)
    try:
        await talk.run(request, file, on_line)
    except (OSError, TimeoutError, h11.ProtocolError) as failure:
        raise silent(service, failure) from None
    finally:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()


class _Talk:
    """One request and its answer on a connection of their own."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._wire = h11.Connection(h11.CLIENT)

    async def run(
        self, request: h11.Request, file: BufferedReader, on_line: Callable[[bytes], None]
    ) -> None:
        """Send and read at the same time; the answer decides when it is over."""
        sending = asyncio.create_task(self._send(request, file))
        try:
            await self._read(on_line)
        finally:
            sending.cancel()
            (sent,) = await asyncio.gather(sending, return_exceptions=True)
        if isinstance(sent, Exception) and not isinstance(sent, OSError):
            raise sent

    async def _send(self, request: h11.Request, file: BufferedReader) -> None:
        self._write(request)
        # What is there, not a full piece: a pipe's lines are not held back.
        while piece := await asyncio.to_thread(file.read1, _PIECE):
            self._write(h11.Data(data=piece))
            await self._writer.drain()
        self._write(h11.EndOfMessage())
        await self._writer.drain()

    def _write(self, event: h11.Request | h11.Data | h11.EndOfMessage) -> None:
        self._writer.write(self._wire.send(event) or b"")

    async def _read(self, on_line: Callable[[bytes], None]) -> None:
        status, phrase, kept = 0, "", b""
        while not isinstance(event := await self._next(), h11.EndOfMessage):
            if isinstance(event, h11.Response):
                status, phrase = event.status_code, event.reason.decode("latin-1")
            elif isinstance(event, h11.Data):
                kept += event.data
                if status == _OK:
                    *lines, kept = kept.split(b"\n")
                    for line in lines:
                        on_line(line)
        if status != _OK:
            raise refused(status, phrase, kept)
        if kept:
            on_line(kept)

    async def _next(self) -> h11.Event:
        while (event := self._wire.next_event()) is h11.NEED_DATA:
            async with asyncio.timeout(_PATIENCE_S):
                self._wire.receive_data(await self._reader.read(_PIECE))
        if not isinstance(event, h11.Event) or isinstance(event, h11.ConnectionClosed):
            raise CommandError("the service closed the connection in the middle.")
        return event

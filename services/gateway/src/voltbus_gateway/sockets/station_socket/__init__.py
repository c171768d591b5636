"""The gateway's end of a station's WebSocket: its log-in, and whether the station is alive."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

from websockets.exceptions import ConnectionClosed

from voltbus_gateway.sockets.station_socket.paced import PacedSocket

if TYPE_CHECKING:
    from voltbus_gateway.door.login import LoginRequest
    from voltbus_gateway.settings import Settings

_INTERNAL_ERROR = 1011
_JUST_NOW_S = 1.0


class StationSocket(PacedSocket):
    """A socket with the result of its log-in.

    ``received_at``: when bytes came last, on the loop's clock; also part of a frame, behind which a
    pong has to wait. ``ponged``: it has answered a ping at some time.
    """

    login: LoginRequest | None = None
    credential_id: str = ""
    received_at: float = float("-inf")
    ponged: bool = False

    def data_received(self, data: bytes) -> None:
        """Take received bytes (asyncio calls this): any byte proves that the peer is alive."""
        self.received_at = self.loop.time()
        super().data_received(data)

    async def keep_alive(self, settings: Settings) -> None:
        """Ping until the socket is closed, and cut a dead peer off (1011).

        The library's own pings would take every station for dead that we do not read.
        """
        lives = True
        self.received_at = float("-inf")  # the opening request alone is no sign of life
        try:
            while lives:
                await asyncio.sleep(settings.ping_interval_s)
                lives = await self._ping_once(settings)
        except ConnectionClosed:
            return
        # close() waits for room to write first, and a dead peer may leave none.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.close_timeout_s):
                await self.close(_INTERNAL_ERROR, "keepalive ping timeout")
        self.transport.abort()

    async def probe(self, within_s: float) -> bool:
        """Ping the peer; return False when nothing arrives within ``within_s`` seconds.

        Bytes of the last second count as an answer, so that few pings go out.
        """
        asked_at = self.loop.time()
        if asked_at - self.received_at < _JUST_NOW_S:
            return True
        with contextlib.suppress(TimeoutError, ConnectionClosed):
            async with asyncio.timeout(within_s):
                await (await self.ping())
        return self.received_at >= asked_at

    async def _ping_once(self, settings: Settings) -> bool:
        """Ping once; False when nothing within the time-out speaks for the peer."""
        self.held = not self.transport.is_reading()
        self.taken = False
        unsent = self.transport.get_write_buffer_size()
        pinged_at = self.loop.time()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(settings.ping_timeout_s):
                await (await self.ping())
            self.ponged = True
            return True
        if self.taken or self.transport.get_write_buffer_size() < unsent:
            return True
        if unsent > settings.write_limit_bytes:
            return False  # it takes nothing of what we wrote, whatever it sends
        # Our not reading excuses it, and so does whatever came meanwhile. Some firmware answers no
        # ping ever: that is silent for long only when its heartbeats do not come either.
        patience = 0.0 if self.ponged else settings.ping_silence_s
        return self.held or self.received_at + patience > pinged_at

"""The listening side: connections that are slow, idle or too many cost only themselves.

uvicorn ends a connection that is idle between two requests, and nothing else: one whose first
request never comes, comes byte by byte, or whose answer is never read stays for ever, and
``limit_concurrency`` counts connections only once a whole request has come.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import h11
import uvicorn
from prometheus_client import Counter
from uvicorn.protocols.http.h11_impl import H11Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fastapi import FastAPI

# Longer than clients and load balancers keep an idle connection: they, not we, should drop it.
KEEP_ALIVE_S = 75
HEAD_S = 10.0  # for the head of a request
REST_S = 10.0  # for the rest of a body that nobody wants
REST_BYTES = 16 * 1024 * 1024
UNREAD_S = 60.0  # for a client to read what fills our write buffer
HEAD_BYTES = 32 * 1024

CUT = Counter("voltbus_http_cut_total", "HTTP connections closed by us, by reason", ["reason"])


class Connection(H11Protocol):
    """uvicorn's protocol with a time limit on everything that the client has to do."""

    most_connections = 512

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._dropped = 0
        self.waits_since = self.loop.time()

    @property
    def idle(self) -> bool:
        """Whether no request is under way."""
        cycle: Any = self.cycle  # None before the first request, whatever its annotation says
        return cycle is None or bool(cycle.response_complete)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take a connection; when there are too many, the one that waited longest goes."""
        super().connection_made(transport)
        if len(self.connections) > self.most_connections:
            waiting = [
                each for each in self.connections if isinstance(each, Connection) and each.idle
            ]
            min(waiting, key=lambda each: each.waits_since, default=self).cut("too-many")
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timers."""
        self._disarm()
        self._stop_waiting_for_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes, and see whether a time limit began or is over."""
        if self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            self._dropped += len(data)
            if self._dropped > REST_BYTES:
                self.cut("unwanted-body")
                return
        super().data_received(data)
        self._watch()

    def on_response_complete(self) -> None:
        """The answer is out; a body that is still coming is nobody's."""
        super().on_response_complete()
        self._dropped = 0
        self._watch()

    def pause_writing(self) -> None:
        """The client does not read."""
        super().pause_writing()
        if self._unread is None:
            self._unread = self.loop.call_later(UNREAD_S, self.cut, "unread-answer")

    def resume_writing(self) -> None:
        """It reads again."""
        self._stop_waiting_for_reader()
        super().resume_writing()

    def _watch(self) -> None:
        """Arm what fits the state that the connection is in now."""
        if self.transport.is_closing():
            self._disarm()
        elif self.conn.their_state is h11.IDLE:
            # Between requests uvicorn's own timer runs, until the first byte of the next.
            if self.timeout_keep_alive_task is None:
                self._await_head()
            else:
                self._disarm()
        elif self.conn.their_state is h11.SEND_BODY and self.conn.our_state is h11.DONE:
            self._unset_keepalive_if_required()
            self._arm(REST_S, "unwanted-body")
        else:
            self._disarm()

    def _await_head(self) -> None:
        self._arm(HEAD_S, "slow-head")

    def _arm(self, seconds: float, reason: str) -> None:
        """Start a time limit, unless one runs: a byte now and then does not prolong it."""
        if self._deadline is None:
            self.waits_since = self.loop.time()
            self._deadline = self.loop.call_later(seconds, self.cut, reason)

    def _disarm(self) -> None:
        self.waits_since = self.loop.time()
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _stop_waiting_for_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def cut(self, reason: str) -> None:
        """End the connection now."""
        CUT.labels(reason).inc()
        self._disarm()
        self.transport.abort()


class Server(uvicorn.Server):
    """uvicorn without its own signal handling: the process has one way to end."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals alone."""
        yield


def make_server(app: FastAPI, *, most_connections: int) -> Server:
    """A server for an app with so many connections at most."""
    protocol = type("Connection", (Connection,), {"most_connections": most_connections})
    return Server(
        uvicorn.Config(
            app,
            http=protocol,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            loop="none",
            timeout_keep_alive=KEEP_ALIVE_S,
            h11_max_incomplete_event_size=HEAD_BYTES,
            server_header=False,
        )
    )

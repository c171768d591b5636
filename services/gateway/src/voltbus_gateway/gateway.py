"""A gateway put together from its parts, with its orderly end.

``__main__`` gives it the process's bus and clock; tests give it theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING, Protocol

from voltbus_backbone.bus.ports import Publishing
from voltbus_backbone.contract import values
from voltbus_backbone.errors import Unavailable
from voltbus_gateway.beats import BeatPublisher
from voltbus_gateway.calls.handlers import CallHandler
from voltbus_gateway.commands.sender import CommandSender
from voltbus_gateway.connection.connection import GOING_AWAY, SERVICE_RESTART
from voltbus_gateway.connection.flow import Flow
from voltbus_gateway.domain.wire.schemas import preload
from voltbus_gateway.door.login import LoginHandler
from voltbus_gateway.reports.contests import ContestReports
from voltbus_gateway.reports.refusals import Refusals
from voltbus_gateway.reports.repairs import RepairReports
from voltbus_gateway.reports.reports import Reports
from voltbus_gateway.reports.unknown_properties import UnknownProperties
from voltbus_gateway.sockets.connections import ConnectionRegistry
from voltbus_gateway.sockets.listeners import StationListeners

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.bus.rpc import Requester
    from voltbus_gateway.settings import Settings

# How the grace period is shared out: calls in flight, closing what is left, the last events.
_CALLS_SHARE = 0.6
_CLOSING_SHARE = 0.2
_LAST_WORDS_SHARE = 0.15


class Bus(Publishing, Protocol):
    """A publisher that knows how long its oldest record has been waiting."""

    def pending_s(self) -> float:
        """Seconds; 0 when nothing waits."""
        ...


class Gateway:
    """One gateway process, without the process.

    ``stopping`` says that the process is ending: from then on no station is admitted.
    Order: ``start``, ``run`` until the end, ``stop`` while ``run`` goes on.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        bus: Bus,
        source: str,
        now: Callable[[], datetime],
        stopping: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._bus = bus
        self._source = source
        self._now = now
        self._clock = clock
        self._stopping = stopping
        self._sending_away: asyncio.Task[None] | None = None
        self._reports = Reports(bus, retry_s=settings.retry_s)
        self.connections: ConnectionRegistry
        self.refusals: Refusals
        self.listeners: StationListeners
        self._login_handler: LoginHandler
        self._beats: BeatPublisher

    async def on_message(self, event: Event) -> None:
        """Take a record of our inbox that is no answer."""
        await self.connections.on_message(event)

    async def start(self, requester: Requester) -> None:
        """Listen for stations.

        Raises:
            SettingsError: the address cannot be listened on.
        """
        for protocol in values.Protocol:
            preload(protocol)
        settings = self._settings
        flow = Flow(settings.max_in_flight, settings.max_in_flight_bytes)
        repair_reports = RepairReports(
            reports=self._reports, source=self._source, now=self._now, clock=self._clock
        )
        handlers = CallHandler(
            settings,
            requester=requester,
            repair_reports=repair_reports,
            publisher=self._bus,
            source=self._source,
            flow=flow,
            now=self._now,
            clock=self._clock,
        )
        unknown_properties = UnknownProperties(self._clock)
        calls = CommandSender(
            reports=self._reports,
            unknown_properties=unknown_properties,
            repair_reports=repair_reports,
            source=self._source,
            longest_timeout_s=settings.longest_call_timeout_s,
            now=self._now,
        )
        self.refusals = self._make_refusals(requester)
        contests = self._make_contests()
        self.connections = ConnectionRegistry(
            settings,
            handlers=handlers,
            publisher=self._bus,
            reports=self._reports,
            calls=calls,
            unknown_properties=unknown_properties,
            refusals=self.refusals,
            contests=contests,
            source=self._source,
            partition=requester.partition,
            now=self._now,
            clock=self._clock,
        )
        self._beats = self._make_beats(requester)
        self._login_handler = self._make_login_handler(requester, contests)
        self.listeners = StationListeners(
            settings,
            login_handler=self._login_handler,
            connections=self.connections,
            flow=flow,
            refusals=self.refusals,
            clock=self._clock,
        )
        await self.listeners.start()

    def _make_refusals(self, requester: Requester) -> Refusals:
        return Refusals(
            publisher=self._bus,
            requester=requester,
            gateway_id=self._settings.instance_id,
            source=self._source,
            deadline_s=self._settings.login_deadline_s,
            now=self._now,
            clock=self._clock,
        )

    def _make_contests(self) -> ContestReports:
        return ContestReports(
            publisher=self._bus,
            gateway_id=self._settings.instance_id,
            source=self._source,
            now=self._now,
            clock=self._clock,
        )

    def _make_beats(self, requester: Requester) -> BeatPublisher:
        settings = self._settings
        return BeatPublisher(
            publisher=self._bus,
            pending_s=self._bus.pending_s,
            gateway_id=settings.instance_id,
            partition=requester.partition,
            source=self._source,
            connections=self.connections.count,
            now=self._now,
            clock=self._clock,
            beat_s=settings.beat_s,
            outage_s=settings.outage_s,
            retry_s=settings.retry_s,
        )

    def _make_login_handler(self, requester: Requester, contests: ContestReports) -> LoginHandler:
        return LoginHandler(
            self._settings,
            requester,
            open_now=self.is_open,
            connections=self.connections.count,
            remaining_hold_s=lambda name: contests.remaining_hold_s(
                name, self.connections.find(name)
            ),
            clock=self._clock,
        )

    def is_storing(self) -> bool:
        """Return whether Kafka stores what we publish."""
        return self._beats.storing

    def is_open(self) -> bool:
        """Return whether stations are admitted."""
        return self._beats.storing and not self._stopping()

    async def run(self) -> None:
        """Beat, and watch Kafka, until cancelled."""
        await self._beats.run(self._send_away)

    async def watch_certificates(self) -> None:
        """Reload new TLS files, until cancelled."""
        while True:
            await asyncio.sleep(self._settings.tls_reload_s)
            await self.reload_tls()

    async def reload_tls(self) -> None:
        """Reload new TLS files and close connections that are no longer trusted."""
        settings = self._settings
        trust = await self.listeners.reload_tls()
        if trust is not None and settings.tls_close_distrusted:
            await self.connections.close_distrusted(
                trust, batch=settings.close_batch, pause_s=settings.close_pause_s
            )

    def _send_away(self) -> None:
        """Close all connections: an offline station queues its transactions."""
        settings = self._settings
        if self._sending_away is None or self._sending_away.done():
            self._sending_away = asyncio.create_task(
                self.connections.close_all(
                    SERVICE_RESTART,
                    "Try again later",
                    batch=settings.close_batch,
                    pause_s=settings.close_pause_s,
                )
            )

    async def stop(self) -> None:
        """Stop accepting, finish the calls in flight, close, publish the last events."""
        grace = self._settings.grace_s
        self.listeners.stop_accepting()
        await self._close_all(grace)
        if self._sending_away is not None:
            self._sending_away.cancel()
        last = self._beats.leave()
        async with _limit(grace * _LAST_WORDS_SHARE):
            await self._reports.settle()
            with contextlib.suppress(Unavailable):
                await last
        self._reports.close()
        self.refusals.close()
        self._login_handler.close()

    async def _close_all(self, grace: float) -> None:
        settings = self._settings
        batches = max(1.0, grace * _CALLS_SHARE / 2 / max(settings.close_pause_s, 0.001))
        batch = max(settings.close_batch, int(self.connections.count() / batches) + 1)
        async with _limit(grace * _CALLS_SHARE):
            await self.connections.leave_all(
                GOING_AWAY, "Going away", batch=batch, pause_s=settings.close_pause_s
            )
            await self.connections.wait_until_empty()
        async with _limit(grace * _CLOSING_SHARE):
            await self.connections.close_all(
                GOING_AWAY, "Going away", batch=batch, pause_s=settings.close_pause_s
            )
            await self.connections.wait_until_empty()


@contextlib.asynccontextmanager
async def _limit(seconds: float) -> AsyncIterator[None]:
    """Stop waiting after so many seconds, without an error."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            yield

"""The gateway's sign of life on `stations.events`, and by it whether Kafka stores at all.

While it does not, the gateway is not ready and sends its stations away: an offline station queues
its transactions, an online one whose messages are refused burns its retries.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.registry import GATEWAY_BEAT
from voltbus_backbone.contract.stations import GatewayBeat
from voltbus_gateway.metrics import OUTAGE

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_backbone.bus.ports import Publishing

log = structlog.get_logger(__name__)

_LATE_S = 0.05  # a timer is rarely exact


class LoopClock:
    """Measures how long the event loop has run on time since a moment, without its delays.

    While our own loop stands still nobody reads acknowledgements; that says nothing of Kafka.
    """

    def __init__(self, every_s: float) -> None:
        self._every_s = every_s
        self._last: float | None = None
        self._lost: deque[tuple[float, float]] = deque()

    def record_tick(self, now: float) -> None:
        """Record a check that is due every ``every_s``."""
        if self._last is not None and now - self._last > self._every_s + _LATE_S:
            self._lost.append((now, now - self._last - self._every_s))
        self._last = now

    def elapsed_s(self, moment: float, now: float) -> float:
        """Return the seconds since the moment in which the loop ran on time."""
        lost = sum(min(late_s, at - moment) for at, late_s in self._lost if at > moment)
        return now - moment - lost

    def forget(self, moment: float) -> None:
        """Forget delays before this moment."""
        while self._lost and self._lost[0][0] <= moment:
            self._lost.popleft()


class BeatPublisher:
    """Publishes a beat every ``beat_s``; checks the bus every ``look_s``.

    Kafka is away when a publish has been pending for ``outage_s`` or none has succeeded for so
    long, counting only time in which our own loop ran on time. It is back when a beat is stored.
    ``pending_s`` is the publisher's own view, under load faster than the beats.
    """

    def __init__(
        self,
        *,
        publisher: Publishing,
        pending_s: Callable[[], float],
        gateway_id: str,
        partition: int,
        source: str,
        connections: Callable[[], int],
        now: Callable[[], datetime],
        clock: Callable[[], float],
        beat_s: float,
        outage_s: float,
        retry_s: float,
        look_s: float = 0.25,
    ) -> None:
        self._publisher = publisher
        self._pending_s = pending_s
        self._gateway_id = gateway_id
        self._partition = partition
        self._source = source
        self._connections = connections
        self._now = now
        self._clock = clock
        self._started_at = now()
        self._beat_s = beat_s
        self._outage_s = outage_s
        self._retry_s = min(retry_s, beat_s)
        self._look_s = look_s
        self._on_time = LoopClock(look_s)
        self._beating: asyncio.Future[None] | None = None
        self._beat_at = float("-inf")
        self._count = 0
        self._failing_since: float | None = None
        self._left = False
        self.storing = True

    async def run(self, on_outage: Callable[[], None]) -> None:
        """Beat until cancelled; ``on_outage`` is called once per outage."""
        while True:
            before = self.storing
            self.check()
            if before and not self.storing:
                on_outage()
            await asyncio.sleep(self._look_s)

    def check(self) -> None:
        """Publish a beat when it is due, and check whether Kafka answers."""
        now = self._clock()
        self._on_time.record_tick(now)
        if self._beating is None and not self._left:
            healthy = self.storing and self._failing_since is None
            pause = self._beat_s if healthy else self._retry_s
            if now - self._beat_at >= pause:
                self._beat(now)
        if not self.storing:
            return
        waiting_since = now - self._pending_s()
        if self._beating is not None:
            waiting_since = min(waiting_since, self._beat_at)
        if self._failing_since is not None:
            waiting_since = min(waiting_since, self._failing_since)
        self._on_time.forget(waiting_since)
        if self._on_time.elapsed_s(waiting_since, now) >= self._outage_s:
            self.storing = False
            OUTAGE.set(1)
            log.error("kafka.away", connections=self._connections())

    def leave(self) -> asyncio.Future[None]:
        """Publish the last beat of an orderly end."""
        self._left = True
        return self._publisher.publish([self._make_record(leaving=True)])

    def _beat(self, now: float) -> None:
        self._beat_at = now
        self._beating = self._publisher.publish([self._make_record(leaving=False)])
        self._beating.add_done_callback(self._handle_beat)

    def _handle_beat(self, beat: asyncio.Future[None]) -> None:
        self._beating = None
        if beat.cancelled() or beat.exception() is not None:
            if self._failing_since is None:
                self._failing_since = self._beat_at
            return
        self._failing_since = None
        if not self.storing:
            self.storing = True
            OUTAGE.set(0)
            log.info("kafka.back")

    def _make_record(self, *, leaving: bool) -> envelope.Record:
        now = self._now()
        self._count += 1
        message = GatewayBeat(
            gateway_id=self._gateway_id,
            gateway_partition=self._partition,
            connections=self._connections(),
            at=now,
            leaving=leaving,
            started_at=self._started_at,
        )
        return envelope.event(
            GATEWAY_BEAT,
            message,
            id=f"{int(now.timestamp() * 1000):011x}/beat/{self._count}",
            source=self._source,
            now=now,
        )

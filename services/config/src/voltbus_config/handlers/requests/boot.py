"""BootNotifications and registrations: what a station is answered, and when calls may follow."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_backbone.contract.config import (
    Boot,
    BootAnswer,
    Registration,
)
from voltbus_backbone.contract.registry import (
    STATION_BOOTED,
)
from voltbus_backbone.contract.stations import StationBooted
from voltbus_config.domain import stations as station_rules
from voltbus_config.domain.outgoing import OutgoingMessage
from voltbus_config.domain.stations import Intervals, RegisteredStation

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Event
    from voltbus_config.handlers.context import ServiceContext
    from voltbus_config.handlers.reconciler import Reconciler
    from voltbus_config.handlers.requests.batch import Batch


class BootHandler:
    """Answers Boots and registrations."""

    def __init__(self, context: ServiceContext, reconciler: Reconciler) -> None:
        self._context = context
        self._reconciler = reconciler
        settings = context.settings
        self._policy = settings.unknown_station
        self._intervals = Intervals(heartbeat_s=settings.heartbeat_s, retry_s=settings.boot_retry_s)

    def apply(
        self,
        event: Event,
        stations: dict[str, RegisteredStation],
        touched: dict[str, RegisteredStation],
        batch: Batch,
        now: datetime,
    ) -> BootAnswer:
        """Apply a Boot and return its answer.

        ``stations`` and ``touched`` (those to be stored) are changed in place.
        """
        boot: Boot = event.message
        before = stations.get(boot.station_id)
        after = station_rules.apply_boot(before, boot, event.id, self._policy, now)
        status = self._policy if after is None else after.registration
        if after is None or after is not before:
            batch.messages.append(_build_booted(event, boot, status.ocpp))
        if after is not None:
            stations[boot.station_id] = after
            if after is not before:
                touched[boot.station_id] = after
            batch.booted[boot.station_id] = boot.connection_id
        interval = station_rules.choose_interval(status, boot.station_id, self._intervals)
        return BootAnswer(status=status.ocpp, interval=interval)

    def answer_registration(
        self, asked: Registration, stations: dict[str, RegisteredStation]
    ) -> BootAnswer:
        """Answer how a station stands that reconnected without a Boot (ocpp-rules A20, A21)."""
        status = station_rules.effective_registration(stations.get(asked.station_id), self._policy)
        interval = station_rules.choose_interval(status, asked.station_id, self._intervals)
        return BootAnswer(status=status.ocpp, interval=interval)

    async def release_calls_after_boot(self, batch: Batch) -> None:
        """Allow calls to booted stations, once the answer had the time to arrive."""
        if batch.booted:
            lag = timedelta(seconds=self._context.settings.boot_lag_s)
            await self._mark_ready(batch.booted, lag)

    async def release_calls_after_registration(self, events: Sequence[Event]) -> None:
        """Allow calls soon to stations whose first message was no Boot; one may still come."""
        said = {
            event.message.station_id: event.message.connection_id
            for event in events
            if isinstance(event.message, Registration) and event.message.connection_id
        }
        if said:
            await self._mark_ready(said, timedelta(seconds=self._context.settings.settle_s))

    async def _mark_ready(self, connections: dict[str, str], lag: timedelta) -> None:
        """Allow calls on these connections (by station) after ``lag``."""
        store, at = self._context.store, self._context.now() + lag
        await store.mark_ready(connections, at)
        # After the commit as well: a reconciliation in between has set a silent station's time.
        with store.reachable.watching():
            await store.schedule.mark_due(dict.fromkeys(connections, at))
        self._reconciler.wake(lag.total_seconds())


def _build_booted(event: Event, boot: Boot, status: str) -> OutgoingMessage:
    message = StationBooted(
        station_id=boot.station_id,
        protocol=boot.protocol,
        status=status,
        at=boot.at,
        vendor=boot.vendor,
        model=boot.model,
        serial_number=boot.serial_number,
        firmware_version=boot.firmware_version,
        reason=boot.reason,
        meter_type=boot.meter_type,
        meter_serial_number=boot.meter_serial_number,
    )
    return OutgoingMessage(STATION_BOOTED, message, f"booted:{event.id}")

"""Declares the connections of silent gateways lost (design: ownership of a connection).

It tells so in the stations' own log, where it takes its place among what gateways say: a station
that is elsewhere by then is not touched, since the event names the connection. A gateway that
beats again had only been slow, or unheard: its stations are told to be there after all.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.contract.registry import STATION_DISCONNECTED, STATION_SEEN
from voltbus_backbone.contract.stations import StationDisconnected, StationSeen
from voltbus_backbone.lookout import Lookout
from voltbus_config.domain.connections import LOST
from voltbus_config.domain.outgoing import OutgoingMessage

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_config.domain.connections import Presence
    from voltbus_config.handlers.context import ServiceContext

log = structlog.get_logger(__name__)

_MOST = 500
_LEASE = timedelta(seconds=30)


class GatewayMonitor:
    """Watches for gateways that restarted, came back or stopped sending beats."""

    def __init__(self, context: ServiceContext) -> None:
        self._context = context
        patience_s = context.settings.gateway_silence_s
        self._patience = timedelta(seconds=patience_s)
        self._lookout = Lookout(
            "silence", self.sweep, every_s=patience_s / 5, first_after_s=patience_s
        )

    async def run(self) -> None:
        """Watch for the life of the process.

        It begins after one patience: beats that came while nobody listened are read first.
        """
        await self._lookout.run()

    async def sweep(self) -> bool:
        """Deal with one gateway that restarted, is back or is silent; False when there is none."""
        store, now = self._context.store, self._context.now()
        restarted = await store.gateways.take_restarted(now, _LEASE)
        if restarted is not None:
            gateway_id, stale_before = restarted
            count = await self._lose_connections(gateway_id, now, before=stale_before)
            await store.gateways.finish_restart(gateway_id, stale_before)
            log.info("gateway.restarted", gateway_id=gateway_id, connections=count)
            return True
        back = await store.gateways.take_returned(now, _LEASE)
        if back is not None:
            gateway_id, started_at = back
            count = await self._restore_connections(gateway_id, started_at, now)
            await store.gateways.finish_return(gateway_id)
            log.info("gateway.back", gateway_id=gateway_id, connections=count)
            return True
        since = now - self._patience
        silent = await store.gateways.take_silent(since, now, _LEASE)
        if silent is None:
            return False
        count = await self._lose_connections(silent, now)
        await store.gateways.finish_silence(silent, since)
        if count:
            log.warning("gateway.silent", gateway_id=silent, connections=count)
        return True

    async def _lose_connections(
        self, gateway_id: str, now: datetime, before: datetime | None = None
    ) -> int:
        """Declare its connections lost, all or those from before a time; how many there were."""
        count, after = 0, ""
        while found := await self._context.store.load_connections(gateway_id, after, _MOST, before):
            await self._publish_lost(found, gateway_id, now)
            count += len(found)
            after = found[-1].id
        return count

    async def _restore_connections(
        self, gateway_id: str, started_at: datetime | None, now: datetime
    ) -> int:
        """Tell of its connections that were declared lost while it ran; how many there were."""
        count, after = 0, ""
        while found := await self._context.store.load_lost_connections(
            gateway_id, after, _MOST, started_at
        ):
            await self._publish([_build_seen(presence, now) for presence in found], now)
            count += len(found)
            after = found[-1].id
        return count

    async def _publish_lost(self, found: list[Presence], gateway_id: str, now: datetime) -> None:
        messages = [
            OutgoingMessage(
                STATION_DISCONNECTED,
                StationDisconnected(
                    station_id=presence.id,
                    connection_id=presence.connection.connection_id,
                    gateway_id=gateway_id,
                    at=now,
                    reason=LOST,
                ),
                f"lost:{presence.connection.connection_id}",
            )
            for presence in found
            if presence.connection is not None
        ]
        await self._publish(messages, now)

    async def _publish(self, messages: list[OutgoingMessage], now: datetime) -> None:
        await self._context.store.transact(
            lambda session: self._context.add_to_outbox(messages, now, session)
        )
        self._context.outbox.wake()


def _build_seen(presence: Presence, now: datetime) -> OutgoingMessage:
    """Build the event that the station was connected when its gateway sent a beat."""
    connection = presence.connection
    assert connection is not None  # noqa: S101 - it was asked for by its connection
    return OutgoingMessage(
        STATION_SEEN,
        StationSeen(station_id=presence.id, connection_id=connection.connection_id, at=now),
        f"back:{connection.connection_id}:{now.timestamp()}",
    )

"""Declares the connections of silent gateways lost (design: ownership of a connection).

It tells so in the stations' own log, where it takes its place among what gateways say: a station
that is elsewhere by then is not touched, since the event names the connection.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.contract.registry import STATION_DISCONNECTED
from voltbus_backbone.contract.stations import StationDisconnected
from voltbus_backbone.errors import Unavailable
from voltbus_config.domain.connections import LOST
from voltbus_config.domain.emissions import Emission

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_config.domain.connections import Presence
    from voltbus_config.handlers.records import Shell

log = structlog.get_logger(__name__)

_MOST = 500
_LEASE = timedelta(seconds=30)


class Silence:
    """Watches for gateways that stopped beating."""

    def __init__(self, shell: Shell) -> None:
        self._shell = shell
        self._patience = timedelta(seconds=shell.settings.gateway_silence_s)

    async def run(self) -> None:
        """Watch for the life of the process.

        It begins after one patience: beats that came while nobody listened are read first.
        """
        wait = self._patience.total_seconds()
        while True:
            await asyncio.sleep(wait)
            wait = self._patience.total_seconds() / 5
            try:
                while await self.sweep():
                    pass
            except Unavailable as error:
                log.warning("silence.waiting", reason=str(error))

    async def sweep(self) -> bool:
        """Declare lost what one silent or restarted gateway had; False when there is none."""
        store, now = self._shell.store, self._shell.now()
        restarted = await store.gateways.take_restarted(now, _LEASE)
        if restarted is not None:
            gateway_id, stale_before = restarted
            count = await self._lose(gateway_id, now, before=stale_before)
            await store.gateways.renewed(gateway_id, stale_before)
            log.info("gateway.restarted", gateway_id=gateway_id, connections=count)
            return True
        since = now - self._patience
        silent = await store.gateways.take_silent(since, now, _LEASE)
        if silent is None:
            return False
        count = await self._lose(silent, now)
        await store.gateways.swept(silent, since)
        if count:
            log.warning("gateway.silent", gateway_id=silent, connections=count)
        return True

    async def _lose(self, gateway_id: str, now: datetime, before: datetime | None = None) -> int:
        """Declare its connections lost, all or those from before a time; how many there were."""
        count, after = 0, ""
        while found := await self._shell.store.connected_to(gateway_id, after, _MOST, before):
            await self._declare(found, gateway_id, now)
            count += len(found)
            after = found[-1].id
        return count

    async def _declare(self, found: list[Presence], gateway_id: str, now: datetime) -> None:
        emissions = [
            Emission(
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
        await self._shell.store.transact(lambda session: self._shell.tell(emissions, now, session))
        self._shell.outbox.wake()

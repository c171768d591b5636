"""What becomes of certificates that went out: the station's answer, and its next log-in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

from voltbus_auth.station_certificates.domain.application import ended, id_of_cause, seen
from voltbus_auth.station_certificates.domain.requests import STATION
from voltbus_auth.station_certificates.handlers.applications import COUNTED
from voltbus_backbone.contract.config import CommandChanged
from voltbus_backbone.contract.registry import COMMAND_CHANGED, STATION_CONNECTED
from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_auth.station_certificates.domain.application import Application
    from voltbus_auth.station_certificates.handlers.applications import Applications
    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.stations import StationConnected

log = structlog.get_logger(__name__)

TYPES = frozenset({COMMAND_CHANGED.name, STATION_CONNECTED.name})


class Following:
    """Keeps applications in step with ``commands.events`` and ``stations.events``."""

    def __init__(self, kept: Applications, *, now: Callable[[], datetime]) -> None:
        self._kept = kept
        self._now = now

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """Take note of a batch; nothing is answered."""
        todo: list[CommandChanged | StationConnected] = [
            event.message for event in events if _concerns(event.message)
        ]
        while todo:
            now = to_milliseconds(self._now())
            known = await self._kept.of_stations({message.station_id for message in todo})
            before = dict(known)
            for message in todo:
                for one in list(known.values()):
                    if one.station_id == message.station_id:
                        known[one.id] = _noted(one, message, now)
            changed = [one for one in known.values() if one is not before[one.id]]
            lost = await self._kept.write(
                changed, {one.id: before[one.id].revision for one in changed}
            )
            _count([one for one in changed if one.id not in lost])
            again = {known[one].station_id for one in lost}
            todo = [message for message in todo if message.station_id in again]
        return []


def _concerns(message: CommandChanged | StationConnected) -> bool:
    if isinstance(message, CommandChanged):
        return id_of_cause(message.cause) is not None
    return message.certificate_serial is not None


def _noted(
    one: Application, message: CommandChanged | StationConnected, now: datetime
) -> Application:
    if isinstance(message, CommandChanged):
        return ended(
            one,
            message.cause or "",
            message.status,
            message.answer_status,
            command_id=message.command_id,
            now=now,
        )
    return seen(one, (message.certificate_serial or "").lower().lstrip("0"), STATION, now)


def _count(changed: Sequence[Application]) -> None:
    for one in changed:
        COUNTED.labels(one.state.value).inc()
        log.info("certificate.followed", station=one.station_id, state=one.state.value)

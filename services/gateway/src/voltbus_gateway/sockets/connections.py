"""The open connections of this process, by station, and the messages of services for them.

A station has one connection here: a second socket takes over at once, and the first is closed.
Every event names its connection, so its readers can distinguish a late end from a new beginning.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from secrets import token_hex
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.gateway import CloseConnection, RegistrationChanged, SendCall
from voltbus_backbone.contract.registry import STATION_CONNECTED, STATION_DISCONNECTED
from voltbus_backbone.contract.stations import StationConnected, StationDisconnected
from voltbus_gateway.connection.connection import (
    POLICY_VIOLATION,
    SERVICE_RESTART,
    Connection,
    Takeover,
)
from voltbus_gateway.domain.session.registration import PENDING
from voltbus_gateway.domain.session.session import Session
from voltbus_gateway.metrics import CLOSED, CONNECTIONS, DROPPED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.bus.ports import Publishing
    from voltbus_backbone.contract.values import Protocol
    from voltbus_gateway.calls.handlers import CallHandler
    from voltbus_gateway.commands.sender import CommandSender
    from voltbus_gateway.connection.connection import Transport
    from voltbus_gateway.domain.session.effects import CommandResult, Dispatch, Refusal
    from voltbus_gateway.door.client_trust import ClientTrust
    from voltbus_gateway.door.tls import ClientCertificate
    from voltbus_gateway.reports.contests import ContestReports
    from voltbus_gateway.reports.refusals import Refusals
    from voltbus_gateway.reports.reports import Reports
    from voltbus_gateway.reports.unknown_properties import UnknownProperties
    from voltbus_gateway.settings import Settings

log = structlog.get_logger(__name__)

# Our session's own deadline is the last resort after the handlers' deadlines.
_LAST_RESORT_S = 2.0
# So many pending stations that have left are remembered with what they were asked for.
_REMEMBERED = 10_000


class ConnectionRegistry:
    """The open connections, and the ``EffectHandler`` of each. Publishes through ``reports``."""

    def __init__(
        self,
        settings: Settings,
        *,
        handlers: CallHandler,
        publisher: Publishing,
        reports: Reports,
        calls: CommandSender,
        unknown_properties: UnknownProperties,
        refusals: Refusals,
        contests: ContestReports,
        source: str,
        partition: int,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._handlers = handlers
        self._publisher = publisher
        self._reports = reports
        self._calls = calls
        self._source = source
        self._partition = partition
        self._now = now
        self._clock = clock
        self._by_station: dict[str, Connection] = {}
        self._open: dict[str, Connection] = {}
        self._asked_for: OrderedDict[str, set[str]] = OrderedDict()
        self._unknown_properties = unknown_properties
        self._refusals = refusals
        self._contests = contests
        self._last_id = 0
        self._empty = asyncio.Event()
        self._empty.set()

    def count(self) -> int:
        """Return the number of open sockets, also of those that are being closed."""
        return len(self._open)

    def find(self, station_id: str) -> Connection | None:
        """Return the connection of this station, if it is here."""
        return self._by_station.get(station_id)

    def list_current(self) -> Iterable[Connection]:
        """Return the connection of each station that is here."""
        return self._by_station.values()

    # Sockets come and go.

    def register(
        self,
        *,
        station_id: str,
        protocol: Protocol,
        link: Transport,
        security_profile: int,
        credential_id: str = "",
        certificate: ClientCertificate | None = None,
        address: str = "",
    ) -> Connection:
        """Register an accepted socket as the station's connection, replacing an older one."""
        now = self._now()
        settings = self._settings
        connection = Connection(
            station_id=station_id,
            connection_id=self._new_id(now),
            session=Session(
                protocol,
                extras=settings.unknown_properties,
                facts=settings.station_facts,
                queue_limit=settings.calls_ahead,
                command_limit=settings.commands_ahead,
                answer_within=settings.answer_deadline_s
                + settings.registration_deadline_s
                + _LAST_RESORT_S,
            ),
            transport=link,
            effect_handler=self,
            connected_at=now,
            security_profile=security_profile,
            clock=self._clock,
            certificate=certificate,
            address=address,
        )
        # What a pending station was asked for may come on its next connection (B02.FR.09).
        connection.asked_for |= self._asked_for.pop(station_id, set())
        older = self._by_station.get(station_id)
        self._by_station[station_id] = connection
        self._open[connection.connection_id] = connection
        self._empty.clear()
        CONNECTIONS.labels(protocol.value).inc()
        self._publish_connected(connection, now, credential_id)
        if older is not None:
            connection.asked_for |= older.asked_for
            older.takeover = Takeover(connection.address, elsewhere=False)
            older.close(POLICY_VIOLATION, "The station has a newer connection")
        return connection

    def _new_id(self, now: datetime) -> str:
        """An id that no other connection has, in the order of this process's connections."""
        self._last_id = max(int(now.timestamp() * 1_000_000), self._last_id + 1)
        return f"{self._last_id:014x}{token_hex(6)}"

    def _publish_connected(self, connection: Connection, now: datetime, credential_id: str) -> None:
        certificate = connection.certificate
        message = StationConnected(
            station_id=connection.station_id,
            connection_id=connection.connection_id,
            gateway_id=self._settings.instance_id,
            gateway_partition=self._partition,
            protocol=connection.protocol,
            at=now,
            security_profile=connection.security_profile,
            credential_id=credential_id,
            certificate_serial=certificate.serial if certificate is not None else None,
            address=connection.address,
        )
        record = envelope.event(
            STATION_CONNECTED,
            message,
            id=f"{connection.connection_id}/connected",
            source=self._source,
            now=now,
        )
        stored = self._publisher.publish([record])

        def check(future: asyncio.Future[None]) -> None:
            # Nobody could reach a station that nobody knows to be here: let it come again.
            if (future.cancelled() or future.exception() is not None) and not connection.closed:
                connection.close(SERVICE_RESTART, "Not recorded, connect again")

        stored.add_done_callback(check)

    def unregister(
        self, connection: Connection, code: int, reason: str, *, answered: bool = False
    ) -> None:
        """Remove a closed socket. ``answered``: we closed it, and the peer confirmed."""
        if self._open.pop(connection.connection_id, None) is None:
            return
        if self._by_station.get(connection.station_id) is connection:
            del self._by_station[connection.station_id]
            self._remember(connection)
        connection.end()
        if answered:
            self._contests.record_takeover(connection)
        CONNECTIONS.labels(connection.protocol.value).dec()
        CLOSED.labels(str(code)).inc()
        for name, count in connection.dropped.items():
            DROPPED.labels(name).inc(count)
        now = self._now()
        message = StationDisconnected(
            station_id=connection.station_id,
            connection_id=connection.connection_id,
            gateway_id=self._settings.instance_id,
            at=now,
            code=code,
            reason=reason,
        )
        self._reports.report(
            envelope.event(
                STATION_DISCONNECTED,
                message,
                id=f"{connection.connection_id}/disconnected",
                source=self._source,
                now=now,
            )
        )
        if not self._open:
            self._empty.set()

    def _remember(self, connection: Connection) -> None:
        if connection.asked_for and connection.registration == PENDING:
            self._asked_for[connection.station_id] = connection.asked_for
            if len(self._asked_for) > _REMEMBERED:
                self._asked_for.popitem(last=False)

    # The effects of sessions (EffectHandler).

    def dispatch(self, connection: Connection, dispatch: Dispatch) -> None:
        """Hand a message of the station that can be used to the handlers."""
        if dispatch.extras:
            self._unknown_properties.report(connection, dispatch.call.action, dispatch.extras)
        self._handlers.handle(connection, dispatch)

    def end_command(self, connection: Connection, result: CommandResult) -> None:
        """Report the result of a call to the station."""
        self._calls.report_result(connection, result)

    def report_refusal(self, connection: Connection, refusal: Refusal) -> None:
        """Report that a message of the station was refused."""
        self._refusals.record_call(connection, refusal)

    # Messages of services (gateway.inbox).

    async def on_message(self, event: Event) -> None:
        """Schedule a record of our inbox that is no answer.

        It waits for its turn in the event loop, behind what an earlier answer has set going: a
        command that follows a BootNotification's answer must not overtake it.
        """
        asyncio.get_running_loop().call_soon(self._handle_event, event)

    def _handle_event(self, event: Event) -> None:
        """Handle an event and log its failure: nobody awaits this callback."""
        try:
            self.handle_message(event.decode())
        except Exception:
            log.exception("inbox.message.broke", type=event.type)

    def handle_message(self, message: object) -> None:
        """Carry out a message to this gateway."""
        if isinstance(message, SendCall):
            self._calls.send(message, self._by_station.get(message.station_id))
        elif isinstance(message, CloseConnection):
            connection = self._open.get(message.connection_id)
            if connection is not None:
                connection.takeover = Takeover(message.address, elsewhere=True)
                connection.close(message.code, message.reason)
        elif isinstance(message, RegistrationChanged):
            connection = self._by_station.get(message.station_id)
            if connection is not None:
                connection.registration = message.status
        else:
            log.warning("inbox.unexpected", type=type(message).__name__)

    # Closing many.

    async def close_all(self, code: int, reason: str, *, batch: int, pause_s: float) -> None:
        """Close every connection, a batch at a time: not the whole fleet returns at one moment."""
        await _send_off_in_batches(
            list(self._open.values()),
            lambda connection: connection.close(code, reason),
            batch=batch,
            pause_s=pause_s,
        )

    async def close_distrusted(self, trust: ClientTrust, *, batch: int, pause_s: float) -> None:
        """Close those whose certificate may not be trusted any more; the door decides on them."""
        distrusted = [
            connection
            for connection in self._open.values()
            if connection.certificate is not None
            and not trust.is_trusted(connection.certificate.certificate_id)
        ]
        reason = "The certificate is not trusted any more"
        await _send_off_in_batches(
            distrusted,
            lambda connection: connection.close(POLICY_VIOLATION, reason),
            batch=batch,
            pause_s=pause_s,
        )

    async def leave_all(self, code: int, reason: str, *, batch: int, pause_s: float) -> None:
        """As ``close_all``, but each one only when no call is in flight on it."""
        await _send_off_in_batches(
            list(self._open.values()),
            lambda connection: connection.leave(code, reason),
            batch=batch,
            pause_s=pause_s,
        )

    async def wait_until_empty(self) -> None:
        """Wait until no socket is open."""
        await self._empty.wait()


async def _send_off_in_batches(
    waiting: list[Connection],
    send_off: Callable[[Connection], None],
    *,
    batch: int,
    pause_s: float,
) -> None:
    """Send off so many at a time, with a pause between; those that are gone need it no more."""
    while waiting:
        for connection in waiting[:batch]:
            if not connection.closed:
                send_off(connection)
        waiting = waiting[batch:]
        if waiting:
            await asyncio.sleep(pause_s)

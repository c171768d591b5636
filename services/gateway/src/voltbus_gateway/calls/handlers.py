"""What becomes of a station's message: its row of the route table, carried out.

ANSWERED asks a service and waits; ACKNOWLEDGED answers once Kafka has the fact; LOCAL needs nobody.
What Kafka does not have is never acknowledged; what it has is confirmed even when a service is
silent, in the words of the row's ``on_silence``.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.config import Boot, BootAnswer, Registration
from voltbus_backbone.contract.registry import BOOT, REGISTRATION
from voltbus_backbone.errors import Refused, VoltbusError
from voltbus_gateway.calls.fact import Fact, error_of
from voltbus_gateway.connection.connection import POLICY_VIOLATION
from voltbus_gateway.domain.repairs.repair import to_sentences
from voltbus_gateway.domain.session import registration
from voltbus_gateway.domain.translation.fitting import fitted
from voltbus_gateway.domain.translation.route import Context, Mode, Route, fact_id
from voltbus_gateway.domain.translation.routes import route_of
from voltbus_gateway.domain.translation.translation import translate
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.frames import Call, Send
from voltbus_gateway.metrics import CALLS
from voltbus_gateway.reports.reports import give_up

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_backbone.bus.ports import Publishing
    from voltbus_backbone.bus.rpc import Requester
    from voltbus_backbone.contract.values import Message
    from voltbus_gateway.connection.connection import Connection
    from voltbus_gateway.connection.flow import Flow
    from voltbus_gateway.domain.session.effects import Dispatch
    from voltbus_gateway.domain.wire.frames import Payload
    from voltbus_gateway.reports.repairs import RepairReports
    from voltbus_gateway.settings import Settings

log = structlog.get_logger(__name__)

# config is silent about a station that proved who it is: it may go on for so long [P].
_PROVISIONAL_S = 30.0


class Handling:
    """One message of a station on its way."""

    __slots__ = ("call", "connection", "context", "done", "route", "size", "started")

    def __init__(
        self,
        connection: Connection,
        call: Call | Send,
        route: Route,
        context: Context,
        *,
        started: float,
        size: int,
    ) -> None:
        self.connection = connection
        self.call = call
        self.route = route
        self.context = context
        self.started = started
        self.size = size
        self.done = False


class Handlers:
    """Carries out messages for all connections of this process."""

    def __init__(
        self,
        settings: Settings,
        *,
        requester: Requester,
        repair_reports: RepairReports,
        publisher: Publishing,
        source: str,
        flow: Flow,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._requester = requester
        self._repair_reports = repair_reports
        self._publisher = publisher
        self._source = source
        self._flow = flow
        self._now = now
        self._clock = clock

    def handle(self, connection: Connection, dispatch: Dispatch) -> None:
        """Begin with a message that its session dispatched."""
        call = dispatch.call
        try:
            route = route_of(connection.protocol, call.action)
        except CallFailed as failure:
            if type(call) is Call:
                connection.fail(call, failure)
            return
        self._flow.enter(dispatch.size)
        if type(call) is not Call:
            connection.sends += 1
        context = Context(
            station_id=connection.station_id,
            connection_id=connection.connection_id,
            protocol=connection.protocol,
            now=self._now(),
            gateway_id=self._settings.instance_id,
            certificate_cn=connection.certificate_cn,
            repairs=to_sentences(dispatch.repairs) if dispatch.repairs else (),
        )
        if dispatch.repairs:
            self._repair_reports.report(connection, call.action, dispatch.repairs)
        self._admit(
            Handling(connection, call, route, context, started=self._clock(), size=dispatch.size)
        )

    # Registration (A20, A21).

    def _admit(self, one: Handling) -> None:
        """Ask config for a station that has not booted on this connection, then go on."""
        connection = one.connection
        if connection.registration is not None or one.route.row is BOOT:
            self._go(one, connection.registration)
        elif self._clock() < connection.provisional_until:
            self._go(one, registration.ACCEPTED)
        else:
            question = Registration(
                station_id=connection.station_id,
                protocol=connection.protocol,
                connection_id=connection.connection_id,
            )
            connection.registering += 1
            answer = self._requester.ask(
                REGISTRATION, question, deadline_s=self._settings.registration_deadline_s
            )
            answer.add_done_callback(partial(self._registered, one))

    def _registered(self, one: Handling, answer: asyncio.Future[Message]) -> None:
        connection = one.connection
        connection.registering -= 1
        known = answer.result() if error_of(answer) is None else None
        if isinstance(known, BootAnswer):
            connection.registration = known.status
            self._go(one, known.status)
            return
        # A station that is refused here gives up its transactions after a few tries. It has shown
        # its password, and a fleet must be able to reconnect while config is away.
        connection.provisional_until = self._clock() + _PROVISIONAL_S
        self._go(one, registration.ACCEPTED)

    def _go(self, one: Handling, state: str | None) -> None:
        try:
            registration.check_call(one.call.action, state, one.connection.asked_for)
            self._begin(one)
        except CallFailed as failure:
            self._fail(one, failure)
        except Exception as error:  # noqa: BLE001 - one message must not end the connection
            self._broken(one, error)

    # The route table's modes.

    def _begin(self, one: Handling) -> None:
        route, context = one.route, one.context
        if route.mode is Mode.REFUSED:
            raise CallFailed(ErrorCode.NOT_SUPPORTED, "This central system doesn't support it")
        if route.row is None or route.to_contract is None:
            self._answer(one, None)
            return
        told = translate(
            route, route.to_contract, one.call.payload, context, self._settings.station_facts
        )
        message = told.message
        if told.repairs:
            self._repair_reports.report(one.connection, one.call.action, told.repairs)
        if isinstance(message, Boot) and not self._serial_fits(one, message):
            return
        if route.mode is Mode.LOCAL:
            self._tell_now_and_then(one, message)
            self._answer(one, None)
        elif route.mode is Mode.ACKNOWLEDGED:
            stored = self._publisher.publish(self._records(one, message))
            stored.add_done_callback(partial(self._stored, one))
        elif route.row.fact:
            self._tell_and_ask(one, message)
        else:
            self._requester.ask_then(
                route.row,
                message,
                partial(self._answered, one),
                deadline_s=self._settings.answer_deadline_s,
            )

    def _serial_fits(self, one: Handling, boot: Boot) -> bool:
        """A certificate that names a serial number must be this station's (B01.FR.11/12).

        The door knows it from the register; a station need not repeat it, but not contradict it.
        """
        name = one.connection.certificate_cn
        said = {boot.serial_number, boot.box_serial_number} - {None}
        if name is None or name == one.connection.station_id or not said or name in said:
            return True
        log.warning("boot.serial_mismatch", station=one.connection.station_id)
        refusal = CallFailed(ErrorCode.SECURITY_ERROR, "The serial number is not the certificate's")
        self._fail(one, refusal)
        one.connection.close(POLICY_VIOLATION, "Serial number and certificate differ")
        return False

    def _records(self, one: Handling, message: Message) -> list[envelope.Record]:
        """The fact as records that Kafka takes: nearly always one."""
        fact = fitted(message)
        name = self._fact_id(one, message)
        first = self._part(one, fact.core, name)
        return [first, *self._parts(one, fact.after, name)]

    def _parts(
        self, one: Handling, messages: Sequence[Message], name: str
    ) -> list[envelope.Record]:
        """Further records of one fact; sent again, each has the same id again."""
        return [
            self._part(one, message, f"{name}/{number}")
            for number, message in enumerate(messages, 1)
        ]

    def _part(self, one: Handling, message: Message, name: str) -> envelope.Record:
        row = one.route.row
        assert row is not None  # noqa: S101 - checked by _begin
        return envelope.event(row, message, id=name, source=self._source, now=one.context.now)

    @staticmethod
    def _fact_id(one: Handling, message: Message) -> str:
        return fact_id(one.context, one.call, one.route, message)

    def _tell_now_and_then(self, one: Handling, message: Message) -> None:
        """A heartbeat is told at most once per ``seen_s``: its loss matters to nobody."""
        connection, now = one.connection, self._clock()
        if now - connection.seen_told_at >= self._settings.seen_s:
            connection.seen_told_at = now
            self._publisher.post(self._part(one, message, self._fact_id(one, message)))

    def _tell_and_ask(self, one: Handling, message: Message) -> None:
        row = one.route.row
        assert row is not None  # noqa: S101 - checked by _begin
        connection = one.connection
        if row is BOOT:
            connection.registering += 1
        fact = fitted(message)
        name = self._fact_id(one, message)
        stored, answered = self._requester.tell_and_ask(
            row,
            fact.core,
            id=name,
            deadline_s=self._settings.answer_deadline_s,
            before=self._parts(one, fact.before, name),
            after=self._parts(one, fact.after, name),
        )
        Fact(
            stored,
            answered,
            answered=partial(self._decided, one),
            silent=partial(self._silence, one),
            lost=partial(self._lost, one),
        )

    # Ends.

    def _stored(self, one: Handling, stored: asyncio.Future[None]) -> None:
        error = error_of(stored)
        if error is None:
            self._answer(one, None)
        else:
            self._not_stored(one, error)

    def _answered(self, one: Handling, answer: Message | VoltbusError) -> None:
        if isinstance(answer, VoltbusError):
            self._silence(one)
        else:
            self._decided(one, answer)

    def _decided(self, one: Handling, answer: Message) -> None:
        """A service has answered."""
        connection = one.connection
        if one.route.row is BOOT:
            connection.registering -= 1
            if isinstance(answer, BootAnswer):
                connection.registration = answer.status
                if answer.status != registration.PENDING:
                    connection.asked_for.clear()
        self._answer(one, answer)

    def _silence(self, one: Handling) -> None:
        """No service has answered in time; what Kafka was to have, it has."""
        if one.route.row is BOOT:
            one.connection.registering -= 1
        try:
            payload = one.route.on_silence(one.call.payload, one.context)
        except CallFailed as failure:
            self._fail(one, failure)
        else:
            self._finish(one, payload, "silence")

    def _lost(self, one: Handling, error: BaseException) -> None:
        if one.route.row is BOOT:
            one.connection.registering -= 1
        self._not_stored(one, error)

    def _not_stored(self, one: Handling, error: BaseException) -> None:
        """Kafka does not have it: never acknowledged, so that the station sends it again.

        What Kafka will never take is kept as a dead letter; sent again, it would be no other.
        """
        if isinstance(error, Refused):
            give_up(self._publisher, error, one.context.now)
            self._fail(one, CallFailed(ErrorCode.INTERNAL_ERROR, "This can never be recorded"))
        else:
            self._fail(one, CallFailed(ErrorCode.INTERNAL_ERROR, "Not recorded, try again"))

    def _answer(self, one: Handling, answer: Any) -> None:
        try:
            payload = one.route.to_ocpp(answer, one.call.payload, one.context)
        except CallFailed as failure:
            self._fail(one, failure)
        except Exception as error:  # noqa: BLE001 - one message must not end the connection
            self._broken(one, error)
        else:
            self._finish(one, payload, "answered")

    def _finish(self, one: Handling, payload: Payload, outcome: str) -> None:
        self._count(one, outcome)
        if type(one.call) is Call:
            one.connection.answer(one.call, payload)

    def _broken(self, one: Handling, error: Exception) -> None:
        log.error("call.broke", action=one.route.action, exc_info=error)
        self._fail(one, CallFailed(ErrorCode.INTERNAL_ERROR, "This call could not be handled"))

    def _fail(self, one: Handling, failure: CallFailed) -> None:
        self._count(one, failure.code.value)
        if type(one.call) is Call:
            one.connection.fail(one.call, failure)
        elif type(one.call) is Send:
            one.connection.drop(one.call, failure)

    def _count(self, one: Handling, outcome: str) -> None:
        if one.done:
            return
        one.done = True
        self._flow.leave(one.size)
        if type(one.call) is not Call:
            one.connection.sent()
        CALLS.count(one.route.protocol, one.route.action, outcome, self._clock() - one.started)

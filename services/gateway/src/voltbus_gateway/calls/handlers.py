"""Handles a station's message by its row of the route table.

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
from voltbus_gateway.calls.fact_request import FactRequest, get_error
from voltbus_gateway.connection.connection import POLICY_VIOLATION
from voltbus_gateway.domain.repairs.repair import to_sentences
from voltbus_gateway.domain.session import registration
from voltbus_gateway.domain.translation.fitting import fit
from voltbus_gateway.domain.translation.route import Context, Mode, Route, make_fact_id
from voltbus_gateway.domain.translation.routes import find_route
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


class InFlightMessage:
    """A message of a station that is being handled."""

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


class CallHandler:
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
        """Begin to handle a message that its session dispatched."""
        call = dispatch.call
        try:
            route = find_route(connection.protocol, call.action)
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
            certificate_cn=connection.certificate_cn,
            repairs=to_sentences(dispatch.repairs) if dispatch.repairs else (),
        )
        if dispatch.repairs:
            self._repair_reports.report(connection, call.action, dispatch.repairs)
        self._admit(
            InFlightMessage(
                connection, call, route, context, started=self._clock(), size=dispatch.size
            )
        )

    # Registration (A20, A21).

    def _admit(self, in_flight: InFlightMessage) -> None:
        """Ask config for a station that has not booted on this connection, then go on."""
        connection = in_flight.connection
        if connection.registration is not None or in_flight.route.row is BOOT:
            self._proceed(in_flight, connection.registration)
        elif self._clock() < connection.provisional_until:
            self._proceed(in_flight, registration.ACCEPTED)
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
            answer.add_done_callback(partial(self._apply_registration, in_flight))

    def _apply_registration(
        self, in_flight: InFlightMessage, answer: asyncio.Future[Message]
    ) -> None:
        connection = in_flight.connection
        connection.registering -= 1
        known = answer.result() if get_error(answer) is None else None
        if isinstance(known, BootAnswer):
            connection.registration = known.status
            self._proceed(in_flight, known.status)
            return
        # A station that is refused here gives up its transactions after a few tries. It has shown
        # its password, and a fleet must be able to reconnect while config is away.
        connection.provisional_until = self._clock() + _PROVISIONAL_S
        self._proceed(in_flight, registration.ACCEPTED)

    def _proceed(self, in_flight: InFlightMessage, state: str | None) -> None:
        try:
            registration.check_call(in_flight.call.action, state, in_flight.connection.asked_for)
            self._begin(in_flight)
        except CallFailed as failure:
            self._fail(in_flight, failure)
        except Exception as error:  # noqa: BLE001 - one message must not end the connection
            self._fail_broken(in_flight, error)

    # The route table's modes.

    def _begin(self, in_flight: InFlightMessage) -> None:
        route, context = in_flight.route, in_flight.context
        if route.mode is Mode.REFUSED:
            raise CallFailed(ErrorCode.NOT_SUPPORTED, "This central system doesn't support it")
        if route.row is None or route.to_contract is None:
            self._answer(in_flight, None)
            return
        translation = translate(
            route, route.to_contract, in_flight.call.payload, context, self._settings.station_facts
        )
        message = translation.message
        if translation.repairs:
            self._repair_reports.report(
                in_flight.connection, in_flight.call.action, translation.repairs
            )
        if isinstance(message, Boot) and not self._check_serial(in_flight, message):
            return
        if route.mode is Mode.LOCAL:
            self._publish_heartbeat(in_flight, message)
            self._answer(in_flight, None)
        elif route.mode is Mode.ACKNOWLEDGED:
            stored = self._publisher.publish(self._make_records(in_flight, message))
            stored.add_done_callback(partial(self._handle_stored, in_flight))
        elif route.row.fact:
            self._publish_and_ask(in_flight, message)
        else:
            self._requester.ask_then(
                route.row,
                message,
                partial(self._handle_answer, in_flight),
                deadline_s=self._settings.answer_deadline_s,
            )

    def _check_serial(self, in_flight: InFlightMessage, boot: Boot) -> bool:
        """A certificate that names a serial number must be this station's (B01.FR.11/12).

        The door knows it from the register; a station need not repeat it, but not contradict it.
        """
        name = in_flight.connection.certificate_cn
        said = {boot.serial_number, boot.box_serial_number} - {None}
        if name is None or name == in_flight.connection.station_id or not said or name in said:
            return True
        log.warning("boot.serial_mismatch", station=in_flight.connection.station_id)
        refusal = CallFailed(ErrorCode.SECURITY_ERROR, "The serial number is not the certificate's")
        self._fail(in_flight, refusal)
        in_flight.connection.close(POLICY_VIOLATION, "Serial number and certificate differ")
        return False

    def _make_records(self, in_flight: InFlightMessage, message: Message) -> list[envelope.Record]:
        """The fact as records that Kafka takes: nearly always one."""
        fact = fit(message)
        name = self._make_fact_id(in_flight, message)
        first = self._make_record(in_flight, fact.core, name)
        return [first, *self._make_parts(in_flight, fact.after, name)]

    def _make_parts(
        self, in_flight: InFlightMessage, messages: Sequence[Message], name: str
    ) -> list[envelope.Record]:
        """Further records of one fact; sent again, each has the same id again."""
        return [
            self._make_record(in_flight, message, f"{name}/{number}")
            for number, message in enumerate(messages, 1)
        ]

    def _make_record(
        self, in_flight: InFlightMessage, message: Message, name: str
    ) -> envelope.Record:
        row = in_flight.route.row
        assert row is not None  # noqa: S101 - checked by _begin
        return envelope.event(row, message, id=name, source=self._source, now=in_flight.context.now)

    @staticmethod
    def _make_fact_id(in_flight: InFlightMessage, message: Message) -> str:
        return make_fact_id(in_flight.context, in_flight.call, in_flight.route, message)

    def _publish_heartbeat(self, in_flight: InFlightMessage, message: Message) -> None:
        """Publish a heartbeat at most once per ``seen_s``; its loss does no harm."""
        connection, now = in_flight.connection, self._clock()
        if now - connection.heartbeat_published_at >= self._settings.seen_s:
            connection.heartbeat_published_at = now
            self._publisher.post(
                self._make_record(in_flight, message, self._make_fact_id(in_flight, message))
            )

    def _publish_and_ask(self, in_flight: InFlightMessage, message: Message) -> None:
        row = in_flight.route.row
        assert row is not None  # noqa: S101 - checked by _begin
        connection = in_flight.connection
        if row is BOOT:
            connection.registering += 1
        fact = fit(message)
        name = self._make_fact_id(in_flight, message)
        stored, answered = self._requester.tell_and_ask(
            row,
            fact.core,
            id=name,
            deadline_s=self._settings.answer_deadline_s,
            before=self._make_parts(in_flight, fact.before, name),
            after=self._make_parts(in_flight, fact.after, name),
        )
        FactRequest(
            stored,
            answered,
            on_answer=partial(self._apply_answer, in_flight),
            on_silence=partial(self._handle_silence, in_flight),
            on_loss=partial(self._handle_loss, in_flight),
        )

    # Ends.

    def _handle_stored(self, in_flight: InFlightMessage, stored: asyncio.Future[None]) -> None:
        error = get_error(stored)
        if error is None:
            self._answer(in_flight, None)
        else:
            self._fail_unstored(in_flight, error)

    def _handle_answer(self, in_flight: InFlightMessage, answer: Message | VoltbusError) -> None:
        if isinstance(answer, VoltbusError):
            self._handle_silence(in_flight)
        else:
            self._apply_answer(in_flight, answer)

    def _apply_answer(self, in_flight: InFlightMessage, answer: Message) -> None:
        """Take a service's answer and answer the station."""
        connection = in_flight.connection
        if in_flight.route.row is BOOT:
            connection.registering -= 1
            if isinstance(answer, BootAnswer):
                connection.registration = answer.status
                if answer.status != registration.PENDING:
                    connection.asked_for.clear()
        self._answer(in_flight, answer)

    def _handle_silence(self, in_flight: InFlightMessage) -> None:
        """Answer the station without a service's answer; a fact is stored by now."""
        if in_flight.route.row is BOOT:
            in_flight.connection.registering -= 1
        try:
            payload = in_flight.route.on_silence(in_flight.call.payload, in_flight.context)
        except CallFailed as failure:
            self._fail(in_flight, failure)
        else:
            self._finish(in_flight, payload, "silence")

    def _handle_loss(self, in_flight: InFlightMessage, error: BaseException) -> None:
        if in_flight.route.row is BOOT:
            in_flight.connection.registering -= 1
        self._fail_unstored(in_flight, error)

    def _fail_unstored(self, in_flight: InFlightMessage, error: BaseException) -> None:
        """Refuse what Kafka does not have, so that the station sends it again.

        What Kafka will never store becomes a dead letter; sending it again would not help.
        """
        if isinstance(error, Refused):
            give_up(self._publisher, error, in_flight.context.now)
            self._fail(
                in_flight, CallFailed(ErrorCode.INTERNAL_ERROR, "This can never be recorded")
            )
        else:
            self._fail(in_flight, CallFailed(ErrorCode.INTERNAL_ERROR, "Not recorded, try again"))

    def _answer(self, in_flight: InFlightMessage, answer: Any) -> None:
        try:
            payload = in_flight.route.to_ocpp(answer, in_flight.call.payload, in_flight.context)
        except CallFailed as failure:
            self._fail(in_flight, failure)
        except Exception as error:  # noqa: BLE001 - one message must not end the connection
            self._fail_broken(in_flight, error)
        else:
            self._finish(in_flight, payload, "answered")

    def _finish(self, in_flight: InFlightMessage, payload: Payload, outcome: str) -> None:
        self._count(in_flight, outcome)
        if type(in_flight.call) is Call:
            in_flight.connection.answer(in_flight.call, payload)

    def _fail_broken(self, in_flight: InFlightMessage, error: Exception) -> None:
        log.error("call.broke", action=in_flight.route.action, exc_info=error)
        self._fail(
            in_flight, CallFailed(ErrorCode.INTERNAL_ERROR, "This call could not be handled")
        )

    def _fail(self, in_flight: InFlightMessage, failure: CallFailed) -> None:
        self._count(in_flight, failure.code.value)
        if type(in_flight.call) is Call:
            in_flight.connection.fail(in_flight.call, failure)
        elif type(in_flight.call) is Send:
            in_flight.connection.drop(in_flight.call, failure)

    def _count(self, in_flight: InFlightMessage, outcome: str) -> None:
        if in_flight.done:
            return
        in_flight.done = True
        self._flow.leave(in_flight.size)
        if type(in_flight.call) is not Call:
            in_flight.connection.finish_send()
        CALLS.count(
            in_flight.route.protocol,
            in_flight.route.action,
            outcome,
            self._clock() - in_flight.started,
        )

"""Calls to stations on config's behalf: ``SendCall`` in, exactly one ``CallEnded`` out for each."""

from __future__ import annotations

from collections import OrderedDict
from math import inf
from typing import TYPE_CHECKING

from voltbus_backbone.bounds import CORE_BYTES, FACT_BYTES
from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.config import CallEnded, CallOutcome, RejectedBy
from voltbus_backbone.contract.registry import CALL_ENDED
from voltbus_gateway.domain.repairs.repair import to_sentences
from voltbus_gateway.domain.session import registration
from voltbus_gateway.domain.session.effects import CommandResult
from voltbus_gateway.domain.translation.fitting import shrink
from voltbus_gateway.domain.wire.errors import ErrorCode
from voltbus_gateway.metrics import COMMANDS
from voltbus_gateway.reports.reports import size_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.contract.gateway import SendCall
    from voltbus_gateway.connection.connection import Connection
    from voltbus_gateway.reports.repairs import RepairReports
    from voltbus_gateway.reports.reports import Reports
    from voltbus_gateway.reports.unknown_properties import UnknownProperties

# So many reports of calls that the station had are kept, and of so many bytes together.
_REMEMBERED = 10_000
_REMEMBERED_BYTES = 16 * 1024 * 1024
_MOST_ANSWER = FACT_BYTES - CORE_BYTES


class CommandSender:
    """Sends commands through connections and reports their ends.

    A SendCall that comes again while its call is on its way does nothing; one that comes after the
    station had the call gets the same report again: no connector is unlocked twice.
    """

    def __init__(
        self,
        *,
        reports: Reports,
        unknown_properties: UnknownProperties,
        repair_reports: RepairReports,
        source: str,
        longest_timeout_s: float,
        now: Callable[[], datetime],
    ) -> None:
        self._reports = reports
        self._unknown_properties = unknown_properties
        self._repair_reports = repair_reports
        self._source = source
        self._longest_timeout_s = longest_timeout_s
        self._now = now
        self._on_their_way: dict[str, SendCall] = {}
        self._reported: OrderedDict[str, Record] = OrderedDict()
        self._remembered = 0  # bytes

    def send(self, command: SendCall, connection: Connection | None) -> None:
        """Send a call to a station, or report why not."""
        if command.command_id in self._on_their_way:
            return
        reported = self._reported.get(command.command_id)
        if reported is not None:
            self._reports.report(reported)
            return
        if connection is None or connection.leaving:
            # config sends it again on the station's next connection.
            result = CommandResult(command.command_id, CallOutcome.NOT_CONNECTED)
            self._report(command, command.connection_id, result)
            return
        state = None if connection.registering else connection.registration
        # While we do not know, config, which sent this, does.
        if state is not None and not registration.may_send(command.action, state):
            self._report(command, connection.connection_id, _refuse(command, state))
            return
        asked = registration.find_requested_action(command.action, command.payload)
        if asked is not None:
            connection.asked_for.add(asked)
        self._on_their_way[command.command_id] = command
        connection.call(
            command, min(command.timeout_s, self._longest_timeout_s), self._remaining_s(command)
        )

    def report_result(self, connection: Connection, result: CommandResult) -> None:
        """Report the result of a call to a station."""
        command = self._on_their_way.pop(result.command_id, None)
        if command is not None:
            self._unknown_properties.report(connection, command.action, result.extras)
            self._repair_reports.report(connection, command.action, result.repairs)
            self._report(command, connection.connection_id, result)

    def _remaining_s(self, command: SendCall) -> float:
        """Return the seconds in which the call may still be sent; negative when too late."""
        until = command.not_after
        return inf if until is None else (until - self._now()).total_seconds()

    def _report(self, command: SendCall, connection_id: str, result: CommandResult) -> None:
        now = self._now()
        # An answer as large as a frame may come to more than a record holds.
        payload, repairs = (
            (None, ()) if result.payload is None else shrink(result.payload, _MOST_ANSWER)
        )
        message = CallEnded(
            command_id=command.command_id,
            station_id=command.station_id,
            connection_id=connection_id,
            outcome=result.outcome,
            at=now,
            payload=payload,
            error_code=result.error_code,
            error_description=result.error_description,
            attempt=command.attempt,
            late=result.late,
            unsent=result.unsent,
            rejected_by=result.rejected_by,
            repairs=(*to_sentences(result.repairs), *repairs),
        )
        record = envelope.event(
            CALL_ENDED,
            message,
            id=f"{command.command_id}/{command.attempt}/{connection_id}/{result.outcome}",
            source=self._source,
            now=now,
        )
        COMMANDS.labels(result.outcome.value).inc()
        if result.outcome is not CallOutcome.NOT_CONNECTED:
            self._remember(command.command_id, record)
        self._reports.report(record)

    def _remember(self, command_id: str, record: Record) -> None:
        self._reported[command_id] = record
        self._remembered += size_of(record)
        while len(self._reported) > _REMEMBERED or self._remembered > _REMEMBERED_BYTES:
            _, oldest = self._reported.popitem(last=False)
            self._remembered -= size_of(oldest)


def _refuse(command: SendCall, state: str) -> CommandResult:
    return CommandResult(
        command.command_id,
        CallOutcome.REJECTED,
        error_code=ErrorCode.SECURITY_ERROR.value,
        error_description=f"Not sent: the station's registration is {state}",
        unsent=True,
        rejected_by=RejectedBy.GATEWAY,
    )

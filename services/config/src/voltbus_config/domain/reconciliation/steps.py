"""The reconciliation of one station, step by step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_backbone.contract.config import CommandStatus, RejectedBy
from voltbus_backbone.contract.registry import STATION_STATE
from voltbus_backbone.contract.values import OpeningHours, Protocol
from voltbus_backbone.values.hours import is_open, next_change
from voltbus_config.domain import boot_requests, outgoing, shapes
from voltbus_config.domain import commands as command_rules
from voltbus_config.domain.commands import Command, Purpose, SettingRef
from voltbus_config.domain.compile import (
    SettingTarget,
    Unsupported,
    compile_calls,
)
from voltbus_config.domain.desired import (
    REFUSED,
    Desired,
    SettingState,
    StationSetting,
    apply_wanted,
    refuse,
)
from voltbus_config.domain.layers import OPENING_HOURS
from voltbus_config.domain.outgoing import OutgoingMessage
from voltbus_config.domain.reconciliation.command_results import (
    apply_command_result,
    build_setting_events,
)
from voltbus_config.domain.reconciliation.inputs import Decision
from voltbus_config.domain.reconciliation.station_state import publish_state
from voltbus_config.domain.stations import (
    RegisteredStation,
    Registration,
    effective_registration,
    sendable_registration,
)

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_config.domain.reconciliation.inputs import ReconcilerConfig, StationSnapshot

OPERATIVE, INOPERATIVE = "Operative", "Inoperative"


def reconcile(snapshot: StationSnapshot, now: datetime, config: ReconcilerConfig) -> Decision:
    """Decide what one station needs now.

    Args:
        snapshot: Everything that the decision depends on.
        now: The time of the decision, in UTC.
        config: What the operator configured.

    Returns:
        What is to be stored and sent. A second call on its outcome changes nothing.
    """
    return _Reconciliation(snapshot, now, config).decide()


class _Reconciliation:
    """The state of one reconciliation while its steps run."""

    def __init__(self, snapshot: StationSnapshot, now: datetime, config: ReconcilerConfig) -> None:
        self._snapshot = snapshot
        self._now = now
        self._config = config
        self._before = snapshot.desired
        self._desired = snapshot.desired
        self._commands = {command.id: command for command in snapshot.commands}
        self._decision = Decision(snapshot.desired)
        self._standing = effective_registration(snapshot.station, config.policy)
        self._reach = sendable_registration(snapshot.station)
        self._registration = (
            config.policy if snapshot.station is None else snapshot.station.registration
        )
        self._owes_boot = boot_requests.owes_boot(snapshot.station, config.policy)

    def decide(self) -> Decision:
        """Run all steps, in order."""
        for command in list(self._commands.values()):
            over = command_rules.end_if_overdue(command, self._now)
            if over is not None:
                self._store(over)
        station = self._snapshot.station
        if station is None:
            self._cancel_all()
        else:
            self._desired = apply_wanted(self._desired, self._snapshot.wanted, self._now)
            self._complete_restarts(station)
            self._apply_opening_hours()
            self._drop_stale_commands()
        self._request_boot()
        if self._snapshot.presence.ready(self._now):
            if self._reach is not Registration.REJECTED:
                self._compile()
            self._send()
        self._publish()
        return self._finish(self._next_due())

    # The steps.

    def _cancel_all(self) -> None:
        """Cancel what is queued for a station that is not registered (any more)."""
        for command in list(self._commands.values()):
            asks = self._owes_boot and command.purpose is Purpose.REGISTRATION
            if command.status is CommandStatus.QUEUED and not asks:
                self._store(command_rules.end_command(command, CommandStatus.CANCELLED, self._now))
        if self._desired.published:
            revision = self._desired.published_revision + 1
            self._desired = Desired(
                id=self._desired.id,
                revision=self._desired.revision,
                generation=self._desired.generation,
                published_revision=revision,
            )
            self._decision.messages.append(
                OutgoingMessage(
                    STATION_STATE,
                    None,
                    f"state:{self._snapshot.station_id}:{revision}",
                    key=self._snapshot.station_id,
                )
            )

    def _apply_opening_hours(self) -> None:
        """Mark opening hours pending again when one of their boundaries has passed."""
        item = self._desired.item(OPENING_HOURS)
        if item is None or item.command_id is not None or item.state is SettingState.PENDING:
            return
        target = self._target(item)
        known = item.tried if item.state in REFUSED else item.reported
        if known != target:
            self._replace(
                msgspec.structs.replace(
                    item, state=SettingState.PENDING, detail=None, attempts=0, retry_at=None
                )
            )

    def _complete_restarts(self, station: RegisteredStation) -> None:
        """Mark settings in sync that took effect by the restart before the last Boot."""
        boot = station.boot
        for item in self._desired.items:
            if (
                item.state is SettingState.REBOOT_REQUIRED
                and boot is not None
                and item.reported_at is not None
                and boot.at > item.reported_at
            ):
                self._replace(
                    msgspec.structs.replace(item, state=SettingState.IN_SYNC, detail=None)
                )

    def _drop_stale_commands(self) -> None:
        """Drop queued calls that are no longer wanted, or were made for another OCPP version."""
        protocol = self._protocol()
        for command in list(self._commands.values()):
            if command.purpose is not Purpose.SETTING or command.status is not CommandStatus.QUEUED:
                continue
            items = [self._desired.item(ref.key) for ref in command.settings]
            current = all(
                item is not None
                and item.command_id == command.id
                and self._target(item) == ref.target
                for item, ref in zip(items, command.settings, strict=True)
            )
            if current and command.protocol == protocol:
                continue
            self._store(command_rules.end_command(command, CommandStatus.CANCELLED, self._now))
            for item in items:
                if item is not None and item.command_id == command.id:
                    self._replace(
                        msgspec.structs.replace(item, command_id=None, state=SettingState.PENDING)
                    )
        for item in self._desired.items:
            if item.state in REFUSED and item.protocol is not None and item.protocol != protocol:
                self._replace(
                    msgspec.structs.replace(
                        item, state=SettingState.PENDING, detail=None, attempts=0
                    )
                )

    def _request_boot(self) -> None:
        """Ask a station for the BootNotification that it owes, once that may be sent."""
        if not self._owes_boot:
            self._desired = msgspec.structs.replace(self._desired, boot_request=None)
            return
        connection = self._snapshot.presence.connection
        at = self._next_boot_request_at()
        asking = any(each.purpose is Purpose.REGISTRATION for each in self._commands.values())
        if connection is None or at is None or at > self._now or asking:
            return
        if not self._snapshot.presence.ready(self._now):
            return
        command = boot_requests.build_request_command(
            self._config.new_id(self._now),
            self._snapshot.station_id,
            self._now,
            self._config.setting_timeout_s,
        )
        self._store(command)
        request = boot_requests.record_attempt(
            self._desired.boot_request,
            command,
            connection.connection_id,
            self._registration,
            self._now,
        )
        self._desired = msgspec.structs.replace(self._desired, boot_request=request)

    def _next_boot_request_at(self) -> datetime | None:
        """Return when the station is to be asked to boot on its connection."""
        connection = self._snapshot.presence.connection
        if not self._owes_boot or connection is None or not connection.open:
            return None
        return boot_requests.next_at(
            self._desired.boot_request, connection.connection_id, self._registration, self._now
        )

    def _compile(self) -> None:
        """Compile pending settings into queued calls."""
        protocol, station = self._protocol(), self._snapshot.station
        if protocol is None or station is None:
            return
        due = [
            item
            for item in self._desired.items
            if item.state is SettingState.PENDING
            and item.command_id is None
            and (item.retry_at is None or item.retry_at <= self._now)
        ]
        targets = [SettingTarget(item.key, self._target(item), item.since) for item in due]
        made, unsupported = compile_calls(protocol, targets, self._config.options(station))
        wanted = {target.key: target for target in targets}
        for item in due:
            if item.key in unsupported:
                item = msgspec.structs.replace(item, protocol=protocol)  # noqa: PLW2901 - the same
                self._replace(refuse(item, SettingState.UNSUPPORTED, unsupported[item.key]))
        for call in made:
            command = Command(
                id=self._config.new_id(self._now),
                station_id=self._snapshot.station_id,
                action=call.action,
                status=CommandStatus.QUEUED,
                purpose=Purpose.SETTING,
                created_at=self._now,
                payload=call.payload,
                settings=tuple(self._ref(key, wanted[key].value) for key in call.keys),
                notes=call.notes,
                protocol=protocol,
                timeout_s=self._config.setting_timeout_s,
            )
            self._store(command)
            for key in call.keys:
                item_now = self._desired.item(key)
                if item_now is not None:
                    self._replace(
                        msgspec.structs.replace(
                            item_now, command_id=command.id, tried=wanted[key].value, retry_at=None
                        )
                    )

    def _ref(self, key: str, target: Any) -> SettingRef:
        item = self._desired.item(key)
        return SettingRef(key=key, generation=item.generation if item else 0, target=target)

    def _send(self) -> None:
        """Send the next call in the station's queue, unless one is out already."""
        connection = self._snapshot.presence.connection
        if connection is None:
            return
        for command in command_rules.select_sendable(self._commands.values()):
            try:
                action, payload = shapes.build_call(command, connection.protocol)
            except Unsupported as error:
                self._store(
                    command_rules.end_command(
                        command,
                        CommandStatus.REJECTED,
                        self._now,
                        error_code="NotSupported",
                        error_description=str(error),
                        rejected_by=RejectedBy.CONFIG,
                    )
                )
                continue
            may_bring = self._owes_boot and boot_requests.brings_boot(action, payload)
            if may_bring or command_rules.is_allowed(action, self._reach):
                out = command_rules.mark_sent(command, connection, self._now, self._config.margin)
                self._store(out)
                self._decision.messages.append(
                    outgoing.build_send_call(out, action, payload, connection)
                )
                return

    def _publish(self) -> None:
        """Publish the station's state when it changed."""
        self._desired, outgoing = publish_state(
            self._snapshot, self._standing, self._desired, self._now
        )
        if outgoing is not None:
            self._decision.messages.append(outgoing)

    def _next_due(self) -> datetime | None:
        times: list[datetime | None] = [
            command_rules.deadline(each) for each in self._commands.values()
        ]
        times.append(self._snapshot.agreements_change)
        times.append(self._next_boot_request_at())
        connection = self._snapshot.presence.connection
        known = self._snapshot.station is not None or self._owes_boot
        if known and connection is not None and connection.open:
            times.append(connection.ready_at)
            times.extend(item.retry_at for item in self._desired.items)
            hours = self._desired.item(OPENING_HOURS)
            if hours is not None and hours.wanted is not None:
                times.append(next_change(_opening_hours(hours), self._now))
        return min((time for time in times if time is not None and time > self._now), default=None)

    def _finish(self, due: datetime | None) -> Decision:
        if self._desired != self._before:
            self._decision.desired_changed = True
            self._desired = msgspec.structs.replace(
                self._desired, revision=self._before.revision + 1
            )
            self._decision.messages.extend(
                build_setting_events(self._before, self._desired, self._now)
            )
        self._decision.desired = self._desired
        self._decision.due = due
        return self._decision

    # What the steps share.

    def _store(self, command: Command) -> None:
        """Keep a command's new state and publish it."""
        self._decision.commands[command.id] = command
        self._decision.messages.append(outgoing.build_command_changed(command, self._now))
        if command.status in command_rules.FINAL:
            self._commands.pop(command.id, None)
            if command.status is not CommandStatus.CANCELLED:
                self._desired = apply_command_result(self._desired, command, self._now)
        else:
            self._commands[command.id] = command

    def _replace(self, item: StationSetting) -> None:
        items = tuple(item if each.key == item.key else each for each in self._desired.items)
        self._desired = msgspec.structs.replace(self._desired, items=items)

    def _target(self, item: StationSetting) -> Any:
        if item.key != OPENING_HOURS:
            return item.wanted
        if item.wanted is None or is_open(_opening_hours(item), self._now):
            return OPERATIVE
        return INOPERATIVE

    def _protocol(self) -> Protocol | None:
        connection = self._snapshot.presence.connection
        return None if connection is None else connection.protocol


def _opening_hours(item: StationSetting) -> OpeningHours:
    return msgspec.convert(item.wanted, OpeningHours)

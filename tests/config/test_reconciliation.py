"""One station's settings and commands through any life, as a state machine (pure).

The machine plays the operator, the gateways, the station and the clock against ``decide``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from config.config_examples import NOW, ids
from voltbus_backbone.contract.config import (
    CallEnded,
    CallOutcome,
    CommandChanged,
    CommandRequested,
    CommandStatus,
)
from voltbus_backbone.contract.gateway import SendCall
from voltbus_backbone.contract.stations import StationState
from voltbus_backbone.contract.values import OpeningHours, Protocol
from voltbus_backbone.values.hours import is_open, next_change
from voltbus_config.domain import commands as command_rules
from voltbus_config.domain.boot_requests import MOST_ATTEMPTS, owes_boot
from voltbus_config.domain.commands import Purpose
from voltbus_config.domain.compile import CompileOptions
from voltbus_config.domain.connections import Connection, Presence
from voltbus_config.domain.desired import Desired, SettingState
from voltbus_config.domain.layers import WantedValue
from voltbus_config.domain.reconciliation import (
    Decision,
    ReconcilerConfig,
    StationSnapshot,
    apply_command_result,
    reconcile,
)
from voltbus_config.domain.stations import LastBoot, RegisteredStation, Registration

if TYPE_CHECKING:
    from voltbus_config.domain.commands import Command

SHOP = {"timezone": "Europe/Stockholm", "weekly": {"mon": [["06:00", "22:00"]]}}
WISHES: dict[str, Any] = {
    "charging_speed": [{"limit": 11000.0, "unit": "W"}, {"limit": 16.0, "unit": "A"}],
    "payment_methods": [["rfid"], ["app", "rfid"]],
    "opening_hours": [SHOP, {"timezone": "UTC", "weekly": {}}],
    "keys.HeartbeatInterval": ["60", "300"],
    "keys.OCPPCommCtrlr.HeartbeatInterval": ["60", "300"],
    "keys.AuthCtrlr.Enabled": ["true"],
}
REFUSING = {"status": "Rejected", "setVariableResult": []}


def accepting(call: SendCall) -> dict[str, Any]:
    """The answer of a station that does everything."""
    if call.action != "SetVariables":
        return {"status": "Accepted"}
    return {
        "setVariableResult": [
            {
                "attributeStatus": "Accepted",
                "component": each["component"],
                "variable": each["variable"],
            }
            for each in call.payload["setVariableData"]
        ]
    }


class Tended(RuleBasedStateMachine):
    """What may happen to a station."""

    @initialize(registration=st.sampled_from(list(Registration)))
    def begin(self, registration: Registration) -> None:
        self.now = NOW
        self.terms = ReconcilerConfig(new_id=ids(), options=lambda _: CompileOptions())
        self.ids = ids()
        self.connections = 0
        self.station: RegisteredStation = RegisteredStation(
            id="CS-1",
            registration=registration,
            revision=1,
            created_at=NOW,
            updated_at=NOW,
        )
        self.presence = Presence(id="CS-1")
        self.wanted: dict[str, WantedValue] = {}
        self.desired = Desired(id="CS-1")
        self.commands: dict[str, Command] = {}
        self.sent: list[SendCall] = []
        self.ends: dict[str, CommandStatus] = {}
        self.due: datetime | None = None
        self.states: list[int] = []
        self.look()

    # The handler around the decision.

    def case(self) -> StationSnapshot:
        waiting = [each for each in self.commands.values() if each.status in command_rules.OPEN]
        return StationSnapshot(
            "CS-1", self.station, self.presence, self.wanted, self.desired, waiting
        )

    def look(self) -> None:
        decision = reconcile(self.case(), self.now, self.terms)
        self.take(decision)
        again = reconcile(self.case(), self.now, self.terms)
        assert not again.desired_changed, "a second look changes the settings"
        assert not again.commands, "a second look changes commands"
        assert not again.messages, "a second look tells something"

    def take(self, decision: Decision) -> None:
        self.desired = decision.desired
        for command in decision.commands.values():
            self.keep(command)
        for outgoing in decision.messages:
            message = outgoing.message
            if isinstance(message, SendCall):
                self.sent.append(message)
            elif isinstance(message, StationState):
                self.states.append(message.revision)
            elif isinstance(message, CommandChanged):
                assert message.status in CommandStatus
        self.due = decision.due

    def keep(self, command: Command) -> None:
        before = self.commands.get(command.id)
        if before is not None:
            assert command.revision > before.revision
            assert command.status in command_rules.MOVES[before.status]
        if command.status in command_rules.FINAL:
            assert command.id not in self.ends, "a command ended twice"
            self.ends[command.id] = command.status
            assert command.payload is None
        self.commands[command.id] = command

    # The operator.

    @rule(key=st.sampled_from(sorted(WISHES)), choice=st.integers(0, 1))
    def wish(self, key: str, choice: int) -> None:
        values = WISHES[key]
        self.wanted = {
            **self.wanted,
            key: WantedValue(values[choice % len(values)], "station:CS-1"),
        }
        self.look()

    @rule(key=st.sampled_from(sorted(WISHES)))
    def unwish(self, key: str) -> None:
        self.wanted = {name: want for name, want in self.wanted.items() if name != key}
        self.look()

    @rule(
        action=st.sampled_from(["ClearCache", "reset", "remote_stop", "TriggerMessage"]),
        expires=st.sampled_from([None, 30]),
    )
    def ask(self, action: str, expires: int | None) -> None:
        payload = {"transaction_id": "T"} if action == "remote_stop" else {}
        request = CommandRequested(
            station_id="CS-1",
            action=action,
            payload=payload,
            expires_at=None if expires is None else self.now + timedelta(seconds=expires),
        )
        command = command_rules.create_command(
            f"op-{self.ids(self.now)}", request, self.now, timedelta(days=1)
        )
        self.keep(command)
        self.look()

    @rule(registration=st.sampled_from(list(Registration)))
    def register(self, registration: Registration) -> None:
        self.station = msgspec.structs.replace(self.station, registration=registration)
        self.look()

    # The station and its gateway.

    @rule(protocol=st.sampled_from(list(Protocol)))
    def connect(self, protocol: Protocol) -> None:
        self.connections += 1
        self.presence = Presence(
            id="CS-1",
            connection=Connection(
                connection_id=f"c-{self.connections}",
                gateway_id="g-1",
                gateway_partition=0,
                protocol=protocol,
                connected_at=self.now,
                ready_at=self.now + timedelta(seconds=1),
                open=True,
            ),
        )
        self.look()

    @precondition(lambda self: self.presence.connection is not None)
    @rule()
    def boot(self) -> None:
        self.station = msgspec.structs.replace(
            self.station,
            boot=LastBoot(
                event_id=f"boot-{self.connections}",
                at=self.now,
                status=self.station.registration,
                connection_id=f"c-{self.connections}",
            ),
        )
        self.look()

    @precondition(lambda self: self.presence.connection is not None)
    @rule()
    def disconnect(self) -> None:
        assert self.presence.connection is not None
        self.presence = msgspec.structs.replace(
            self.presence,
            connection=msgspec.structs.replace(self.presence.connection, open=False),
        )
        self.look()

    def out(self) -> SendCall | None:
        """The call that is out."""
        waiting = [each for each in self.commands.values() if each.status is CommandStatus.SENT]
        return self.sent[-1] if waiting else None

    def report(self, call: SendCall, outcome: CallOutcome, payload: dict[str, Any] | None) -> None:
        message = CallEnded(
            command_id=call.command_id,
            station_id="CS-1",
            connection_id=call.connection_id,
            outcome=outcome,
            at=self.now,
            payload=payload,
            error_code="InternalError" if outcome is CallOutcome.REJECTED else None,
        )
        after = command_rules.apply_result(self.commands[call.command_id], message, self.now)
        if after is not None:
            self.keep(after)
            if after.status in command_rules.FINAL:
                self.desired = apply_command_result(self.desired, after, self.now)
        self.look()

    @precondition(lambda self: self.out() is not None)
    @rule(
        outcome=st.sampled_from([each for each in CallOutcome if each is not CallOutcome.INVALID]),
        friendly=st.booleans(),
        again=st.booleans(),
    )
    def answer(self, outcome: CallOutcome, friendly: bool, again: bool) -> None:  # noqa: FBT001 - drawn
        call = self.out()
        assert call is not None
        payload = accepting(call) if friendly else REFUSING
        self.report(call, outcome, payload if outcome is CallOutcome.ANSWERED else None)
        if again:
            self.report(call, outcome, payload if outcome is CallOutcome.ANSWERED else None)

    # The clock.

    @rule(seconds=st.sampled_from([0.5, 2, 20, 60, 4000, 8 * 3600]))
    def wait(self, seconds: float) -> None:
        """Every time that was asked for is kept, in order."""
        until = self.now + timedelta(seconds=seconds)
        while self.due is not None and self.due <= until:
            assert self.due > self.now
            self.now = self.due
            self.look()
        self.now = until
        self.look()

    # What always holds.

    @invariant()
    def one_call_is_out(self) -> None:
        out = [each for each in self.commands.values() if each.status is CommandStatus.SENT]
        assert len(out) <= 1

    @invariant()
    def what_is_out_will_end(self) -> None:
        for command in self.commands.values():
            time = command_rules.deadline(command)
            if command.status in command_rules.OPEN and time is not None:
                assert time > self.now
                assert self.due is not None
                assert self.due <= time

    @invariant()
    def before_the_first_boot_nothing_is_sent_but_what_brings_it(self) -> None:
        if self.station.boot is None:
            assert {call.action for call in self.sent} <= {"TriggerMessage", "Reset"}
            assert all(
                call.payload["requestedMessage"] == "BootNotification"
                for call in self.sent
                if call.action == "TriggerMessage"
            )

    @invariant()
    def a_station_that_owes_a_boot_is_asked_or_will_be(self) -> None:
        connection, request = self.presence.connection, self.desired.boot_request
        if not owes_boot(self.station, self.terms.policy):
            assert request is None
        elif connection is not None and connection.open:
            asking = any(
                each.purpose is Purpose.REGISTRATION and each.status in command_rules.OPEN
                for each in self.commands.values()
            )
            given_up = request is not None and request.next_at is None
            assert asking or given_up or self.due is not None
            assert request is None or request.attempts <= MOST_ATTEMPTS

    @invariant()
    def snapshots_grow(self) -> None:
        assert self.states == sorted(set(self.states))

    @invariant()
    def settings_point_at_open_commands(self) -> None:
        for item in self.desired.items:
            if item.command_id is not None:
                assert item.state is SettingState.PENDING
                assert self.commands[item.command_id].status in command_rules.OPEN

    def teardown(self) -> None:
        """In the end, a friendly station that stays gets everything that it can have."""
        if not hasattr(self, "station"):
            return
        self.register(Registration.ACCEPTED)
        self.connect(Protocol.OCPP21)
        self.boot()
        self.wait(2)
        for _ in range(300):
            call = self.out()
            if call is not None:
                self.report(call, CallOutcome.ANSWERED, accepting(call))
                continue
            waiting = any(item.state is SettingState.PENDING for item in self.desired.items)
            if not waiting and all(
                each.status in command_rules.FINAL for each in self.commands.values()
            ):
                break
            assert self.due is not None
            self.now = self.due
            self.look()
        assert all(each.status in command_rules.FINAL for each in self.commands.values())
        for item in self.desired.items:
            assert item.state in {
                SettingState.IN_SYNC,
                SettingState.UNSUPPORTED,
                SettingState.REJECTED,
            }, item
            if item.key == "opening_hours" and item.state is SettingState.IN_SYNC:
                hours = msgspec.convert(item.wanted, OpeningHours)
                word = "Operative" if is_open(hours, self.now) else "Inoperative"
                assert item.reported == word
                change = next_change(hours, self.now)
                assert change is None or (self.due is not None and self.due <= change)
            elif item.state is SettingState.IN_SYNC:
                assert item.reported == item.wanted
        assert {item.key for item in self.desired.items if item.wanted is not None} == set(
            self.wanted
        )


Tended.TestCase.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
TestTended = Tended.TestCase

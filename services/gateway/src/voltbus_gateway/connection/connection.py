"""One open connection of a station: its session, its one timer, and where its effects go.

Everything here runs in callbacks of the event loop and returns at once: no task and no wait per
message. ``Transport`` is what it needs of a socket, ``EffectHandler`` of the rest of the gateway.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from voltbus_backbone.timers import Timer
from voltbus_gateway.domain.session.effects import CommandResult, Dispatch, Write

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_backbone.contract import values
    from voltbus_backbone.contract.gateway import SendCall
    from voltbus_gateway.domain.session.effects import Effects, Refusal
    from voltbus_gateway.domain.session.session import Session
    from voltbus_gateway.domain.wire.errors import CallFailed
    from voltbus_gateway.domain.wire.frames import Call, Payload, Send
    from voltbus_gateway.door.tls import ClientCertificate


class Transport(Protocol):
    """The socket under a connection."""

    def write(self, text: bytes) -> bool:
        """Send one text message; False, and nothing happens, when the socket is closing."""
        ...

    def close(self, code: int, reason: str) -> None:
        """Begin to close."""
        ...

    async def is_alive(self, within_s: float) -> bool:
        """Ask the peer for a sign of life; False when there is none within so many seconds."""
        ...


class EffectHandler(Protocol):
    """Carries out the effects of a session."""

    def dispatch(self, connection: Connection, dispatch: Dispatch) -> None:
        """Handle a message of the station that can be used."""
        ...

    def end_command(self, connection: Connection, ended: CommandResult) -> None:
        """Report the result of a call to the station."""
        ...

    def report_refusal(self, connection: Connection, refusal: Refusal) -> None:
        """Report that a message of the station was refused."""
        ...


class Takeover(NamedTuple):
    """The newer connection that replaced this one: its address, and whether elsewhere."""

    address: str
    elsewhere: bool


# Close codes of RFC 6455 §7.4.1 and its registry (A19).
GOING_AWAY = 1001
POLICY_VIOLATION = 1008
SERVICE_RESTART = 1012

# A timer that is armed a little late saves arming one for each call.
_SLACK_S = 0.05
# So many messages of a station that are never answered are in hand at once; then it is not read.
_SENDS = 16


class Connection:
    """A station's socket from its upgrade to its end.

    ``registration`` is Accepted, Pending, Rejected, or None while this process does not know.
    ``asked_for`` are the actions that our commands made a pending station send (B02.FR.09).
    ``address`` is of the other end. ``takeover``: the newer connection that replaced it, if any.
    ``sends`` are its SENDs in hand. ``on_change`` is called when something ends, while the session
    has waiting calls or its last return value asked for the next end too.
    """

    __slots__ = (
        "_clock",
        "_closing",
        "_effect_handler",
        "_leaving",
        "_session",
        "_timer",
        "_transport",
        "_watched",
        "address",
        "asked_for",
        "certificate",
        "closed",
        "connected_at",
        "connection_id",
        "heartbeat_published_at",
        "on_change",
        "provisional_until",
        "registering",
        "registration",
        "security_profile",
        "sends",
        "station_id",
        "takeover",
    )

    def __init__(
        self,
        *,
        station_id: str,
        connection_id: str,
        session: Session,
        transport: Transport,
        effect_handler: EffectHandler,
        connected_at: datetime,
        security_profile: int,
        clock: Callable[[], float],
        certificate: ClientCertificate | None = None,
        address: str = "",
    ) -> None:
        self.station_id = station_id
        self.connection_id = connection_id
        self.connected_at = connected_at
        self.security_profile = security_profile
        self.certificate = certificate
        self.address = address
        self.takeover: Takeover | None = None
        self.registration: str | None = None
        self.registering = 0
        self.provisional_until = float("-inf")
        self.asked_for: set[str] = set()
        self.heartbeat_published_at = float("-inf")
        self.closed = False
        self._session = session
        self._transport = transport
        self._effect_handler = effect_handler
        self._clock = clock
        self._timer = Timer()
        self._watched = False
        self.on_change: Callable[[], bool] | None = None
        self.sends = 0
        self._leaving: tuple[int, str] | None = None
        self._closing = False

    @property
    def protocol(self) -> values.Protocol:
        """The OCPP version."""
        return self._session.protocol

    @property
    def certificate_cn(self) -> str | None:
        """The common name of the certificate that it logged in with (profile 3)."""
        return self.certificate.common_name if self.certificate is not None else None

    @property
    def wants_input(self) -> bool:
        """False while the station has sent too far ahead."""
        return self._session.wants_input and self.sends < _SENDS

    @property
    def free(self) -> bool:
        """Nothing of the station is in hand."""
        return self._session.free and not self.sends

    @property
    def waiting_bytes(self) -> int:
        """Bytes of the station's calls that wait for their turn."""
        return self._session.waiting_bytes

    @property
    def idle(self) -> bool:
        """Nothing is in flight in either direction."""
        return self._session.idle

    @property
    def leaving(self) -> bool:
        """The socket closes, at once or as soon as it is idle: nothing new is begun."""
        return self._closing or self._leaving is not None

    @property
    def dropped(self) -> dict[str, int]:
        """How many messages were dropped or refused, by reason."""
        return self._session.counts

    def watch(self) -> None:
        """Call ``on_change`` at the next end."""
        self._watched = True

    def receive(self, text: str | bytes) -> None:
        """Take a message of the station."""
        self._carry_out(self._session.receive(text, self._clock()))

    def answer(self, call: Call, payload: Payload) -> None:
        """Answer a call of the station."""
        self._carry_out(self._session.answer(call, payload, self._clock()))

    def fail(self, call: Call, failure: CallFailed) -> None:
        """Answer a call of the station with a CALLERROR."""
        self._carry_out(self._session.fail(call, failure, self._clock()))

    def drop(self, message: Send, failure: CallFailed) -> None:
        """Record that a message that is never answered was refused."""
        self._session.drop(message, failure)
        self._carry_out(())

    def call(self, command: SendCall, timeout_s: float, within_s: float) -> None:
        """Send a call to the station, if its turn comes within so many seconds."""
        now = self._clock()
        self._carry_out(
            self._session.call(
                command.command_id,
                command.action,
                command.payload,
                now,
                timeout_s,
                not_after=now + within_s,
            )
        )

    def close(self, code: int, reason: str) -> None:
        """Close the socket now. Commands end at once: a peer that hangs may take its time."""
        self._leaving = None
        self._closing = True
        self._transport.close(code, reason)
        self._carry_out(self._session.end_calls())

    async def is_alive(self, within_s: float) -> bool:
        """Ask the station for a sign of life; False when there is none within so many seconds."""
        return not self.leaving and await self._transport.is_alive(within_s)

    def leave(self, code: int, reason: str) -> None:
        """Close the socket as soon as no call is in flight."""
        self._leaving = (code, reason)
        self._leave_if_idle()

    def end(self) -> None:
        """End the connection: the socket is gone, commands in flight end, nothing is written."""
        if self.closed:
            return
        self.closed = True
        self._leaving = None
        self._timer.cancel()
        self._carry_out(self._session.close())

    def finish_send(self) -> None:
        """Count a SEND of the station as finished."""
        self.sends -= 1
        if self._watched:
            self._notify_change()

    def _notify_change(self) -> None:
        if self.on_change is not None:
            self._watched = self.on_change()

    def _carry_out(self, effects: Effects) -> None:
        for effect in effects:
            if type(effect) is Write:
                if not self._transport.write(effect.text) and effect.command_id is not None:
                    self._carry_out(self._session.mark_unsent(effect.command_id))
            elif type(effect) is Dispatch:
                self._effect_handler.dispatch(self, effect)
            elif type(effect) is CommandResult:
                self._effect_handler.end_command(self, effect)
        if self._session.refusals:
            self._report_refusals()
        if self.closed:
            return
        self._arm_timer()
        if self._watched or self._session.waiting_bytes:
            self._notify_change()
        if self._leaving is not None:
            self._leave_if_idle()

    def _report_refusals(self) -> None:
        for refusal in self._session.refusals:
            self._effect_handler.report_refusal(self, refusal)
        self._session.refusals.clear()

    def _arm_timer(self) -> None:
        deadline = self._session.deadline
        if deadline is not None:
            self._timer.set(deadline, self._tick, _SLACK_S)

    def _tick(self) -> None:
        self._carry_out(self._session.tick(self._clock()))

    def _leave_if_idle(self) -> None:
        if self._leaving is not None and self._session.idle:
            code, reason = self._leaving
            self.close(code, reason)

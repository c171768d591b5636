"""A tiny central system for the simulator's tests: ``websockets`` and the ``ocpp`` library."""

from __future__ import annotations

import asyncio
import base64
import http
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import unquote

from ocpp import v16, v21, v201
from ocpp.charge_point import ChargePoint
from ocpp.messages import Call, CallError, CallResult, unpack, validate_payload
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from websockets.http11 import Request, Response

Payload = dict[str, Any]
LIBRARY: dict[str, type[ChargePoint]] = {
    "ocpp1.6": v16.ChargePoint,
    "ocpp2.0.1": v201.ChargePoint,
    "ocpp2.1": v21.ChargePoint,
}
NOW = "2026-01-02T03:04:05Z"


class Session(ChargePoint):  # type: ignore[misc]  # the library publishes no types
    """The central system's side of one socket."""

    def __init__(self, central: Central, socket: ServerConnection) -> None:
        super().__init__("", socket, response_timeout=5)
        self._ocpp_version = (socket.subprotocol or "").removeprefix("ocpp")
        self._central = central
        self.socket = socket

    async def route_message(self, raw_msg: str) -> None:
        """Answer by the table; keep a CALL back while the central system is told to be silent."""
        self._central.frames.append(raw_msg)
        if json.loads(raw_msg)[0] in (5, 6):
            return  # 2.1's CALLRESULTERROR and SEND, which the library does not know
        message = unpack(raw_msg)
        if not isinstance(message, Call):
            self._response_queue.put_nowait(message)
            return
        await validate_payload(message, self._ocpp_version)
        self._central.calls.append((message.action, message.payload))
        self._central.ids.append(message.unique_id)
        answer = self._central.answers[message.action](message.payload)
        if isinstance(answer, dict):
            await self.socket.send(CallResult(message.unique_id, answer).to_json())
        elif isinstance(answer, str):
            await self.socket.send(CallError(message.unique_id, answer, "no", {}).to_json())

    async def ask(self, action: str, payload: Payload) -> Payload | str:
        """Call the station; returns the answer's payload or the CALLERROR's code."""
        call = Call(f"c{len(self._central.frames)}", action, payload)
        await validate_payload(call, self._ocpp_version)
        await self.socket.send(call.to_json())
        answer = await self._get_specific_response(call.unique_id, 5)
        if isinstance(answer, CallError):
            return str(answer.error_code)
        answer.action = action
        await validate_payload(answer, self._ocpp_version)
        found: Payload = answer.payload
        return found


def standard_answers() -> dict[str, Callable[[Payload], Payload | str | None]]:
    """Accept everything; transaction 7."""
    return {
        "BootNotification": lambda _: {"currentTime": NOW, "interval": 60, "status": "Accepted"},
        "Heartbeat": lambda _: {"currentTime": NOW},
        "StatusNotification": lambda _: {},
        "MeterValues": lambda _: {},
        "NotifyReport": lambda _: {},
        "NotifyMonitoringReport": lambda _: {},
        "NotifyDisplayMessages": lambda _: {},
        "NotifyEvent": lambda _: {},
        "SignCertificate": lambda _: {"status": "Accepted"},
        "FirmwareStatusNotification": lambda _: {},
        "LogStatusNotification": lambda _: {},
        "DiagnosticsStatusNotification": lambda _: {},
        "ReportChargingProfiles": lambda _: {},
        "NotifyCustomerInformation": lambda _: {},
        "Authorize": lambda asked: (
            {"idTagInfo": {"status": "Accepted"}}
            if "idTag" in asked
            else {"idTokenInfo": {"status": "Accepted"}}
        ),
        "StartTransaction": lambda _: {"transactionId": 7, "idTagInfo": {"status": "Accepted"}},
        "StopTransaction": lambda _: {"idTagInfo": {"status": "Accepted"}},
        "TransactionEvent": lambda asked: (
            {"idTokenInfo": {"status": "Accepted"}} if "idToken" in asked else {}
        ),
    }


@dataclass
class Central:
    """A server on a free port that knows some stations by their passwords."""

    passwords: dict[str, bytes | None] = field(default_factory=dict)
    subprotocols: tuple[str, ...] = tuple(LIBRARY)
    answers: dict[str, Callable[[Payload], Payload | str | None]] = field(
        default_factory=standard_answers
    )
    calls: list[tuple[str, Payload]] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)
    frames: list[str] = field(default_factory=list)
    sessions: list[Session] = field(default_factory=list)
    server: Server | None = None
    port: int = 0
    ready: bool = True
    arrivals: asyncio.Queue[Session] = field(default_factory=asyncio.Queue)

    @property
    def url(self) -> str:
        """The OCPP endpoint."""
        return f"ws://127.0.0.1:{self.port}/ocpp"

    async def __aenter__(self) -> Self:
        await self.listen()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.hang_up()

    async def listen(self) -> None:
        """Serve; after a hang-up, on the same port again."""
        self.server = await serve(
            self._serve,
            "127.0.0.1",
            self.port,
            subprotocols=[Subprotocol(name) for name in self.subprotocols],
            process_request=self._door,
            select_subprotocol=self._select,
        )
        self.port = self.server.sockets[0].getsockname()[1]

    async def hang_up(self) -> None:
        """Close every socket with 1001 and stop listening."""
        if self.server is not None:
            self.server.close()
            await self.server.wait_closed()
            self.server = None

    def _select(self, _: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
        return next((Subprotocol(one) for one in offered if one in self.subprotocols), None)

    def _door(self, socket: ServerConnection, request: Request) -> Response | None:
        station = unquote(request.path.rsplit("/", 1)[1])
        if not self.ready:
            return socket.respond(http.HTTPStatus.SERVICE_UNAVAILABLE, "not ready\n")
        if station not in self.passwords:
            return socket.respond(http.HTTPStatus.NOT_FOUND, "unknown station\n")
        password = self.passwords[station]
        given = request.headers.get("Authorization", "").removeprefix("Basic ")
        if password is None or base64.b64decode(given) == station.encode() + b":" + password:
            return None
        return socket.respond(http.HTTPStatus.UNAUTHORIZED, "wrong password\n")

    async def _serve(self, socket: ServerConnection) -> None:
        session = Session(self, socket)
        self.sessions.append(session)
        self.arrivals.put_nowait(session)
        try:
            await session.start()
        except ConnectionClosed:
            return

    async def session(self) -> Session:
        """Return the next socket that opened, with a deadline."""
        async with asyncio.timeout(60):
            return await self.arrivals.get()

    def asked(self, action: str) -> list[Payload]:
        """Return the payloads of every call of that name."""
        return [payload for name, payload in self.calls if name == action]

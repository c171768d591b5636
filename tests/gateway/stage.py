"""A gateway on a memory bus with stand-ins for auth and config, and stations on real sockets."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.rpc import Requester
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract import auth, config, gateway, registry
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.contract.values import AuthorizationStatus
from voltbus_gateway.gateway import Gateway
from voltbus_gateway.settings import Settings
from voltbus_gateway.sockets.station_socket import StationSocket

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.values import Message

PASSWORD = "example-password-0001"
SALT = "00112233"
GATEWAY_ID = "gateway-1"
DEADLINE_S = 60.0


def verifier(password: str | bytes) -> auth.PasswordVerifier:
    """The verifier that auth keeps for a generated password."""
    raw = password if isinstance(password, bytes) else password.encode()
    digest = hashlib.sha256(bytes.fromhex(SALT) + raw).hexdigest()
    return auth.PasswordVerifier(algorithm="sha256", salt=SALT, digest=digest)


def known_station(**changes: Any) -> auth.StationLoginAnswer:
    """The answer of auth for a station with ``PASSWORD``."""
    parts: dict[str, Any] = {
        "known": True,
        "allowed": True,
        "verifiers": (verifier(PASSWORD),),
    } | changes
    return auth.StationLoginAnswer(**parts)


@dataclass
class Services:
    """Stand-ins for auth and config. ``silent`` names the rows that nobody answers.

    An answer takes so many ``turns`` of the event loop.
    """

    bus: MemoryBus
    logins: dict[str, auth.StationLoginAnswer] = field(default_factory=dict)
    tokens: dict[str, AuthorizationStatus] = field(default_factory=dict)
    registrations: dict[str, str] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    faulty: set[str] = field(default_factory=set)
    turns: Callable[[], int] = lambda: 0

    def answers(self, event: Event) -> Message | None:
        """What is answered to a request."""
        message = event.decode()
        match message:
            case auth.StationLogin():
                unknown = auth.StationLoginAnswer(known=False)
                return self.logins.get(message.station_id, unknown)
            case auth.Authorize():
                return auth.AuthorizeAnswer(decision=self._decide(message.id_token.value))
            case auth.TransactionMessage():
                token = message.id_token
                decision = self._decide(token.value) if token is not None else None
                return auth.TransactionAnswer(transaction_id=42, decision=decision)
            case config.Boot() | config.Registration():
                status = self.registrations.get(message.station_id, "Accepted")
                return config.BootAnswer(status=status, interval=300)
        return None

    def _decide(self, token: str) -> auth.Decision:
        return auth.Decision(status=self.tokens.get(token, AuthorizationStatus.UNKNOWN))

    async def handle(self, event: Event) -> list[Record]:
        """One record of a request topic."""
        for _ in range(self.turns()):
            await asyncio.sleep(0)
        if event.type in self.silent:
            return []
        row = registry.TYPES[event.type]
        answer = self.answers(event)
        if answer is None or row.answer is None:
            return []
        answer_row = registry.TYPES[row.answer]
        if event.type in self.faulty:
            answer_row, answer = registry.FAULT, registry.Fault(code="x", detail="y")
        made = envelope.reply(
            event, answer_row, answer, source="/voltbus/stand-in", now=datetime.now(UTC)
        )
        return [made] if made is not None else []


class Station:
    """The raw end of a socket: JSON arrays, nothing hidden."""

    def __init__(self, socket: ClientConnection) -> None:
        self.socket = socket

    async def send(self, *frame: Any) -> None:
        """Send one frame."""
        await self.socket.send(json.dumps(frame))

    async def receive(self) -> list[Any]:
        """The next frame."""
        async with asyncio.timeout(DEADLINE_S):
            frame: list[Any] = json.loads(await self.socket.recv())
        return frame

    async def call(self, action: str, payload: Mapping[str, Any], id_: str = "m1") -> list[Any]:
        """A call and the next frame."""
        await self.send(2, id_, action, payload)
        return await self.receive()

    async def wait_closed(self) -> tuple[int, str]:
        """Wait for the end: close code and reason."""
        async with asyncio.timeout(DEADLINE_S):
            await self.socket.wait_closed()
        return self.socket.close_code or 1006, self.socket.close_reason or ""


def basic(user: str, password: str | bytes) -> dict[str, str]:
    """A Basic header."""
    raw = password if isinstance(password, bytes) else password.encode()
    return {"Authorization": "Basic " + base64.b64encode(user.encode() + b":" + raw).decode()}


@dataclass
class Stage:
    """A running gateway with everything around it."""

    bus: MemoryBus
    services: Services
    settings: Settings
    gateway: Gateway
    requester: Requester
    stopping: asyncio.Event
    tasks: list[asyncio.Task[None]]

    @classmethod
    async def up(cls, bus: MemoryBus | None = None, **changes: Any) -> Self:
        """Start one; ``changes`` are settings."""
        values: dict[str, Any] = {
            "instance_id": GATEWAY_ID,
            "http_port": 0,
            "ocpp_port": 0,
            "ping_interval_s": 0,
            "close_timeout_s": 1.0,
            "grace_s": 3.0,
            "close_pause_s": 0.01,
            "retry_s": 0.05,
        }
        settings = Settings(**(values | changes))
        bus = bus or MemoryBus()
        stopping = asyncio.Event()
        source = f"/voltbus/gateway/{settings.instance_id}"
        made = Gateway(
            settings,
            bus=bus,
            source=source,
            now=lambda: datetime.now(UTC),
            stopping=stopping.is_set,
        )
        requester = Requester(
            instance_id=settings.instance_id,
            source=source,
            inbox_topic=bus.prefix + Topic.GATEWAY_INBOX,
            publisher=bus,
            start_mark="t",
            on_message=made.on_message,
        )
        await requester.start(bus.inbox, 3)
        services = Services(bus)
        tasks = [
            asyncio.create_task(bus.serve(topic, services.handle))
            for topic in (Topic.AUTH_REQUESTS, Topic.CONFIG_REQUESTS)
        ]
        await made.start(requester)
        tasks.append(asyncio.create_task(made.run()))
        return cls(bus, services, settings, made, requester, stopping, tasks)

    async def down(self) -> None:
        """Stop everything."""
        self.bus.stalled = False
        self.bus.broken = False
        if not self.stopping.is_set():
            await self.stop()
        for task in self.tasks:
            task.cancel()
        await asyncio.gather(*self.tasks, return_exceptions=True)
        await self.requester.stop()

    async def stop(self) -> None:
        """The orderly end, as a process does it."""
        self.stopping.set()
        await self.gateway.stop()

    def url(self, station_id: str) -> str:
        """A station's address."""
        return f"ws://127.0.0.1:{self.gateway.listeners.port()}/ocpp/{quote(station_id, safe='')}"

    async def socket(
        self,
        station_id: str,
        *,
        offers: Sequence[str] = ("ocpp1.6",),
        headers: Mapping[str, str] | None = None,
        url: str | None = None,
        **options: Any,
    ) -> ClientConnection:
        """Open a socket; raises InvalidStatus when it is refused."""
        return await connect(
            url or self.url(station_id),
            subprotocols=[Subprotocol(name) for name in offers] or None,
            additional_headers=headers if headers is not None else basic(station_id, PASSWORD),
            compression=options.pop("compression", None),
            ping_interval=None,
            close_timeout=1,
            **options,
        )

    @contextlib.asynccontextmanager
    async def station(
        self, station_id: str, *, known: bool = True, **options: Any
    ) -> AsyncIterator[Station]:
        """A connected station."""
        if known:
            self.services.logins.setdefault(station_id, known_station())
        socket = await self.socket(station_id, **options)
        try:
            yield Station(socket)
        finally:
            await socket.close()

    async def send_to_inbox(self, message: Message, row: registry.MessageType[Any]) -> None:
        """Say something to the gateway through its inbox."""
        await self.bus.publish(
            [
                envelope.event(
                    row,
                    message,
                    id="told",
                    source="/voltbus/config/stand-in",
                    now=datetime.now(UTC),
                    subject=GATEWAY_ID,
                    partition=self.requester.partition,
                )
            ]
        )

    async def command(
        self, station_id: str, action: str, payload: dict[str, Any], id_: str = "c1", **more: Any
    ) -> None:
        """Have a call sent to a station."""
        message = gateway.SendCall(
            command_id=id_,
            gateway_id=GATEWAY_ID,
            station_id=station_id,
            connection_id="any",
            action=action,
            payload=payload,
            **more,
        )
        await self.send_to_inbox(message, registry.SEND_CALL)

    async def wait_for_command_end(self, id_: str = "c1") -> config.CallEnded:
        """The end of a command, as config reads it."""
        event = await self.bus.wait_for(
            Topic.CONFIG_REQUESTS,
            lambda event: (
                event.type == registry.CALL_ENDED.name and event.message.command_id == id_
            ),
        )
        message: config.CallEnded = event.message
        return message

    async def event(self, row: registry.MessageType[Any], station_id: str, number: int = 1) -> Any:
        """The nth event of a type about a station, now or soon."""

        def found() -> list[Any]:
            return [
                event.message
                for event in self.bus.events(str(row.topic))
                if event.type == row.name and event.message.station_id == station_id
            ]

        async with asyncio.timeout(DEADLINE_S):
            await self.bus.changed(lambda: len(found()) >= number)
        return found()[number - 1]


def gateways_end(stage: Stage) -> StationSocket:
    """The gateway's end of the only connection."""
    (listener,) = stage.gateway.listeners._listeners.values()
    (socket,) = listener.servers[0].connections
    assert isinstance(socket, StationSocket)
    return socket


async def soon(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Wait until a condition holds."""
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110 - the condition is somebody else's state
            await asyncio.sleep(0.005)

"""What system tests do as an operator (REST) and as a subscriber (Kafka)."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import httpx

from voltbus.simulator import Options, RefusedError, make_station
from voltbus_backbone.bus.kafka import Tail
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol, Station2, Station16, Surroundings
    from voltbus_backbone.bus.envelope import Event

T = TypeVar("T")
Method = Literal["GET", "POST", "PUT", "PATCH", "DELETE"]

DEADLINE_S = 90.0
PUBLIC = (
    Topic.STATIONS_EVENTS,
    Topic.TRANSACTIONS_EVENTS,
    Topic.TOKENS_EVENTS,
    Topic.COMMANDS_EVENTS,
    Topic.AGREEMENTS_EVENTS,
)
ALWAYS: dict[str, list[list[str]]] = {
    day: [["00:00", "24:00"]] for day in ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
}
NEVER: dict[str, list[list[str]]] = {day: [] for day in ALWAYS}


class Operator:
    """An operator at the four REST interfaces."""

    def __init__(self, stack: Stack, client: httpx.AsyncClient) -> None:
        self.stack = stack
        self.client = client

    async def send(self, method: Method, service: str, path: str, **rest: Any) -> httpx.Response:
        """One request, whatever it answers."""
        return await self.client.request(method, self.stack.http(service) + path, **rest)

    async def done(self, method: Method, service: str, path: str, **rest: Any) -> Any:
        """One request that must succeed; its JSON body."""
        answer = await self.send(method, service, path, **rest)
        assert answer.is_success, f"{method} {service} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    async def station(self, station_id: str | None = None, **settings: Any) -> tuple[str, str]:
        """Register a station; its id and its password."""
        name = station_id or f"CP-{secrets.token_hex(4)}"
        await self.done("POST", "config", "/v1/stations", json={"id": name, **settings})
        answer = await self.done(
            "PUT", "auth", f"/v1/stations/{name}/credentials", json={"security_profile": 1}
        )
        return name, answer["password"]

    async def token(self, **fields: Any) -> tuple[str, str]:
        """Register a token; its value and its reference."""
        value = secrets.token_hex(7).upper()
        body = {"id_token": value, "type": "ISO14443", "status": "accepted", **fields}
        answer = await self.done("POST", "auth", "/v1/tokens", json=body)
        return value, answer["ref"]

    async def agreement(self, *refs: str, **fields: Any) -> str:
        """Make and activate a driver's agreement for these tokens; its id."""
        body = {
            "kind": "driver",
            "name": "A driver's contract",
            "parties": [
                {"id": "provider-1", "role": "provider"},
                {"id": f"customer-{secrets.token_hex(3)}", "role": "customer"},
            ],
            "valid_from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
            "tokens": [{"ref": ref, "type": "ISO14443"} for ref in refs],
            **fields,
        }
        made = await self.done("POST", "agreements", "/v1/agreements", json=body)
        await self.done("POST", "agreements", f"/v1/agreements/{made['id']}/activate")
        return str(made["id"])

    @asynccontextmanager
    async def connected(
        self,
        protocol: Protocol,
        station_id: str,
        password: str,
        options: Options | None = None,
        surroundings: Surroundings | None = None,
    ) -> AsyncIterator[Station16 | Station2]:
        """The real client library at the station's end, connected."""
        station = make_station(protocol, options, surroundings)
        await station.connect(self.stack.ocpp(), station_id, password)
        try:
            yield station
        finally:
            await station.close()

    async def login(self, protocol: Protocol, station_id: str, password: str | bytes) -> int:
        """How a log-in at profile 1 ends: 101, or the HTTP status of its refusal."""
        station = make_station(protocol)
        try:
            await station.connect(self.stack.ocpp(), station_id, password)
        except RefusedError as refused:
            return refused.status
        await station.close()
        return 101

    async def lets_in(self, protocol: Protocol, station_id: str, password: str) -> bool:
        """Whether a log-in with this password succeeds: else it must be for the password, 401."""
        status = await self.login(protocol, station_id, password)
        assert status in {101, 401}
        return status == 101


@asynccontextmanager
async def operating(stack: Stack) -> AsyncIterator[Operator]:
    """An operator with the stack's token."""
    headers = {"Authorization": f"Bearer {stack.operator_token()}"}
    async with httpx.AsyncClient(headers=headers, timeout=30) as client:
        yield Operator(stack, client)


class Subscriber:
    """Everything on the public topics since it began, kept as it comes."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self._more = asyncio.Condition()

    async def keep(self, event: Event) -> None:
        """Remember one event."""
        async with self._more:
            self.events.append(event)
            self._more.notify_all()

    def of(self, kind: str, **fields: Any) -> list[Any]:
        """The messages of a type whose fields have these values."""
        return [
            event.message
            for event in self.events
            if event.type == f"voltbus.{kind}.v1"
            and event.data is not None
            and all(getattr(event.decode(), name) == value for name, value in fields.items())
        ]

    async def wait_for(self, kind: str, count: int = 1, **fields: Any) -> list[Any]:
        """The same, once there are enough."""
        try:
            async with asyncio.timeout(DEADLINE_S), self._more:
                await self._more.wait_for(lambda: len(self.of(kind, **fields)) >= count)
        except TimeoutError:
            seen = sorted({event.type for event in self.events})
            raise AssertionError(f"no {kind} with {sorted(fields)}; seen: {seen}") from None
        return self.of(kind, **fields)


@asynccontextmanager
async def subscribed(stack: Stack) -> AsyncIterator[Subscriber]:
    """A subscriber on the stack's Kafka, in position when this begins."""
    subscriber = Subscriber()
    settings = KafkaSettings(bootstrap=stack.kafka)
    async with Tail(settings, PUBLIC, prefix=stack.topic_prefix) as tail:

        async def follow() -> None:
            async for event in tail:
                await subscriber.keep(event)

        task = asyncio.create_task(follow())
        try:
            yield subscriber
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(
    ask: Callable[[], Awaitable[T]], condition: Callable[[T], bool], deadline_s: float = DEADLINE_S
) -> T:
    """Ask until the answer fulfils a condition: what events cause is there soon, not at once."""
    last: T | None = None
    try:
        async with asyncio.timeout(deadline_s):
            while True:
                last = await ask()
                if condition(last):
                    return last
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"not within {deadline_s} s; last: {last!r}") from None

"""The service without its process: real MongoDB, a bus in memory, a clock that a test moves."""

from __future__ import annotations

import itertools
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from config.config_examples import NOW, event
from voltbus.embedded.keys import make_keys, operator_token
from voltbus_backbone import rest as http
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import TokenFound
from voltbus_backbone.contract.config import Boot, BootAnswer, CallEnded, CallOutcome
from voltbus_backbone.contract.gateway import SendCall
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.contract.stations import StationConnected, StationDisconnected
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.mongo.outbox import Outbox
from voltbus_backbone.mongo.store import open_database
from voltbus_backbone.rest.access import Operators
from voltbus_config import api
from voltbus_config.__main__ import build_reconciler_config
from voltbus_config.handlers.agreements import AgreementProjection
from voltbus_config.handlers.command_waiter import CommandWaiter
from voltbus_config.handlers.context import ServiceContext
from voltbus_config.handlers.gateways import GatewayMonitor
from voltbus_config.handlers.reconciler import Reconciler
from voltbus_config.handlers.requests import RequestHandler
from voltbus_config.handlers.station_events import StationEventHandler
from voltbus_config.settings import Settings
from voltbus_config.store import Store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
    from pathlib import Path

    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.contract.values import Message
    from voltbus_backbone.mongo.store import Database

SCOPES = "stations:read stations:write commands:read commands:write audit:read"

_ids = itertools.count(1)


class Hands:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time

    def move(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


class MemoryTokens:
    """Tokens as a test registers them: value to type; ``away`` when nobody answers."""

    def __init__(self) -> None:
        self.types: dict[str, str] = {}
        self.away = False

    async def find(self, station_id: str, value: str, kind: str | None) -> TokenFound | None:
        del station_id
        if self.away:
            return None
        known = self.types.get(value)
        found = known if kind in {None, known} else None
        return TokenFound(token_ref=f"ref-of-{found or kind}-{len(value)}", type=found)


@dataclass
class Replica:
    """One replica of the service, and a gateway and stations played by the test."""

    context: ServiceContext
    bus: MemoryBus
    hands: Hands
    reconciler: Reconciler
    requests: RequestHandler
    stations: StationEventHandler
    agreements: AgreementProjection
    gateway_monitor: GatewayMonitor
    waiter: CommandWaiter
    tokens: MemoryTokens
    client: httpx.AsyncClient
    database: Database
    replicas: list[Replica]  # all of them: an outbox is relayed by its own replica first
    connections: dict[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        return self.context.store

    # What stations and gateways tell.

    async def connect(
        self,
        station_id: str,
        protocol: Protocol = Protocol.OCPP16,
        *,
        gateway: str = "g-1",
        partition: int = 0,
        connection_id: str = "",
    ) -> str:
        connection_id = connection_id or self.next_connection(gateway)
        self.connections[station_id] = connection_id
        await self.feed(
            registry.STATION_CONNECTED,
            StationConnected(
                station_id=station_id,
                connection_id=connection_id,
                gateway_id=gateway,
                gateway_partition=partition,
                protocol=protocol,
                at=self.hands(),
            ),
        )
        return connection_id

    @staticmethod
    def next_connection(gateway: str = "g-1") -> str:
        """The name of a connection, before anyone has heard of it."""
        return f"{gateway}/{next(_ids)}"

    async def disconnect(self, station_id: str, connection_id: str | None = None) -> None:
        await self.feed(
            registry.STATION_DISCONNECTED,
            StationDisconnected(
                station_id=station_id,
                connection_id=connection_id or self.connections[station_id],
                gateway_id="g-1",
                at=self.hands(),
            ),
        )

    async def feed(self, row: registry.MessageType[Any], message: Message) -> list[Event]:
        """One record of stations.events; what goes straight out."""
        return self.sent(await self.stations.handle([event(row, message)]))

    async def boot(
        self, station_id: str, protocol: Protocol = Protocol.OCPP16, **fields: Any
    ) -> BootAnswer:
        """A Boot on the station's connection, its answer, and the time that it takes to arrive."""
        [answer] = await self.ask(event(registry.BOOT, self.a_boot(station_id, protocol, **fields)))
        self.hands.move(0.25)
        assert isinstance(answer, BootAnswer)
        return answer

    def a_boot(self, station_id: str, protocol: Protocol = Protocol.OCPP16, **fields: Any) -> Boot:
        return Boot(
            **{
                "station_id": station_id,
                "connection_id": self.connections.get(station_id, "none"),
                "protocol": protocol,
                "at": self.hands(),
                "vendor": "Voltbus",
                "model": "Test",
                **fields,
            }
        )

    async def ask(self, *events: Event) -> list[Message]:
        """A batch of requests; the answers."""
        return [each.message for each in self.sent(await self.requests.handle(events))]

    async def arrive(self, station_id: str, protocol: Protocol = Protocol.OCPP16) -> None:
        """Connected and booted, with what is due sent."""
        await self.connect(station_id, protocol)
        await self.boot(station_id, protocol)
        await self.settle()

    async def end(
        self, call: SendCall, payload: dict[str, Any] | None = None, **fields: Any
    ) -> None:
        """The gateway reports on a call, and what follows happens."""
        fields.setdefault("outcome", CallOutcome.ANSWERED)
        fields.setdefault("attempt", call.attempt)
        message = CallEnded(
            command_id=call.command_id,
            station_id=call.station_id,
            connection_id=call.connection_id,
            at=self.hands(),
            payload=payload,
            **fields,
        )
        await self.ask(event(registry.CALL_ENDED, message))
        await self.settle()

    # What the service does by itself.

    async def settle(self) -> None:
        """Do everything that is due now, and send what waits in the outbox."""
        for _ in range(50):
            due = await self.store.schedule.take_due(self.context.now(), timedelta(seconds=30), 500)
            if due:
                await self.store.transact(
                    lambda session, due=due: self.reconciler.reconcile(due, session)  # type: ignore[misc]
                )
            sent = [await replica.context.outbox.relay() for replica in self.replicas]
            if not due and not any(sent):
                return
        raise AssertionError("the service does not come to rest")

    def sent(self, records: Sequence[envelope.Record]) -> list[Event]:
        """Records as whoever reads them sees them."""
        result = []
        for record in records:
            found = envelope.parse(
                record.headers, record.value, topic=record.topic, partition=record.partition or 0
            )
            if found.data is not None:
                found.decode()
            result.append(found)
        return result

    def calls(self, station_id: str) -> list[SendCall]:
        """Every call sent to a station so far."""
        return [
            each.message
            for each in self.bus.events("gateway.inbox")
            if isinstance(each.message, SendCall) and each.message.station_id == station_id
        ]

    async def call(self, station_id: str, action: str) -> SendCall:
        """The call that is out to a station, which is of this action."""
        await self.settle()
        found = self.calls(station_id)
        assert found, "nothing was sent"
        assert found[-1].action == action
        return found[-1]

    def told(self, topic: str, kind: type[Message], **fields: Any) -> list[Any]:
        """The messages of a type on a public topic, in order."""
        return [
            each.message
            for each in self.bus.events(topic)
            if isinstance(each.message, kind)
            and all(getattr(each.message, name) == value for name, value in fields.items())
        ]

    # What an operator does.

    async def register(self, station_id: str, **fields: Any) -> dict[str, Any]:
        answer = await self.client.post("/v1/stations", json={"id": station_id, **fields})
        assert answer.status_code == 201, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def station(self, station_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/stations/{station_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def set(self, station_id: str, **body: Any) -> dict[str, Any]:
        answer = await self.client.put(f"/v1/stations/{station_id}/settings", json=body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["settings"]
        return found

    async def settings(self, station_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/stations/{station_id}/settings")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()["settings"]
        return found

    async def command(self, station_id: str, action: str, **body: Any) -> dict[str, Any]:
        answer = await self.client.post(
            f"/v1/stations/{station_id}/commands", json={"action": action, **body}
        )
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        assert answer.headers["location"] == f"/v1/commands/{found['id']}"
        return found

    async def command_state(self, command_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/commands/{command_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(mongo_uri: str) -> AsyncIterator[Database]:
    """One database for all tests of the service: its indexes take a while to make."""
    settings = Settings(
        http_port=0,
        mongo_uri=SecretStr(mongo_uri),
        mongo_database=f"test_{secrets.token_hex(6)}",
    )
    database = await open_database(settings)
    await Store(database).prepare(timedelta(days=1))
    yield database
    await database.client.drop_database(database.name)
    database.client.close()


@pytest_asyncio.fixture(loop_scope="session")
async def cleared(server: Database) -> str:
    """The database without a document, by name."""
    for name in await server.list_collection_names():
        await server[name].delete_many({})
    return server.name


@pytest_asyncio.fixture(loop_scope="session")
async def make_replica(
    mongo_uri: str, cleared: str, tmp_path: Path, hands: Hands
) -> AsyncIterator[Callable[..., Awaitable[Replica]]]:
    """Replicas on one database and one bus."""
    keys = make_keys(tmp_path)
    bus = MemoryBus()
    numbers = itertools.count(1)
    replicas: list[Replica] = []

    @asynccontextmanager
    async def opened(**options: Any) -> AsyncIterator[Replica]:
        settings = Settings(
            http_port=0,
            mongo_uri=SecretStr(mongo_uri),
            mongo_database=cleared,
            operator_key_file=keys.operator_public,
            instance_id=f"config-{next(numbers)}",
            **options,
        )
        database = await open_database(settings)
        store = Store(database)
        outbox = Outbox(store.outbox, bus, settings.instance_id, Topic.CONFIG_DEAD_LETTER)
        tokens = MemoryTokens()
        context = ServiceContext(
            store,
            outbox,
            "/voltbus/config/test",
            hands,
            settings,
            build_reconciler_config(settings),
            tokens,
        )
        reconciler = Reconciler(context)
        app = http.build_app("config", Operators(settings), lambda: {"mongo": True})
        waiter = CommandWaiter(store.find_ended_commands)
        http.include(app, api.routers(context, reconciler, waiter), store.rest)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://config",
            headers={"Authorization": f"Bearer {operator_token(keys, scope=SCOPES)}"},
        )
        async with client:
            replica = Replica(
                context,
                bus,
                hands,
                reconciler,
                RequestHandler(context, reconciler),
                StationEventHandler(context, reconciler),
                AgreementProjection(context, reconciler),
                GatewayMonitor(context),
                waiter,
                tokens,
                client,
                database,
                replicas,
            )
            replicas.append(replica)
            yield replica
        await store.close()

    async with AsyncExitStack() as exits:

        async def make(**options: Any) -> Replica:
            return await exits.enter_async_context(opened(**options))

        yield make


@pytest_asyncio.fixture(loop_scope="session")
async def replica(make_replica: Callable[..., Awaitable[Replica]]) -> Replica:
    """One replica with the default settings."""
    return await make_replica()

"""The service without its process: real MongoDB, a bus in memory, a clock that stands still."""

from __future__ import annotations

import itertools
import secrets
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from pydantic import SecretStr

from voltbus.embedded.keys import make_keys, operator_token
from voltbus_agreements import api
from voltbus_agreements.domain.agreement import Policy
from voltbus_agreements.handlers.changes import ChangeHandler
from voltbus_agreements.handlers.messages import MessageHandlers
from voltbus_agreements.scheduler import LifecycleScheduler
from voltbus_agreements.settings import Settings
from voltbus_agreements.store import Store
from voltbus_backbone import rest as http
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.mongo.outbox import Outbox
from voltbus_backbone.mongo.rest_store import RestStore
from voltbus_backbone.mongo.store import open_database
from voltbus_backbone.rest.access import Operators

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.mongo.store import Database

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
TOPIC = "agreements.events"


class Hands:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


@dataclass
class Replica:
    """One replica of the service."""

    database: Database
    bus: MemoryBus
    hands: Hands
    outbox: Outbox
    store: Store
    changes: ChangeHandler
    scheduler: LifecycleScheduler
    handlers: MessageHandlers
    client: httpx.AsyncClient
    credentials: Callable[[str], dict[str, str]]

    async def told(self) -> list[Event]:
        """Relay what waits in the outbox; every agreement event so far, in order."""
        while await self.outbox.relay():
            pass
        return self.bus.events(TOPIC)

    async def made(self, *, activate: bool = True, **fields: Any) -> dict[str, Any]:
        """An agreement over REST."""
        answer = await self.client.post("/v1/agreements", json=body(**fields))
        assert answer.status_code == 201, answer.text
        if activate:
            answer = await self.client.post(f"/v1/agreements/{answer.json()['id']}/activate")
            assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def read(self, agreement_id: str) -> dict[str, Any]:
        answer = await self.client.get(f"/v1/agreements/{agreement_id}")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


_tokens = itertools.count(1)


def body(**fields: Any) -> dict[str, Any]:
    """A complete agreement of a driver with a token of its own, as REST takes it."""
    return {
        "kind": "driver",
        "name": "A driver's contract",
        "valid_from": (NOW - timedelta(days=1)).isoformat(),
        "parties": [
            {"id": "provider-1", "role": "provider"},
            {"id": "customer-1", "role": "customer"},
        ],
        "tokens": [{"ref": f"token-{next(_tokens)}", "type": "ISO14443"}],
    } | fields


@pytest.fixture
def hands() -> Hands:
    return Hands()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def server(mongo_uri: str) -> AsyncIterator[Database]:
    """One database for all tests of the service: its indexes take a third of a second to make."""
    settings = Settings(
        http_port=0,
        mongo_uri=SecretStr(mongo_uri),
        mongo_database=f"test_{secrets.token_hex(6)}",
    )
    database = await open_database(settings)
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

    def credentials(scope: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {operator_token(keys, scope=scope)}"}

    @asynccontextmanager
    async def opened(policy: Policy) -> AsyncIterator[Replica]:
        settings = Settings(
            http_port=0,
            mongo_uri=SecretStr(mongo_uri),
            mongo_database=cleared,
            operator_key_file=keys.operator_public,
            instance_id=f"agreements-{next(numbers)}",
        )
        database = await open_database(settings)
        source = f"/voltbus/agreements/{settings.instance_id}"
        outbox = Outbox(database["outbox"], bus, settings.instance_id, Topic.AGREEMENTS_DEAD_LETTER)
        store = Store(database, outbox, source=source)
        await store.prepare()
        changes = ChangeHandler(store)
        scheduler = LifecycleScheduler(store, changes, policy=policy, now=hands, longest_s=3600)
        count = itertools.count(1)
        service = api.AgreementService(
            store,
            changes,
            policy,
            scheduler,
            now=hands,
            entropy=lambda size: next(count).to_bytes(size, "big"),
        )
        app = http.build_app("agreements", Operators(settings), lambda: {"mongo": True})
        rest = RestStore(database, audit_days=1)
        http.include(app, [api.router(service)], rest)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app, raise_app_exceptions=False),
            base_url="http://agreements",
            headers=credentials("agreements:read agreements:write"),
        )
        handlers = MessageHandlers(store, changes, source, hands)
        async with client:
            yield Replica(
                database,
                bus,
                hands,
                outbox,
                store,
                changes,
                scheduler,
                handlers,
                client,
                credentials,
            )
        await store.close()

    async with AsyncExitStack() as exits:

        async def make(policy: Policy | None = None) -> Replica:
            return await exits.enter_async_context(opened(policy or Policy()))

        yield make


@pytest_asyncio.fixture(loop_scope="session")
async def replica(make_replica: Callable[..., Awaitable[Replica]]) -> Replica:
    """One replica with the default policy."""
    return await make_replica()

"""Auth without its process: a store in memory or on real MongoDB, a clock that stands still."""

from __future__ import annotations

import base64
import secrets
from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

import httpx
import msgspec
import pytest
import pytest_asyncio
from pydantic import SecretStr

from auth.auth_examples import CARD, KEY, MINUTE, NOW, POLICY
from auth.memory_store import MemoryStore
from voltbus.embedded.keys import make_keys, operator_token
from voltbus_auth.credentials.api.credentials import credentials_router
from voltbus_auth.credentials.handlers.ports import CredentialReader
from voltbus_auth.database import Store
from voltbus_auth.decisions.api import authorizations_router
from voltbus_auth.decisions.handlers.knowledge import Library
from voltbus_auth.decisions.handlers.ports import (
    DecisionInputReader,
    Journal,
    Occupancy,
    Remembering,
)
from voltbus_auth.dispatch import RequestDispatcher
from voltbus_auth.erasure.api import erase_token, erasures_router
from voltbus_auth.projections.handlers.ports import Projections, RegisteredStations
from voltbus_auth.roaming.handlers.external import Asking, External
from voltbus_auth.settings import Settings, Way
from voltbus_auth.station_certificates.api import station_certificates_router
from voltbus_auth.tokens.api.bulk import bulk_router
from voltbus_auth.tokens.api.tokens import tokens_router
from voltbus_auth.tokens.domain.identifiers import masked
from voltbus_auth.tokens.domain.token import Token
from voltbus_auth.tokens.store.tokens import Value
from voltbus_auth.transactions.api import transactions_router
from voltbus_auth.transactions.handlers.bookkeeping import Bookkeeping
from voltbus_auth.transactions.handlers.closing import TransactionCloser
from voltbus_auth.transactions.handlers.samples import Samples
from voltbus_auth.transactions.handlers.superseding import SupersededMarker
from voltbus_auth.transactions.store.documents import record_of
from voltbus_backbone import rest as http
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract.registry import TYPES, Topic
from voltbus_backbone.mongo.store import open_database
from voltbus_backbone.rest.access import Operators

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from datetime import datetime
    from pathlib import Path

    from voltbus_auth.decisions.domain.verdict import Policy
    from voltbus_auth.tokens.domain.identifiers import TokenKey
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.handlers.ports import Books
    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.bus.envelope import Record as Outgoing
    from voltbus_backbone.contract.providers import ProviderAuthorize
    from voltbus_backbone.mongo.store import Database


class Shelf(
    DecisionInputReader, CredentialReader, RegisteredStations, Projections, Remembering, Protocol
):
    """What tests need of a store, whichever it is."""

    async def add_token(self, token: Token, refs: Sequence[str]) -> None: ...

    async def change_token(self, token: Token) -> None: ...

    async def forget_transactions(self) -> None: ...

    async def transaction_records(self) -> list[Record]: ...


class Clock:
    """Time that a test moves."""

    def __init__(self) -> None:
        self.time = NOW

    def __call__(self) -> datetime:
        return self.time


@dataclass
class Told:
    """What a batch came to: the answers by place in the log, and the events."""

    answers: dict[str, Any] = field(default_factory=dict)
    events: list[tuple[str, str, Any]] = field(default_factory=list)

    @property
    def answer(self) -> Any:
        """The only answer."""
        (found,) = self.answers.values()
        return found


def told(records: Sequence[Outgoing]) -> Told:
    """Read what a handler returned: events as (last word of the type, ce_id, message)."""
    found = Told()
    for record in records:
        headers = dict(record.headers)
        row = TYPES[headers["ce_type"].decode()]
        message = row.decoder.decode(record.value or b"")
        if "correlation-id" in headers:
            found.answers[headers["correlation-id"].decode()] = message
        else:
            word = row.name.rsplit(".", 2)[-2]
            found.events.append((word, headers["ce_id"].decode(), message))
    return found


class Nobody:
    """An external authorizer that never answers."""

    async def ask(self, question: ProviderAuthorize, budget_s: float) -> None:
        del question, budget_s


class Replica:
    """One replica of the service on a store that others may share."""

    def __init__(
        self,
        shelf: Shelf,
        books: Books,
        occupancy: Occupancy,
        journal: Journal,
        clock: Clock,
        *,
        policy: Policy = POLICY,
        authorizer: Asking | None = None,
        ev_certificate_provider: bool = False,
        key: TokenKey = KEY,
        kept: timedelta = timedelta(),
    ) -> None:
        self.shelf = shelf
        self.books = books
        self.clock = clock
        library = Library(shelf, policy, now=clock)
        source = "/voltbus/auth/auth-1"
        bookkeeping = Bookkeeping(
            books=books,
            occupancy=occupancy,
            journal=journal,
            library=library,
            key=key,
            source=source,
            now=clock,
            kept=kept,
        )
        self._dispatcher = RequestDispatcher(
            credentials=shelf,
            stations=shelf,
            library=library,
            bookkeeping=bookkeeping,
            journal=journal,
            key=key,
            source=source,
            now=clock,
            ev_certificate_provider=ev_certificate_provider,
        )
        self._samples = Samples(
            bookkeeping, shelf, books, SupersededMarker(books, occupancy, source=source, now=clock)
        )
        self._external = External(
            library=library,
            bookkeeping=bookkeeping,
            journal=journal,
            answers=shelf,
            authorizer=authorizer or Nobody(),
            key=key,
            source=source,
            now=clock,
            deadline_s=3.0,
            cache=5 * MINUTE,
        )

    async def handle(self, *events: Event) -> Told:
        """A batch of requests."""
        return told(await self._dispatcher.handle(events))

    async def pass_on(self, *events: Event) -> list[Event]:
        """What a batch of requests sends on to the external authorizer's topic, as consumed."""
        records = await self._dispatcher.handle(events)
        return [
            msgspec.structs.replace(
                event, type=dict(record.headers)["ce_type"].decode(), topic=record.topic
            )
            for record, event in zip(records, events, strict=True)
            if record.topic == Topic.AUTH_EXTERNAL_REQUESTS
        ]

    async def hear(self, *events: Event) -> Told:
        """A batch of what waits for the external authorizer."""
        return told(await self._external.handle(events))

    async def measure(self, *events: Event) -> Told:
        """A batch of station events."""
        return told(await self._samples.handle(events))

    async def records(self) -> list[Record]:
        """What is recorded."""
        return await self.shelf.transaction_records()

    async def token(self, value: str = CARD, kind: str = "ISO14443", **fields: Any) -> Token:
        """Register a token."""
        refs = KEY.all_of(kind, value)
        made = Token(ref=refs[0], type=kind, **fields)
        await self.shelf.add_token(made, refs)
        return made


class MongoShelf(Store):
    """The real store, with the handles that tests use."""

    async def add_token(self, token: Token, refs: Sequence[str]) -> None:
        value = Value("any", masked(token.type, "any"), refs, KEY.id, refs[:1])
        await self.token.create(token, value, NOW)

    async def change_token(self, token: Token) -> None:
        stored = await self.token.find(token.ref)
        assert stored is not None
        await self.token.update(replace(token, revision=stored.token.revision), NOW)

    async def transaction_records(self) -> list[Record]:
        documents = await self._database["transactions"].find().to_list(None)
        return [record_of(document) for document in documents]

    async def forget_transactions(self) -> None:
        """Delete all of them."""
        await self._database["transactions"].delete_many({})

    async def load_decision_inputs(self, refs: Any, token_refs: Any, station_ids: Any) -> Any:
        return await self.knowledge.load_decision_inputs(refs, token_refs, station_ids)

    async def tokens(self, refs: Any) -> Any:
        return await self.knowledge.tokens(refs)

    async def coverages(self, token_refs: Any) -> Any:
        return await self.knowledge.coverages(token_refs)

    async def places(self, station_ids: Any) -> Any:
        return await self.knowledge.places(station_ids)

    async def credentials(self, station_ids: Any) -> Any:
        return await self.credential.credentials(station_ids)

    async def registered(self, station_ids: Any) -> Any:
        return await self.projection.registered(station_ids)

    async def remember(self, answers: Any) -> None:
        await self.external.remember(answers)

    async def put_agreements(self, snapshots: Any) -> None:
        await self.projection.put_agreements(snapshots)

    async def drop_agreements(self, snapshots: Any) -> None:
        await self.projection.drop_agreements(snapshots)

    async def put_stations(self, states: Any) -> None:
        await self.projection.put_stations(states)

    async def drop_stations(self, removed: Any) -> None:
        await self.projection.drop_stations(removed)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def memory() -> MemoryStore:
    return MemoryStore()


@dataclass
class Served:
    """The store on MongoDB with the REST interface before it."""

    store: MongoShelf
    bus: MemoryBus
    database: Database
    client: httpx.AsyncClient
    as_operator: Any
    settings: Settings

    async def events(self, topic: str) -> list[Event]:
        """Relay what waits; every event so far."""
        while await self.store.outbox.relay():
            pass
        return self.bus.events(topic)


@pytest_asyncio.fixture(loop_scope="session", scope="session")
async def database_of_auth(mongo_uri: str) -> AsyncIterator[str]:
    """One database for the whole run: making indexes takes longer than most tests."""
    name = f"test_auth_{secrets.token_hex(4)}"
    yield name
    settings = Settings(
        http_port=0, mongo_uri=SecretStr(mongo_uri), mongo_database=name, token_key_file="/none"
    )
    database = await open_database(settings)
    await database.client.drop_database(name)
    database.client.close()


@pytest_asyncio.fixture(loop_scope="session")
async def served(
    mongo_uri: str, database_of_auth: str, tmp_path: Path, clock: Clock
) -> AsyncIterator[Served]:
    """A fresh store and its API."""
    keys = make_keys(tmp_path)
    field_key = tmp_path / "field.key"
    field_key.write_bytes(base64.b64encode(bytes(range(96))))
    settings = Settings(
        http_port=0,
        mongo_uri=SecretStr(mongo_uri),
        mongo_database=database_of_auth,
        operator_key_file=keys.operator_public,
        token_key_file=keys.token_key,
        field_key_file=field_key,
        instance_id="auth-1",
        external_authorizer=Way.TOPIC,  # what it said is read as well, in the same command
    )
    bus = MemoryBus()
    store = await MongoShelf.open(settings, publisher=bus, source="/voltbus/auth/1", now=clock)
    assert isinstance(store, MongoShelf)
    for name in await store._database.list_collection_names():
        if name != "field_keys":
            await store._database[name].delete_many({})
    library = Library(store.knowledge, POLICY)
    app = http.build_app("auth", Operators(settings), lambda: {"mongo": True})
    routers = [
        credentials_router(store.credential, clock),
        bulk_router(store.token, KEY, clock),
        tokens_router(store.token, KEY, clock, partial(erase_token, store.erasure)),
        erasures_router(store.token, store.erasure, clock),
        transactions_router(store.transaction, store.projection, closer_on(store, clock), clock),
        station_certificates_router(store.application),
        authorizations_router(store.journal, store.occupancy, library, KEY, clock),
    ]
    http.include(app, routers, store.rest)

    def as_operator(scope: str) -> dict[str, str]:
        return {"Authorization": f"Bearer {operator_token(keys, scope=scope)}"}

    client = httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://auth",
        headers=as_operator(
            "tokens:read tokens:write transactions:read transactions:write stations:read "
            "stations:write authorizations:read audit:read"
        ),
    )
    async with client:
        yield Served(store, bus, store._database, client, as_operator, settings)
    await store.close()


def closer_on(
    shelf: Shelf, clock: Clock, after: timedelta = timedelta(hours=1)
) -> TransactionCloser:
    """What closes transactions that nobody ended."""
    assert isinstance(shelf, Store)
    return TransactionCloser(
        shelf.transaction,
        shelf.transaction,
        shelf.occupancy,
        after=after,
        source="/voltbus/auth/1",
        now=clock,
    )


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.stack)])
def shelf(request: pytest.FixtureRequest) -> Shelf:
    """A store; each test that asks for it runs on both."""
    if request.param == "memory":
        memory: MemoryStore = request.getfixturevalue("memory")
        return memory
    served: Served = request.getfixturevalue("served")
    return served.store


@pytest.fixture
def replica(shelf: Shelf, clock: Clock) -> Replica:
    """A replica of the service."""
    return replica_on(shelf, clock)


def replica_on(
    shelf: Shelf,
    clock: Clock,
    *,
    policy: Policy = POLICY,
    authorizer: Asking | None = None,
    ev_certificate_provider: bool = False,
    key: TokenKey = KEY,
    kept: timedelta = timedelta(),
) -> Replica:
    """Another replica, or the same one after a restart."""
    chosen: dict[str, Any] = {
        "kept": kept,
        "policy": policy,
        "authorizer": authorizer,
        "ev_certificate_provider": ev_certificate_provider,
        "key": key,
    }
    if isinstance(shelf, MemoryStore):
        return Replica(shelf, shelf, shelf, shelf, clock, **chosen)
    assert isinstance(shelf, Store)
    return Replica(shelf, shelf.transaction, shelf.occupancy, shelf.journal, clock, **chosen)

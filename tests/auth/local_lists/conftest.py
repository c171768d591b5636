"""Local lists on real MongoDB; the clock, the bus and the stations are in a test's hand."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest_asyncio

from auth.auth_examples import KEY, NOW, POLICY
from voltbus_auth.local_lists.api.lists import local_lists_router
from voltbus_auth.local_lists.handlers.lists import LocalLists
from voltbus_auth.projections.handlers.projections import Projecting
from voltbus_auth.tokens.domain.identifiers import masked
from voltbus_auth.tokens.domain.token import Token
from voltbus_auth.tokens.store.tokens import Value
from voltbus_backbone import rest as http
from voltbus_backbone.bus.envelope import Event
from voltbus_backbone.contract.config import CommandChanged, CommandRequested, CommandStatus
from voltbus_backbone.contract.registry import (
    AGREEMENT_UPDATED,
    COMMAND_CHANGED,
    STATION_BOOTED,
    STATION_CONNECTED,
    STATION_DISCONNECTED,
    STATION_REGISTERED,
    STATION_REPORTED,
    STATION_STATE,
    MessageType,
)
from voltbus_backbone.contract.stations import (
    StationBooted,
    StationConnected,
    StationDisconnected,
    StationRegistered,
    StationReported,
    StationState,
)
from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.rest.access import Operators

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from auth.conftest import Clock, Served
    from voltbus_auth.tokens.domain.identifiers import TokenKey
    from voltbus_backbone.contract.agreements import AgreementSnapshot
    from voltbus_backbone.contract.values import Message

_ROWS: dict[type, MessageType[Any]] = {
    CommandChanged: COMMAND_CHANGED,
    StationBooted: STATION_BOOTED,
    StationConnected: STATION_CONNECTED,
    StationDisconnected: STATION_DISCONNECTED,
    StationRegistered: STATION_REGISTERED,
    StationReported: STATION_REPORTED,
    StationState: STATION_STATE,
}
_places = itertools.count(1)
SETTLED = timedelta(seconds=2)


def told(message: Message, row: MessageType[Any] | None = None) -> Event:
    """An event as it was consumed."""
    place = next(_places)
    row = row or _ROWS[type(message)]
    return Event(
        id=f"event-{place}",
        source="/voltbus/test/1",
        type=row.name,
        time="2026-03-04T12:00:00.000Z",
        subject="",
        data=b"",
        topic="voltbus.test",
        partition=0,
        offset=place,
        key=b"",
        message=message,
    )


@dataclass
class Answering:
    """A station that takes what it is sent. ``said`` replaces its answer to an action."""

    version: int = 0
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    received: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    said: dict[str, dict[str, Any]] = field(default_factory=dict)

    def answer(self, call: CommandRequested) -> CommandChanged:
        """What config tells of the call's end."""
        self.received.append((call.action, call.payload))
        told: dict[str, Any] = {}
        if call.action == "GetConfiguration":
            told["told"] = {"SendLocalListMaxLength": 2, "LocalAuthListMaxLength": 5}
        elif call.action == "GetLocalListVersion":
            told["told"] = {"listVersion": self.version}
        else:
            told["answer_status"] = self._update(call.payload)
        return CommandChanged(
            **{
                "command_id": "c",
                "station_id": call.station_id,
                "action": call.action,
                "status": CommandStatus.ANSWERED,
                "at": NOW,
                "cause": call.cause,
                **told,
                **self.said.get(call.action, {}),
            }
        )

    def _update(self, payload: dict[str, Any]) -> str:
        if payload["updateType"] == "Full":
            self.entries = {}
        elif payload["listVersion"] <= self.version:
            return "VersionMismatch"
        for line in payload.get("localAuthorizationList", ()):
            if "idTagInfo" in line:
                self.entries[line["idTag"]] = line["idTagInfo"]
            else:
                self.entries.pop(line["idTag"], None)
        self.version = payload["listVersion"]
        return "Accepted"

    def updates(self) -> list[str]:
        """The kinds of lists that it was sent."""
        return [one["updateType"] for action, one in self.received if action == "SendLocalList"]


@dataclass
class Kept:
    """One replica of the local lists, and stations that answer when they are asked to."""

    served: Served
    lists: LocalLists
    client: httpx.AsyncClient
    clock: Clock
    stations: dict[str, Answering] = field(default_factory=dict)
    heard: int = 0

    def replica(self) -> LocalLists:
        """Another replica on the same store and bus, or this one after a restart."""
        return LocalLists(
            self.served.store.lists,
            POLICY,
            self.served.bus,
            source="/voltbus/auth/2",
            now=self.clock,
            settle_s=1.0,
            retry_s=30.0,
            chance=lambda: 0.0,
        )

    async def tell(self, *messages: Message) -> None:
        """Events of stations and commands."""
        await self.lists.events.handle([told(message) for message in messages])

    async def station(self, name: str = "CS-1", **state: Any) -> Answering:
        """A 1.6 station that is registered and connected."""
        found = self.stations.setdefault(name, Answering())
        await self.tell(
            StationState(**{"station_id": name, "revision": 1, "at": NOW, **state}),
            StationConnected(
                station_id=name,
                connection_id=f"{name}-1",
                gateway_id="g-1",
                gateway_partition=0,
                protocol=Protocol.OCPP16,
                at=NOW,
            ),
        )
        return found

    async def token(
        self, value: str, kind: str = "ISO14443", key: TokenKey = KEY, **fields: Any
    ) -> str:
        """Register a token; its reference."""
        refs = key.all_of(kind, value)
        token = Token(ref=refs[0], type=kind, **fields)
        kept = Value(value, masked(kind, value), refs, key.id)
        assert await self.served.store.token.create(token, kept, self.clock())
        await self.token_events()
        return refs[0]

    async def change(self, ref: str, **fields: Any) -> None:
        """Change a token's rights, as an operator does."""
        path = f"/v1/tokens/{ref}"
        answer = await self.served.client.patch(path, json=fields, headers={"If-Match": "*"})
        assert answer.status_code == 200, answer.text
        await self.token_events()

    async def token_events(self) -> None:
        """Hand on what auth has told of tokens since last time."""
        events = await self.served.events("tokens.events")
        fresh, self.heard = events[self.heard :], len(events)
        await self.lists.events.handle(fresh)

    async def agreement(self, snapshot: AgreementSnapshot) -> None:
        """An agreement, as the projection's consumer gets it."""
        projecting = Projecting(
            self.served.store.projection,
            agreements_changed=self.lists.marking.agreements_changed,
        )
        await projecting.handle([told(snapshot, AGREEMENT_UPDATED)])

    async def plan(self, name: str = "CS-1", place: str = "stations", **fields: Any) -> None:
        """Put a plan, over the one that is there."""
        path = f"/v1/local-lists/{place}/{name}"
        known = await self.client.get(path)
        headers = {"If-Match": known.headers["ETag"]} if known.is_success else {}
        answer = await self.client.put(path, json=fields, headers=headers)
        assert answer.is_success, answer.text

    def calls(self) -> list[CommandRequested]:
        """Every call that was written so far."""
        return [event.message for event in self.served.bus.events("config.requests")]

    async def work(self, most: int = 60) -> None:
        """Let time pass and stations answer, until nothing is due soon."""
        answered = len(self.calls())
        for _ in range(most):
            self.clock.time += SETTLED
            await self.lists.keeping.look()
            fresh = self.calls()[answered:]
            answered += len(fresh)
            for call in fresh:
                await self.tell(self.stations[call.station_id].answer(call))
            soon = {"due": {"$lte": self.clock.time + SETTLED}}
            waiting = await self.served.database["local_list_stations"].count_documents(soon)
            if not fresh and not waiting:
                return
        raise AssertionError("the lists never come to rest")

    async def shown(self, name: str = "CS-1") -> dict[str, Any]:
        """How a station's list stands."""
        answer = await self.client.get(f"/v1/stations/{name}/local-list")
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


@pytest_asyncio.fixture(loop_scope="session")
async def kept(served: Served, clock: Clock) -> AsyncIterator[Kept]:
    """Local lists of the example operator."""
    lists = LocalLists(
        served.store.lists,
        POLICY,
        served.bus,
        source="/voltbus/auth/1",
        now=clock,
        settle_s=1.0,
        retry_s=30.0,
        chance=lambda: 0.0,
    )
    app = http.build_app("auth", Operators(served.settings), lambda: {"mongo": True})
    http.include(app, [local_lists_router(served.store.lists, lists, clock)], served.store.rest)
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(app, raise_app_exceptions=False),
        base_url="http://auth",
        headers=served.as_operator("tokens:read tokens:write"),
    ) as client:
        yield Kept(served, lists, client, clock)

"""The collections of config, and its transactions.

stations   what the operator registered, and what Boot said
presence   connection, last seen and connectors: written by the event consumer, often
desired    settings wanted and reported, by station
layers     what the layers say that are stored here (default, model, group, site, station)
agreements the projection of site-host agreements
commands   with their life; at most one per station is out (a partial unique index sees to it)
reservations, with their life
gateways   when each was heard of
due        when each station has to be reconciled again
outbox, idempotency keys
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from pymongo import UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError, PyMongoError

from voltbus_backbone.errors import Unavailable
from voltbus_backbone.mongo.rest_store import RestStore
from voltbus_backbone.mongo.store import Reachable
from voltbus_config.domain.commands import OPEN, Command
from voltbus_config.domain.connections import LOST, Presence
from voltbus_config.domain.desired import Desired
from voltbus_config.domain.layers import LayerSettings, StationAgreement
from voltbus_config.domain.stations import RegisteredStation
from voltbus_config.store.gateways import GatewayRepository
from voltbus_config.store.repository import Repository
from voltbus_config.store.reservations import ReservationRepository
from voltbus_config.store.schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
    from datetime import datetime, timedelta

    from motor.motor_asyncio import AsyncIOMotorClientSession

    from voltbus_backbone.mongo.store import Database
    from voltbus_backbone.rest.conventions import Paging

    Session = AsyncIOMotorClientSession
else:
    Session = Any

T = TypeVar("T")

_TRIES = 12
_PAUSE_S = 0.01
_DUPLICATE = 11000


class StoredLayer(msgspec.Struct, frozen=True, rename={"id": "_id"}):
    """A layer by its name, such as "station:CS-1"."""

    id: str
    settings: LayerSettings


class Store:
    """Everything that config keeps."""

    def __init__(self, database: Database, *, audit_days: int = 365) -> None:
        self._database = database
        self.reachable = Reachable()
        self.stations = Repository(database["stations"], RegisteredStation)
        self.presence = Repository(database["presence"], Presence)
        self.desired = Repository(database["desired"], Desired)
        self.commands = Repository(database["commands"], Command)
        self.agreements = Repository(database["agreements"], StationAgreement)
        self.reservations = ReservationRepository(database["reservations"], self.reachable)
        self._layers = Repository(database["layers"], StoredLayer)
        self.gateways = GatewayRepository(database["gateways"], self.reachable)
        self.schedule = Schedule(database["due"], self.reachable)
        self.outbox = database["outbox"]
        self.rest = RestStore(database, audit_days=audit_days)

    async def prepare(self, commands_kept: timedelta) -> None:
        """Create the indexes."""
        with self.reachable.watching():
            await self.rest.prepare()
            commands = self.commands.collection
            await commands.create_index([("station_id", 1), ("status", 1)])
            await commands.create_index(
                "station_id",
                name="one_out",
                unique=True,
                partialFilterExpression={"status": "sent"},
            )
            await commands.create_index(
                [("station_id", 1), ("idempotency_key", 1)],
                unique=True,
                partialFilterExpression={"idempotency_key": {"$exists": True}},
            )
            await commands.create_index(
                "ended_at", expireAfterSeconds=int(commands_kept.total_seconds())
            )
            await self.reservations.prepare(commands_kept)
            await self.schedule.prepare()
            await self.gateways.prepare()
            stations = self.stations.collection
            await stations.create_index([("created_at", -1), ("_id", -1)])
            await stations.create_index("group_id", sparse=True)
            await stations.create_index("site_id", sparse=True)
            await self.presence.collection.create_index(
                [("connection.gateway_id", 1), ("connection.open", 1)]
            )
            for scope in ("stations", "groups", "locations", "everywhere"):
                await self.agreements.collection.create_index(scope)

    async def close(self) -> None:
        """Close the connections."""
        self._database.client.close()

    async def transact(self, work: Callable[[Session], Awaitable[T]]) -> T:
        """Run ``work`` in a transaction; run it again when it conflicts with another one.

        Raises:
            Unavailable: MongoDB is away, or the contention does not end.
        """
        for attempt in range(1, _TRIES + 1):
            try:
                with self.reachable.watching():
                    async with (
                        await self._database.client.start_session() as session,
                        session.start_transaction(),
                    ):
                        return await work(session)
            except (PyMongoError, Unavailable) as error:
                if not _is_conflict(error):
                    raise
                if attempt == _TRIES:
                    raise Unavailable("too many changes of the same stations at once") from error
            await asyncio.sleep(_PAUSE_S * attempt)
        raise AssertionError  # pragma: no cover - the loop returns or raises

    # Layers.

    async def load_layers(
        self, names: Iterable[str], session: Session | None
    ) -> dict[str, LayerSettings]:
        """Return stored layers by name."""
        found = await self._layers.get(names, session)
        return {name: layer.settings for name, layer in found.items()}

    async def put_layer(self, name: str, settings: LayerSettings | None, session: Session) -> None:
        """Replace a layer; None removes it."""
        if settings is None:
            await self._layers.collection.delete_one({"_id": name}, session=session)
        else:
            await self._layers.put([StoredLayer(name, settings)], session)

    async def page_layers(self, paging: Paging) -> tuple[list[tuple[str, LayerSettings]], bool]:
        """Return a page of the layers that stations share, in the order of their names."""
        query = {"_id": {"$not": {"$regex": "^station:"}}}
        found, more = await self._layers.page(query, paging, by="_id")
        return [(layer.id, layer.settings) for layer in found], more

    async def find_stations_of_layer(self, name: str, session: Session | None) -> list[str]:
        """Return the ids of the stations that a shared layer applies to."""
        kind, _, value = name.partition(":")
        vendor, _, model = value.partition("/")
        query: dict[str, Any] = {
            "default": {},
            "model": {"vendor": vendor, "model": model},
            "group": {"group_id": value},
            "site": {"site_id": value},
        }[kind]
        cursor = self.stations.collection.find(query, {"_id": 1}, session=session)
        return [found["_id"] for found in await cursor.to_list(None)]

    async def load_agreements_for(
        self, stations: Iterable[RegisteredStation], session: Session | None
    ) -> list[StationAgreement]:
        """Return agreements that may apply to any of these stations."""
        known = list(stations)
        groups = {station.group_id for station in known if station.group_id}
        sites = {station.site_id for station in known if station.site_id}
        query: list[dict[str, Any]] = [
            {"everywhere": True},
            {"stations": {"$in": [station.id for station in known]}},
        ]
        if groups:
            query.append({"groups": {"$in": list(groups)}})
        if sites:
            query.append({"locations": {"$in": list(sites)}})
        return list((await self.agreements.find_matching({"$or": query}, session)).values())

    async def find_stations_covered_by(self, agreements: Sequence[StationAgreement]) -> list[str]:
        """Return the ids of the stations in the scope of any of these."""
        if not agreements:
            return []
        query: dict[str, Any] = {}
        if not any(agreement.everywhere for agreement in agreements):
            query["$or"] = [
                {"_id": {"$in": [name for each in agreements for name in each.stations]}},
                {"group_id": {"$in": [name for each in agreements for name in each.groups]}},
                {"site_id": {"$in": [name for each in agreements for name in each.locations]}},
            ]
        found = await self.stations.collection.find(query, {"_id": 1}).to_list(None)
        return [each["_id"] for each in found]

    # Commands.

    async def load_open_commands(
        self, station_ids: Sequence[str], session: Session | None
    ) -> dict[str, list[Command]]:
        """Return commands that have not ended, by station, in their order."""
        query = {
            "station_id": {"$in": list(station_ids)},
            "status": {"$in": sorted(status.value for status in OPEN)},
        }
        result: dict[str, list[Command]] = {}
        for command in (await self.commands.find_matching(query, session)).values():
            result.setdefault(command.station_id, []).append(command)
        return result

    async def find_commands_by_key(
        self, keys: Sequence[tuple[str, str]], session: Session | None
    ) -> dict[tuple[str, str], Command]:
        """Return commands by station and idempotency key."""
        if not keys:
            return {}
        query = {"$or": [{"station_id": station, "idempotency_key": key} for station, key in keys]}
        found = (await self.commands.find_matching(query, session)).values()
        return {
            (command.station_id, command.idempotency_key): command
            for command in found
            if command.idempotency_key is not None
        }

    async def find_ended_commands(self, ids: Collection[str]) -> list[str]:
        """Return which of these commands have ended."""
        query = {
            "_id": {"$in": list(ids)},
            "status": {"$nin": sorted(status.value for status in OPEN)},
        }
        with self.reachable.watching():
            cursor = self.commands.collection.find(query, {"_id": 1})
            return [found["_id"] for found in await cursor.to_list(None)]

    async def page_commands(
        self, query: dict[str, str], paging: Paging
    ) -> tuple[list[Command], bool]:
        """Return a page of commands by their ids, which sort by time."""
        return await self.commands.page(query, paging, by="_id")

    async def page_stations(
        self,
        query: dict[str, str],
        connected: bool | None,  # noqa: FBT001 - a filter
        paging: Paging,
    ) -> tuple[list[RegisteredStation], bool]:
        """Return a page of stations by when they were registered."""
        if connected is None:
            return await self.stations.page(query, paging)
        open_ones = await self.presence.collection.distinct("_id", {"connection.open": True})
        bound = {"_id": {"$in" if connected else "$nin": open_ones}}
        return await self.stations.page({"$and": [query, bound]}, paging)

    # Connections.

    async def mark_ready(self, connections: Mapping[str, str], at: datetime) -> None:
        """Allow calls from ``at`` on these connections (by station): see ``Booted``."""
        writes = [
            UpdateOne({"_id": station_id}, [{"$set": _boot_stages(connection_id, at)}], upsert=True)
            for station_id, connection_id in connections.items()
        ]
        if writes:
            with self.reachable.watching():
                await self.presence.collection.bulk_write(writes, ordered=False)

    async def close_connections(
        self, connections: Mapping[str, str], now: datetime, session: Session
    ) -> None:
        """Close connections (by station) that their gateway does not have."""
        for station_id, connection_id in connections.items():
            await self.presence.collection.update_one(
                {
                    "_id": station_id,
                    "connection.connection_id": connection_id,
                    "connection.open": True,
                },
                {
                    "$set": {
                        "connection.open": False,
                        "connection.closed_at": now,
                        "connection.close_reason": "not connected",
                    },
                    "$inc": {"revision": 1},
                },
                session=session,
            )

    async def load_connections(
        self, gateway_id: str, after: str, most: int, before: datetime | None = None
    ) -> list[Presence]:
        """Return stations connected there (since before a time), in order of their ids."""
        query: dict[str, Any] = {
            "connection.gateway_id": gateway_id,
            "connection.open": True,
            "_id": {"$gt": after},
        }
        if before is not None:
            query["connection.connected_at"] = {"$lt": before}
        return await self._presences(query, most)

    async def load_lost_connections(
        self, gateway_id: str, after: str, most: int, since: datetime | None
    ) -> list[Presence]:
        """Return stations whose connection there, not older than ``since``, was declared lost."""
        query: dict[str, Any] = {
            "connection.gateway_id": gateway_id,
            "connection.open": False,
            "connection.close_reason": LOST,
            "_id": {"$gt": after},
        }
        if since is not None:
            query["connection.connected_at"] = {"$gte": since}
        return await self._presences(query, most)

    async def _presences(self, query: dict[str, Any], most: int) -> list[Presence]:
        with self.reachable.watching():
            cursor = self.presence.collection.find(query).sort("_id", 1).limit(most)
            return [self.presence.read(found) for found in await cursor.to_list(most)]


def _boot_stages(connection_id: str, at: datetime) -> dict[str, Any]:
    """Build the update of a presence after a Boot, also before its connection is known."""
    on_it = {"$eq": ["$connection.connection_id", connection_id]}
    ready = {"ready_at": {"$min": ["$connection.ready_at", at]}}
    return {
        "booted": {"connection_id": connection_id, "ready_at": at},
        "connection": {"$cond": [on_it, {"$mergeObjects": ["$connection", ready]}, "$connection"]},
        "revision": {"$add": [{"$ifNull": ["$revision", 0]}, 1]},
    }


def _is_conflict(error: BaseException) -> bool:
    """Return whether the work lost against another transaction and may succeed again."""
    if isinstance(error, Unavailable):
        return error.__cause__ is not None and _is_conflict(error.__cause__)
    if isinstance(error, DuplicateKeyError):
        return True
    if isinstance(error, BulkWriteError):
        return all(each["code"] == _DUPLICATE for each in error.details["writeErrors"])
    return isinstance(error, PyMongoError) and error.has_error_label("TransientTransactionError")

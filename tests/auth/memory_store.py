"""Auth's store in memory; the suites that use it run on real MongoDB as well."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.decisions.domain.reservations import Occupy, Release
from voltbus_auth.projections.domain.coverage import Coverage, coverage_of
from voltbus_auth.projections.domain.places import Place, place_of
from voltbus_auth.tokens.domain.token import Token, likeliest
from voltbus_auth.transactions.store.documents import record_document, record_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from datetime import datetime

    from voltbus_auth.credentials.domain.credentials import Credentials
    from voltbus_auth.decisions.domain.external import Answer
    from voltbus_auth.decisions.domain.journal import Decided
    from voltbus_auth.decisions.handlers.ports import DecisionInputs
    from voltbus_auth.transactions.domain.record import Record
    from voltbus_auth.transactions.domain.samples import SampleSet
    from voltbus_backbone.contract.agreements import AgreementSnapshot
    from voltbus_backbone.contract.stations import StationState
    from voltbus_backbone.contract.values import Sample


class MemoryStore:
    """Tokens, projections, credentials and transactions as dicts.

    ``before_write`` runs once before the next write: where another replica gets in between.
    """

    def __init__(self) -> None:
        self.by_ref: dict[str, list[Token]] = {}
        self.agreements: dict[str, AgreementSnapshot] = {}
        self.stations: dict[str, StationState] = {}
        self.doors: dict[str, Credentials] = {}
        self.transactions: dict[str, Record] = {}
        self.kept: dict[str, SampleSet] = {}
        self.open: dict[str, list[Occupy]] = {}
        self.last_id = 0
        self.decided: list[Decided] = []
        self.answers: dict[tuple[str, str], Answer] = {}
        self.writes = 0
        self.before_write: list[Sequence[Record]] = []

    async def add_token(self, token: Token, refs: Sequence[str]) -> None:
        for ref in refs:
            self.by_ref.setdefault(ref, []).append(token)

    async def change_token(self, token: Token) -> None:
        for ref, tokens in self.by_ref.items():
            self.by_ref[ref] = [token if one.ref == token.ref else one for one in tokens]

    async def tokens(self, refs: Collection[str]) -> dict[str, Token]:
        await asyncio.sleep(0)
        found = {ref: likeliest(self.by_ref.get(ref, ())) for ref in refs}
        return {ref: token for ref, token in found.items() if token is not None}

    async def load_decision_inputs(
        self, refs: Collection[str], token_refs: Collection[str], station_ids: Collection[str]
    ) -> DecisionInputs:
        return (
            await self.tokens(refs),
            await self.coverages(token_refs),
            await self.places(station_ids),
            {
                (ref, station_id): answer
                for (ref, station_id), answer in self.answers.items()
                if ref in refs and station_id in station_ids
            },
        )

    async def remember(self, answers: Sequence[Answer]) -> None:
        await asyncio.sleep(0)
        self.answers |= {(one.ref, one.station_id): one for one in answers}

    async def coverages(self, token_refs: Collection[str]) -> dict[str, list[Coverage]]:
        await asyncio.sleep(0)
        found: dict[str, list[Coverage]] = {}
        for snapshot in self.agreements.values():
            for token in snapshot.tokens:
                if token.ref in token_refs:
                    found.setdefault(token.ref, []).append(coverage_of(snapshot))
        return found

    async def places(self, station_ids: Collection[str]) -> dict[str, Place]:
        await asyncio.sleep(0)
        return {name: place_of(self.stations[name]) for name in station_ids & self.stations.keys()}

    async def credentials(self, station_ids: Collection[str]) -> dict[str, Credentials]:
        await asyncio.sleep(0)
        return {name: self.doors[name] for name in station_ids & self.doors.keys()}

    async def registered(self, station_ids: Collection[str]) -> set[str]:
        await asyncio.sleep(0)
        return station_ids & self.stations.keys()

    async def records(
        self, refs: Collection[str], keys: Collection[str], stations: Collection[str] = ()
    ) -> list[Record]:
        await asyncio.sleep(0)
        return [
            record
            for record in self.transactions.values()
            if record.ref in refs
            or record.key in keys
            or (record.station_id in stations and not record.ended)
        ]

    async def take_ids(self, count: int) -> list[int]:
        await asyncio.sleep(0)
        self.last_id += count
        return list(range(self.last_id - count + 1, self.last_id + 1))

    async def write(self, records: Sequence[Record], loaded: Mapping[str, int]) -> set[str]:
        await asyncio.sleep(0)
        if records and self.before_write:
            for record in self.before_write.pop():
                self.transactions[record.ref] = record
        lost = set()
        for record in records:
            self.writes += 1
            stored = self.transactions.get(record.ref)
            if (stored.revision if stored is not None else None) != loaded.get(record.ref):
                lost.add(record.ref)
            else:
                # Through the document, so that what does not survive storing shows here.
                self.transactions[record.ref] = record_of(record_document(record))
        return lost

    async def samples(self, refs: Collection[str]) -> dict[str, list[Sample]]:
        await asyncio.sleep(0)
        found: dict[str, list[Sample]] = {}
        for one in self.kept.values():
            if one.ref in refs:
                found.setdefault(one.ref, []).extend(one.samples)
        return found

    async def keep_samples(self, samples: Sequence[SampleSet]) -> None:
        await asyncio.sleep(0)
        for one in samples:
            self.kept.setdefault(one.id, one)

    async def occupy(self, steps: Sequence[Occupy | Release]) -> set[tuple[str, str]]:
        await asyncio.sleep(0)
        touched = set()
        for step in steps:
            if isinstance(step, Release):
                for key in step.keys:
                    self.open[key] = [one for one in self.open.get(key, ()) if one.ref != step.ref]
                continue
            for limit in step.limits:
                touched.add(limit.key)
                kept = [one for one in self.open.get(limit.key, ()) if _stays(one, step)]
                if all(one.ref != step.ref for one in kept) and len(kept) < limit.most:
                    kept.append(step)
                self.open[limit.key] = kept
        return {(one.ref, key) for key in touched for one in self.open[key]}

    async def put_agreements(self, snapshots: Sequence[AgreementSnapshot]) -> None:
        for one in snapshots:
            stored = self.agreements.get(one.id)
            if stored is None or stored.revision < one.revision:
                self.agreements[one.id] = one

    async def drop_agreements(self, snapshots: Sequence[AgreementSnapshot]) -> None:
        for one in snapshots:
            stored = self.agreements.get(one.id)
            if stored is None or stored.revision <= one.revision:
                self.agreements[one.id] = _without_tokens(one)

    async def put_stations(self, states: Sequence[StationState]) -> None:
        for one in states:
            stored = self.stations.get(one.station_id)
            if stored is None or stored.revision < one.revision:
                self.stations[one.station_id] = one

    async def drop_stations(self, removed: Mapping[str, datetime]) -> None:
        for name, at in removed.items():
            if name in self.stations and self.stations[name].at <= at:
                del self.stations[name]
            door = self.doors.get(name)
            if door is not None and door.updated_at is not None and door.updated_at <= at:
                del self.doors[name]

    def note(self, decided: Iterable[Decided]) -> None:
        self.decided.extend(decided)

    async def forget_transactions(self) -> None:
        self.transactions.clear()

    async def transaction_records(self) -> list[Record]:
        return list(self.transactions.values())


def _stays(one: Occupy, step: Occupy) -> bool:
    return one.ref == step.ref or not step.outlet or one.outlet != step.outlet or one.at > step.at


def _without_tokens(snapshot: AgreementSnapshot) -> AgreementSnapshot:
    return msgspec.structs.replace(snapshot, tokens=())


def overtaken(record: Record, cause: str) -> Record:
    """The record as another replica would have changed it meanwhile."""
    told = replace(record.recent[-1], cause=cause, revision=record.revision + 1)
    return replace(record, revision=record.revision + 1, recent=(*record.recent, told))

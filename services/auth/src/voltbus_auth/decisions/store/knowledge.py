"""Everything that a batch of decisions needs, read from three collections in one command."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_auth.decisions.store.external import COLLECTION, ExternalStore
from voltbus_auth.tokens.store.tokens import RIGHTS

if TYPE_CHECKING:
    from collections.abc import Collection

    from voltbus_auth.decisions.handlers.ports import DecisionInputs
    from voltbus_auth.projections.domain.coverage import Coverage
    from voltbus_auth.projections.domain.places import Place
    from voltbus_auth.projections.store import ProjectionStore
    from voltbus_auth.tokens.domain.token import Token
    from voltbus_auth.tokens.store.tokens import TokenStore
    from voltbus_backbone.mongo.store import Database, Document, Reachable

_FROM = "from"
_MOST = 10_000  # in one answer: a batch is at most a few hundred stations


class KnowledgeStore:
    """Reads tokens, agreements and stations together.

    Each command costs a hop to a thread and back; for small batches that is most of the cost.
    """

    def __init__(
        self,
        database: Database,
        reachable: Reachable,
        *,
        tokens: TokenStore,
        projections: ProjectionStore,
        external: bool,
    ) -> None:
        self._collection = database["tokens"]
        self._reachable = reachable
        self._tokens = tokens
        self._projections = projections
        self._external = external

    async def load_decision_inputs(
        self, refs: Collection[str], token_refs: Collection[str], station_ids: Collection[str]
    ) -> DecisionInputs:
        """Tokens by presented reference, agreements by token, stations by id, answers by both."""
        stations = {"_id": {"$in": list(station_ids)}, "removed_at": None}
        pipeline: list[dict[str, Any]] = [
            {"$match": {"refs": {"$in": list(refs)}}},
            {"$project": RIGHTS},
            _also("agreements", {"tokens": {"$in": list(token_refs)}}),
            _also("stations", stations),
        ]
        if self._external:
            about = {"ref": {"$in": list(refs)}, "station_id": {"$in": list(station_ids)}}
            pipeline.append(_also(COLLECTION, about))
        by_kind: dict[str, list[Document]] = {
            name: [] for name in ("tokens", "agreements", "stations", COLLECTION)
        }
        with self._reachable.watching():
            for document in await self._collection.aggregate(pipeline, batchSize=_MOST).to_list(
                None
            ):
                by_kind[document.pop(_FROM, "tokens")].append(document)
        return (
            self._tokens.meant_by(by_kind["tokens"]),
            self._projections.coverages_in(by_kind["agreements"]),
            self._projections.places_in(by_kind["stations"]),
            ExternalStore.answers_in(by_kind[COLLECTION]),
        )

    async def tokens(self, refs: Collection[str]) -> dict[str, Token]:
        """The tokens that these presented references mean."""
        return await self._tokens.tokens(refs)

    async def coverages(self, token_refs: Collection[str]) -> dict[str, list[Coverage]]:
        """The agreements that name these tokens."""
        return await self._projections.coverages(token_refs)

    async def places(self, station_ids: Collection[str]) -> dict[str, Place]:
        """The stations that config has told of."""
        return await self._projections.places(station_ids)


def _also(collection: str, query: Document) -> dict[str, Any]:
    stages = [{"$match": query}, {"$set": {_FROM: collection}}]
    return {"$unionWith": {"coll": collection, "pipeline": stages}}

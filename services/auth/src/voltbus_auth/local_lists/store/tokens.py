"""Tokens as local lists need them: which may belong on one, and the values of those to be sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import UpdateOne

from voltbus_auth.local_lists.domain.entries import Candidate
from voltbus_auth.local_lists.domain.plans import Blocked
from voltbus_auth.tokens.domain.token import TokenStatus, Whitelist
from voltbus_auth.tokens.store.documents import token_of
from voltbus_auth.tokens.store.tokens import RIGHTS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Mapping
    from datetime import datetime

    from voltbus_auth.local_lists.domain.plans import Wanted
    from voltbus_auth.projections.store import ProjectionStore
    from voltbus_auth.tokens.domain.token import Token
    from voltbus_auth.tokens.store.vault import Vault
    from voltbus_backbone.mongo.store import Database, Document, Reachable

_PORTION = 10_000  # references in one query, which MongoDB limits to 16 MB
# Whether there is a value, without reading it.
_KEPT = RIGHTS | {"length": 1, "kept": {"$gt": ["$value", None]}}


class ListedTokenStore:
    """Reads the tokens that lists are made of."""

    def __init__(
        self,
        database: Database,
        reachable: Reachable,
        *,
        projections: ProjectionStore,
        vault: Vault | None,
    ) -> None:
        self._tokens = database["tokens"]
        self._reachable = reachable
        self._projections = projections
        self._vault = vault

    async def prepare(self) -> None:
        """Create the index."""
        with self._reachable.watching():
            await self._tokens.create_index([("whitelist", 1), ("_id", 1)])

    async def wanted(
        self, wanted: Wanted, plan_keys: Collection[str], most: int, at: datetime
    ) -> list[str]:
        """References of the tokens that these plans may mean, the most wanted first.

        Of those that are not named one by one, no more are read than twice what a list holds
        (``most``), and none that is blocked or expired for itself.
        """
        found = dict.fromkeys(sorted(wanted.tokens))
        usable: Document = {"expires_at": {"$not": {"$lte": at}}}
        if wanted.blocked is Blocked.REMOVE:
            usable["status"] = TokenStatus.ACCEPTED.value
        if wanted.token_groups:
            groups = {"group_id": {"$in": sorted(wanted.token_groups)}}
            found |= dict.fromkeys(await self._refs(groups | usable, most))
        if wanted.covered:
            covered = await self._projections.tokens_covering(plan_keys, most)
            found |= dict.fromkeys(covered)
        for word in (Whitelist.ALWAYS, Whitelist.ALLOWED, Whitelist.ALLOWED_OFFLINE):
            if word in wanted.whitelist and len(found) <= most:
                # The default is not stored.
                stored = None if word is Whitelist.ALLOWED else word.value
                found |= dict.fromkeys(await self._refs({"whitelist": stored, **usable}, most))
        return list(found)

    async def _refs(self, query: Document, most: int) -> list[str]:
        with self._reachable.watching():
            cursor = self._tokens.find(query, {"_id": 1}).sort("_id", 1).limit(2 * most + 1)
            return [one["_id"] async for one in cursor]

    async def candidates(self, refs: Collection[str], *, untyped: bool) -> dict[str, Candidate]:
        """These tokens, as far as they exist, with the agreements that name them.

        ``untyped``: with their rivals too, for a station that tells no types apart.
        """
        with self._reachable.watching():
            cursor = self._tokens.find({"_id": {"$in": list(refs)}}, _KEPT)
            documents: list[Document] = await cursor.to_list(None)
        coverages = await self._projections.coverages([one["_id"] for one in documents])
        rivals = await self._rivals(documents) if untyped else {}
        return {
            one["_id"]: Candidate(
                token=token_of(one),
                tag_ref=_tag_ref(one),
                readable=bool(one["kept"]) and self._vault is not None,
                length=one.get("length"),
                coverages=tuple(coverages.get(one["_id"], ())),
                rivals=rivals.get(one["_id"], ()),
            )
            for one in documents
        }

    async def of_same_value(self, refs: Collection[str]) -> set[str]:
        """These tokens, as far as they exist, and all that 1.6 cannot tell from them."""
        with self._reachable.watching():
            cursor = self._tokens.find({"_id": {"$in": list(refs)}}, {"refs": 1})
            documents: list[Document] = await cursor.to_list(None)
        return {one["_id"] async for one in self._found_like(documents, {"_id": 1})}

    async def _rivals(self, documents: Collection[Document]) -> dict[str, tuple[Token, ...]]:
        """Of each of these tokens the others that are found under a reference of its value."""
        by_ref: dict[str, dict[str, Document]] = {}
        async for other in self._found_like(documents, RIGHTS):
            for ref in other["refs"]:
                by_ref.setdefault(ref, {})[other["_id"]] = other
        rivals: dict[str, tuple[Token, ...]] = {}
        for document in documents:
            others = {
                name: other
                for ref in _values(document)
                for name, other in by_ref.get(ref, {}).items()
                if name != document["_id"]
            }
            if others:
                rivals[document["_id"]] = tuple(token_of(one) for one in others.values())
        return rivals

    async def _found_like(
        self, documents: Iterable[Document], fields: Document
    ) -> AsyncIterator[Document]:
        """All tokens that are found as these are, these among them; some perhaps more than once."""
        refs = [ref for one in documents for ref in _values(one)]
        for start in range(0, len(refs), _PORTION):
            query = {"refs": {"$in": refs[start : start + _PORTION]}}
            with self._reachable.watching():
                found: list[Document] = await self._tokens.find(query, fields).to_list(None)
            for one in found:
                yield one

    async def readable(self, refs: Collection[str]) -> set[str]:
        """Those of these tokens whose values are there."""
        if self._vault is None or not refs:
            return set()
        query = {"_id": {"$in": list(refs)}, "value": {"$exists": True}}
        with self._reachable.watching():
            return {one["_id"] async for one in self._tokens.find(query, {"_id": 1})}

    async def values(self, refs: Collection[str]) -> dict[str, tuple[str, str]]:
        """Type and readable value of those of these tokens that have one."""
        if self._vault is None or not refs:
            return {}
        query = {"_id": {"$in": list(refs)}, "value": {"$exists": True}}
        with self._reachable.watching():
            cursor = self._tokens.find(query, {"value": 1, "type": 1})
            documents: list[dict[str, Any]] = await cursor.to_list(None)
        texts = await self._vault.open([one["value"] for one in documents])
        return {one["_id"]: (one["type"], text) for one, text in zip(documents, texts, strict=True)}

    async def set_lengths(self, lengths: Mapping[str, int]) -> None:
        """Remember how long values are, of tokens from before that was stored with them."""
        steps = [
            UpdateOne({"_id": ref}, {"$set": {"length": length}}) for ref, length in lengths.items()
        ]
        if steps:
            with self._reachable.watching():
                await self._tokens.bulk_write(steps, ordered=False)


def _tag_ref(document: Document) -> str:
    """The reference of the value without a type: the second, where the first is not it already."""
    return _values(document)[0]


def _values(document: Document) -> list[str]:
    """All references but the first, its own: of the value without a type, under either key."""
    refs: list[str] = document["refs"]
    return refs[1:] or refs

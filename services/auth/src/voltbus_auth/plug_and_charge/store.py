"""The authorities that an operator trusts for contract certificates."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo.errors import DuplicateKeyError

from voltbus_auth.plug_and_charge.domain.authorities import Authority

if TYPE_CHECKING:
    from voltbus_backbone.mongo.store import Database, Document, Reachable

_FIELDS = ("type", "certificate", "responder_url", "added_at")


class RootStore:
    """One document per certificate, under its fingerprint. A root is added or removed only."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        self._roots = database["roots"]
        self._reachable = reachable

    async def roots(self) -> list[Authority]:
        """All of them, in the order of fingerprints."""
        with self._reachable.watching():
            documents = await self._roots.find().sort("_id", 1).to_list(None)
        return [_authority_of(document) for document in documents]

    async def add(self, authority: Authority) -> bool:
        """Trust; False when it is trusted already."""
        document: Document = {name: getattr(authority, name) for name in _FIELDS}
        try:
            with self._reachable.watching():
                await self._roots.insert_one({"_id": authority.fingerprint, **document})
        except DuplicateKeyError:
            return False
        return True

    async def remove(self, fingerprint: str) -> bool:
        """Trust no more; whether it was."""
        with self._reachable.watching():
            result = await self._roots.delete_one({"_id": fingerprint})
        return bool(result.deleted_count)


def _authority_of(document: Document) -> Authority:
    return Authority(fingerprint=document["_id"], **{name: document[name] for name in _FIELDS})

"""Id tokens in MongoDB: found by reference, their readable value encrypted or not kept at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pymongo.errors import DuplicateKeyError

from voltbus_auth.domain.tokens import Registered, Token, changed, likeliest
from voltbus_auth.store.documents import TOKEN_FIELDS, token_document, token_of
from voltbus_backbone.contract.registry import TOKEN_CREATED, TOKEN_DELETED, TOKEN_UPDATED
from voltbus_backbone.envelope import event
from voltbus_backbone.store import transaction

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from voltbus_auth.store.vault import Vault
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.envelope import Record
    from voltbus_backbone.outbox import Outbox
    from voltbus_backbone.store import Database, Document, Reachable

_RIGHTS = dict.fromkeys((*TOKEN_FIELDS, "refs"), 1)
_SHOWN = dict.fromkeys((*TOKEN_FIELDS, "masked", "created_at", "updated_at"), 1)


@dataclass(frozen=True, slots=True)
class Value:
    """A token's readable value on its way into the store. ``refs``: the first is its own."""

    text: str
    masked: str
    refs: Sequence[str]
    key_id: str

    def __repr__(self) -> str:
        """Show nothing readable."""
        return f"Value(masked={self.masked!r})"


class TokenStore:
    """Each change commits together with its event."""

    def __init__(
        self,
        database: Database,
        reachable: Reachable,
        *,
        outbox: Outbox,
        vault: Vault | None,
        source: str,
    ) -> None:
        self._database = database
        self._tokens = database["tokens"]
        self._reachable = reachable
        self._outbox = outbox
        self._vault = vault
        self._source = source

    async def prepare(self) -> None:
        """Create the indexes."""
        with self._reachable.watching():
            await self._tokens.create_index("refs")
            await self._tokens.create_index([("group_id", 1), ("_id", 1)])

    async def tokens(self, refs: Collection[str]) -> dict[str, Token]:
        """The tokens that these presented references mean."""
        if not refs:
            return {}
        with self._reachable.watching():
            documents = await self._tokens.find({"refs": {"$in": list(refs)}}, _RIGHTS).to_list(
                None
            )
        found: dict[str, Token] = {}
        ambiguous: dict[str, list[Token]] = {}
        for document in documents:
            token = token_of(document)
            for ref in document["refs"]:
                if ref in found:
                    ambiguous.setdefault(ref, [found[ref]]).append(token)
                else:
                    found[ref] = token
        for ref, candidates in ambiguous.items():
            chosen = likeliest(candidates)
            if chosen is not None:
                found[ref] = chosen
        return found

    async def create(self, token: Token, value: Value, at: datetime) -> Registered | None:
        """Register; None when this token is registered already."""
        document = token_document(token)
        document |= {
            "_id": token.ref,
            "refs": list(value.refs),
            "key_id": value.key_id,
            "masked": value.masked,
            "created_at": at,
            "updated_at": at,
        }
        if self._vault is not None:
            document["value"] = await self._vault.seal(value.text)
        try:
            with self._reachable.watching():
                async with transaction(self._database) as session:
                    await self._tokens.insert_one(document, session=session)
                    await self._outbox.add([self._told(TOKEN_CREATED, token, at)], session=session)
        except DuplicateKeyError:
            return None
        self._outbox.wake()
        return _registered(document)

    async def find(self, ref: str) -> Registered | None:
        """One token, without its value."""
        with self._reachable.watching():
            document = await self._tokens.find_one({"_id": ref}, _SHOWN)
        return _registered(document) if document is not None else None

    async def update(self, token: Token, at: datetime) -> Registered | None:
        """Store new rights over the revision that was read; None when it changed meanwhile."""
        after = replace(token, revision=token.revision + 1)
        with self._reachable.watching():
            async with transaction(self._database) as session:
                document: Document | None = await self._tokens.find_one_and_update(
                    {"_id": token.ref, "revision": token.revision},
                    {"$set": {**token_document(after), "updated_at": at}},
                    projection=_SHOWN,
                    return_document=True,
                    session=session,
                )
                if document is not None:
                    await self._outbox.add([self._told(TOKEN_UPDATED, after, at)], session=session)
        self._outbox.wake()
        return _registered(document) if document is not None else None

    async def delete(self, token: Token, at: datetime) -> bool:
        """Remove the revision that was read; False when it changed meanwhile."""
        gone = replace(token, revision=token.revision + 1)
        with self._reachable.watching():
            async with transaction(self._database) as session:
                result = await self._tokens.delete_one(
                    {"_id": token.ref, "revision": token.revision}, session=session
                )
                if result.deleted_count:
                    told = self._told(TOKEN_DELETED, gone, at, status="deleted")
                    await self._outbox.add([told], session=session)
        self._outbox.wake()
        return bool(result.deleted_count)

    async def page(
        self, query: Document, *, limit: int, after: str | None, before: str | None
    ) -> tuple[list[Registered], bool]:
        """A page in the order of references, and whether there is more in its direction."""
        order = -1 if before is not None else 1
        if after is not None:
            query = {**query, "_id": {"$gt": after}}
        elif before is not None:
            query = {**query, "_id": {"$lt": before}}
        with self._reachable.watching():
            cursor = self._tokens.find(query, _SHOWN).sort("_id", order).limit(limit + 1)
            documents = await cursor.to_list(None)
        found = [_registered(document) for document in documents[:limit]]
        if before is not None:
            found.reverse()
        return found, len(documents) > limit

    def _told(
        self, row: MessageType[Any], token: Token, at: datetime, *, status: str | None = None
    ) -> Record:
        return event(
            row,
            changed(token, at, status=status),
            id=f"{token.ref}:{at.timestamp()}:{token.revision}",
            source=self._source,
            now=at,
        )


def _registered(document: Document) -> Registered:
    return Registered(
        token=token_of(document),
        masked=document["masked"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
    )

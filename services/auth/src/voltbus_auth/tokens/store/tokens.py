"""Id tokens in MongoDB: found by reference, their readable value encrypted or not kept at all."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from pymongo import DeleteOne, InsertOne, UpdateOne
from pymongo.errors import BulkWriteError, DuplicateKeyError

from voltbus_auth.tokens.domain.token import Registered, Token, changed, likeliest
from voltbus_auth.tokens.store.documents import TOKEN_FIELDS, token_change, token_document, token_of
from voltbus_backbone.bus.envelope import event
from voltbus_backbone.contract.registry import TOKEN_CREATED, TOKEN_DELETED, TOKEN_UPDATED
from voltbus_backbone.mongo.rest_store import find_page
from voltbus_backbone.mongo.store import transaction

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Iterable, Sequence
    from datetime import datetime

    from voltbus_auth.tokens.domain.identifiers import TokenKey
    from voltbus_auth.tokens.store.vault import Vault
    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.mongo.outbox import Outbox
    from voltbus_backbone.mongo.store import Database, Document, Reachable
    from voltbus_backbone.rest.conventions import Paging

RIGHTS = dict.fromkeys((*TOKEN_FIELDS, "refs"), 1)
_PORTION = 1000
_FOUND_BY = dict.fromkeys(("type", "value", "refs", "identities", "key_id"), 1)
_SHOWN = dict.fromkeys((*TOKEN_FIELDS, "masked", "created_at", "updated_at"), 1)


class _OvertakenError(Exception):
    """Someone else changed a token meanwhile: the transaction is given up."""


@dataclass(frozen=True, slots=True)
class Value:
    """A token's readable value on its way into the store.

    ``refs`` find it, ``identities`` make it the same token, under ``key_id`` and perhaps another
    key; the first of each is its own reference. Without ``identities`` that alone counts.
    """

    text: str
    masked: str
    refs: Sequence[str]
    key_id: str
    identities: Sequence[str] = ()

    def __repr__(self) -> str:
        """Show nothing readable."""
        return f"Value(masked={self.masked!r})"


@dataclass(frozen=True, slots=True)
class Rereferred:
    """A portion of tokens: how many, how many of them changed, how many cannot be found again."""

    tokens: int
    changed: int
    lost: int


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

    @property
    def keeps_values(self) -> bool:
        """Whether readable values are kept: only under a field key."""
        return self._vault is not None

    async def prepare(self) -> None:
        """Create the indexes."""
        with self._reachable.watching():
            await self._tokens.create_index("refs")
            await self._tokens.create_index(
                "identities",
                unique=True,
                partialFilterExpression={"identities": {"$exists": True}},
            )
            await self._tokens.create_index([("created_at", -1), ("_id", -1)])
            await self._tokens.create_index([("group_id", 1), ("created_at", -1), ("_id", -1)])

    async def tokens(self, refs: Collection[str]) -> dict[str, Token]:
        """The tokens that these presented references mean."""
        if not refs:
            return {}
        with self._reachable.watching():
            documents = await self._tokens.find({"refs": {"$in": list(refs)}}, RIGHTS).to_list(None)
        return self.meant_by(documents)

    @staticmethod
    def meant_by(documents: Iterable[Document]) -> dict[str, Token]:
        """Stored tokens by every reference they are found under."""
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
        (document,) = await self._documents([(token, value)], at)
        try:
            with self._reachable.watching():
                async with transaction(self._database) as session:
                    await self._tokens.insert_one(document, session=session)
                    await self._outbox.add([self._told(TOKEN_CREATED, token, at)], session=session)
        except DuplicateKeyError:
            return None
        self._outbox.wake()
        return _registered(document)

    async def _documents(
        self, entries: Sequence[tuple[Token, Value]], at: datetime
    ) -> list[Document]:
        """New tokens as they are stored, their values encrypted in one go."""
        documents = [
            {
                **token_document(token),
                "_id": token.ref,
                "refs": list(value.refs),
                "identities": list(value.identities or value.refs[:1]),
                "key_id": value.key_id,
                "masked": value.masked,
                "length": len(value.text),
                "created_at": at,
                "updated_at": at,
            }
            for token, value in entries
        ]
        if self._vault is not None and entries:
            sealed = await self._vault.seal([value.text for _, value in entries])
            for document, one in zip(documents, sealed, strict=True):
                document["value"] = one
        return documents

    async def known(self, identities: Collection[str]) -> dict[str, Token]:
        """Which of these tokens exist, by each identity they were made under."""
        query = {"identities": {"$in": list(identities)}}
        with self._reachable.watching():
            cursor = self._tokens.find(query, {**RIGHTS, "identities": 1})
            return {
                identity: token_of(document)
                async for document in cursor
                for identity in document["identities"]
            }

    async def there(self, names: Collection[str]) -> dict[str, Token]:
        """Which of these tokens exist, by each identity and by their own reference."""
        wanted = {"$in": list(names)}
        query = {"$or": [{"_id": wanted}, {"identities": wanted}]}
        with self._reachable.watching():
            cursor = self._tokens.find(query, {**RIGHTS, "identities": 1})
            return {
                name: token_of(document)
                async for document in cursor
                for name in (document["_id"], *document["identities"])
            }

    async def put_many(
        self,
        new: Sequence[tuple[Token, Value]],
        changed_ones: Sequence[Token],
        at: datetime,
        gone: Sequence[Token] = (),
    ) -> bool:
        """Register, change and remove many in one transaction; False when others were at them.

        ``changed_ones`` and ``gone`` carry the revision that was read.
        """
        documents = await self._documents(new, at)
        after = [replace(token, revision=token.revision + 1) for token in changed_ones]
        told = [self._told(TOKEN_CREATED, token, at) for token, _ in new]
        told += [self._told(TOKEN_UPDATED, token, at) for token in after]
        told += [
            self._told(TOKEN_DELETED, replace(one, revision=one.revision + 1), at, status="deleted")
            for one in gone
        ]
        steps: list[InsertOne[Document] | UpdateOne | DeleteOne] = [
            InsertOne(one) for one in documents
        ]
        steps += [DeleteOne({"_id": one.ref, "revision": one.revision}) for one in gone]
        steps += [
            UpdateOne(
                {"_id": token.ref, "revision": token.revision - 1},
                token_change(token, at),
            )
            for token in after
        ]
        if not steps:
            return True
        try:
            with self._reachable.watching():
                async with transaction(self._database) as session:
                    result = await self._tokens.bulk_write(steps, session=session)
                    _check_all_matched(result.matched_count, len(after))
                    _check_all_matched(result.deleted_count, len(gone))
                    await self._outbox.add(told, session=session)
        except (_OvertakenError, BulkWriteError):
            return False
        self._outbox.wake()
        return True

    async def search(self, refs: Collection[str]) -> list[Registered]:
        """The tokens that can be meant by any of these presented references."""
        with self._reachable.watching():
            documents = await self._tokens.find({"refs": {"$in": list(refs)}}, _SHOWN).to_list(None)
        return [_registered(document) for document in documents]

    async def all(self, *, readable: bool) -> AsyncIterator[list[tuple[Registered, str | None]]]:
        """Every token in portions, in the order of references, with its value where wanted.

        A value that was stored without a vault is not there.
        """
        after = ""
        while True:
            with self._reachable.watching():
                cursor = self._tokens.find({"_id": {"$gt": after}}).sort("_id", 1).limit(_PORTION)
                documents = await cursor.to_list(None)
            if not documents:
                return
            after = documents[-1]["_id"]
            values: dict[str, str] = {}
            if readable and self._vault is not None:
                sealed = {one["_id"]: one["value"] for one in documents if "value" in one}
                opened = await self._vault.open(list(sealed.values()))
                values = dict(zip(sealed, opened, strict=True))
            yield [(_registered(one), values.get(one["_id"])) for one in documents]

    async def seal_again(self) -> AsyncIterator[int]:
        """Encrypt anew what is not under the vault's first key; how many, portion by portion."""
        vault = self._vault
        after = ""
        while vault is not None:
            with self._reachable.watching():
                cursor = self._tokens.find({"_id": {"$gt": after}}, {"value": 1})
                documents = await cursor.sort("_id", 1).limit(_PORTION).to_list(None)
            if not documents:
                return
            after = documents[-1]["_id"]
            old = [
                one for one in documents if "value" in one and not vault.is_current(one["value"])
            ]
            sealed = await vault.seal(await vault.open([one["value"] for one in old]))
            steps = [
                UpdateOne({"_id": one["_id"], "value": one["value"]}, {"$set": {"value": fresh}})
                for one, fresh in zip(old, sealed, strict=True)
            ]
            if steps:
                with self._reachable.watching():
                    await self._tokens.bulk_write(steps, ordered=False)
            yield len(steps)

    async def refer_again(self, key: TokenKey) -> AsyncIterator[Rereferred]:
        """Let every token be found under this key (and its other one), portion by portion.

        Its own reference stays, whatever it was made under: others know it by that name.
        """
        after = ""
        while self._vault is not None:
            with self._reachable.watching():
                cursor = self._tokens.find({"_id": {"$gt": after}}, _FOUND_BY)
                documents = await cursor.sort("_id", 1).limit(_PORTION).to_list(None)
            if not documents:
                return
            after = documents[-1]["_id"]
            readable = [one for one in documents if "value" in one]
            values = await self._vault.open([one["value"] for one in readable])
            steps = []
            for document, value in zip(readable, values, strict=True):
                found_by = {
                    "refs": key.all_of(document["type"], value),
                    "identities": key.identities(document["type"], value),
                    "key_id": key.id,
                }
                if any(document.get(name) != one for name, one in found_by.items()):
                    steps.append(UpdateOne({"_id": document["_id"]}, {"$set": found_by}))
            if steps:
                with self._reachable.watching():
                    await self._tokens.bulk_write(steps, ordered=False)
            lost = sum(one["key_id"] != key.id for one in documents if "value" not in one)
            yield Rereferred(len(documents), len(steps), lost)

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
                    token_change(after, at),
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

    async def page(self, query: Document, paging: Paging) -> tuple[list[Registered], bool]:
        """A page by the time of registration, and whether there is more in its direction."""
        with self._reachable.watching():
            found, more = await find_page(self._tokens, query, paging, projection=_SHOWN)
        return [_registered(document) for document in found], more

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


def _check_all_matched(matched: int, wanted: int) -> None:
    if matched < wanted:
        raise _OvertakenError


def _registered(document: Document) -> Registered:
    return Registered(
        token=token_of(document),
        masked=document["masked"],
        created_at=document["created_at"],
        updated_at=document["updated_at"],
    )

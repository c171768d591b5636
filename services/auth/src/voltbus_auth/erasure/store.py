"""Forgetting a person's token: the token, its decisions, and its name on what it charged.

What was charged stays, because it was billed; but under a new random name that nobody can lead
back to the token. One MongoDB transaction, with an audit record that names nobody.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bson import ObjectId

from voltbus_auth.decisions.store import journal
from voltbus_auth.decisions.store.external import COLLECTION
from voltbus_auth.tokens.domain.token import changed
from voltbus_auth.transactions.domain.record import ERASED
from voltbus_backbone.bus.envelope import event
from voltbus_backbone.contract.registry import TOKEN_ERASED
from voltbus_backbone.mongo.rest_store import find_page
from voltbus_backbone.mongo.store import transaction

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_auth.tokens.domain.token import Token
    from voltbus_backbone.mongo.outbox import Outbox
    from voltbus_backbone.mongo.rest_store import MongoAudit
    from voltbus_backbone.mongo.store import Database, Document, Reachable
    from voltbus_backbone.rest.conventions import Paging


@dataclass(frozen=True, slots=True)
class Erasure:
    """What an erasure touched."""

    id: str
    at: datetime
    by: str
    transactions: int
    decisions: int


class ErasureStore:
    """Erases, and shows what was erased when and by whom."""

    def __init__(
        self,
        database: Database,
        reachable: Reachable,
        *,
        audit: MongoAudit,
        outbox: Outbox,
        source: str,
    ) -> None:
        self._database = database
        self._audit = audit
        self._erasures = database["erasures"]
        self._reachable = reachable
        self._outbox = outbox
        self._source = source

    async def erase(self, token: Token, *, at: datetime, by: str) -> Erasure | None:
        """Erase the revision that was read; None when it changed meanwhile.

        Transactions get a revision more, so that one that is being written at the same moment is
        folded again instead of bringing the reference back.

        Before it was registered, or when OCPP 1.6 presented it without its type, it was known by
        the other references of its value: what names those goes as well.
        """
        name = f"{ERASED}{secrets.token_hex(16)}"
        gone = replace(token, revision=token.revision + 1)
        told = event(
            TOKEN_ERASED,
            changed(gone, at, status="erased"),
            id=f"{token.ref}:{at.timestamp()}:{gone.revision}",
            source=self._source,
            now=at,
        )
        with self._reachable.watching():
            async with transaction(self._database) as session:
                tokens = self._database["tokens"]
                deleted: Document | None = await tokens.find_one_and_delete(
                    {"_id": token.ref, "revision": token.revision},
                    projection={"refs": 1},
                    session=session,
                )
                if deleted is None:
                    return None
                refs = list({token.ref, *deleted["refs"]})
                await self._database[COLLECTION].delete_many(
                    {"ref": {"$in": refs}}, session=session
                )
                renamed = await self._database["transactions"].update_many(
                    {"token.token_ref": {"$in": refs}},
                    {
                        "$set": {"token.token_ref": name},
                        # Its provider could tell whose it is.
                        "$unset": {"token.authorization_reference": ""},
                        "$inc": {"revision": 1},
                        "$pull": {"holds": f"token:{token.ref}"},
                    },
                    session=session,
                )
                decisions = await journal.forget(self._database, refs, session)
                await self._audit.forget(refs, session)
                await self._database["open_transactions"].delete_one(
                    {"_id": f"token:{token.ref}"}, session=session
                )
                document: Document = {
                    "_id": ObjectId(),
                    "at": at,
                    "by": by,
                    "transactions": renamed.modified_count,
                    "decisions": decisions,
                }
                await self._erasures.insert_one(document, session=session)
                await self._outbox.add([told], session=session)
        self._outbox.wake()
        return _erasure(document)

    async def page(self, paging: Paging) -> tuple[list[Erasure], bool]:
        """A page of the audit, and whether there is more in its direction.

        Raises:
            ValueError: the cursor is no id of an erasure.
        """
        cursor = paging.starting_after or paging.ending_before
        if cursor is not None and not ObjectId.is_valid(cursor):
            raise ValueError(cursor)
        edge = None if cursor is None else ObjectId(cursor)
        with self._reachable.watching():
            found, more = await find_page(self._erasures, {}, paging, by="_id", edge=edge)
        return [_erasure(document) for document in found], more


def _erasure(document: Document) -> Erasure:
    fields = {name: value for name, value in document.items() if name != "_id"}
    return Erasure(id=str(document["_id"]), **fields)

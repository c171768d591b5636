"""Plans of local lists, and which plans each token has ever been found under."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pymongo import UpdateOne
from pymongo.errors import DuplicateKeyError

from voltbus_auth.local_lists.store.documents import plan_document, plan_of
from voltbus_backbone.mongo.rest_store import find_page

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from voltbus_auth.local_lists.domain.plans import Plan
    from voltbus_auth.tokens.domain.token import Token
    from voltbus_backbone.mongo.store import Database, Document, Reachable
    from voltbus_backbone.rest.conventions import Paging


class PlanStore:
    """Plans by key, with the guard of their revision."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        self._plans = database["local_list_plans"]
        self._members = database["local_list_members"]
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the indexes."""
        with self._reachable.watching():
            await self._plans.create_index("tokens")
            await self._plans.create_index("token_groups")

    async def plans(self, keys: Collection[str]) -> dict[str, Plan]:
        """Those of these that exist."""
        with self._reachable.watching():
            cursor = self._plans.find({"_id": {"$in": list(keys)}})
            return {one["_id"]: plan_of(one) async for one in cursor}

    async def find(self, key: str) -> tuple[Plan, datetime] | None:
        """One plan, and when it was last changed."""
        with self._reachable.watching():
            document = await self._plans.find_one({"_id": key})
        return (plan_of(document), document["updated_at"]) if document is not None else None

    async def create(self, plan: Plan, at: datetime) -> bool:
        """Store a new plan; False when there is one."""
        try:
            with self._reachable.watching():
                await self._plans.insert_one(
                    {"_id": plan.key, **plan_document(plan), "updated_at": at}
                )
        except DuplicateKeyError:
            return False
        return True

    async def replace(self, plan: Plan, at: datetime) -> bool:
        """Store over the revision before this one's; False when it changed meanwhile."""
        with self._reachable.watching():
            result = await self._plans.update_one(
                {"_id": plan.key, "revision": plan.revision - 1},
                {"$set": {**plan_document(plan), "updated_at": at}},
            )
        return bool(result.matched_count)

    async def delete(self, key: str, revision: int) -> bool:
        """Remove this revision; False when it changed meanwhile."""
        with self._reachable.watching():
            result = await self._plans.delete_one({"_id": key, "revision": revision})
        return bool(result.deleted_count)

    async def page(self, paging: Paging) -> tuple[list[tuple[Plan, datetime]], bool]:
        """Plans in the order of their keys, which operators chose; whether there are more."""
        with self._reachable.watching():
            found, more = await find_page(self._plans, {}, paging, by="_id")
        return [(plan_of(one), one["updated_at"]) for one in found], more

    async def naming(self, tokens: Collection[Token], refs: Collection[str]) -> set[str]:
        """The plans by which these tokens are wanted now, apart from those by agreements."""
        ways: list[Document] = [{"tokens": {"$in": list(refs)}}]
        groups = {token.group_id for token in tokens if token.group_id is not None}
        if groups:
            ways.append({"token_groups": {"$in": list(groups)}})
        words = {token.whitelist.value for token in tokens}
        if words:
            ways.append({"whitelist": {"$in": list(words)}})
        with self._reachable.watching():
            cursor = self._plans.find({"$or": ways}, {"_id": 1})
            return {one["_id"] async for one in cursor}

    async def covered(self) -> list[str]:
        """The plans that want whatever agreements cover."""
        with self._reachable.watching():
            return [one["_id"] async for one in self._plans.find({"covered": True}, {"_id": 1})]

    async def note(self, members: Iterable[tuple[str, str]]) -> bool:
        """Remember that these tokens (first) were found under these plans (second); was it news?

        A token that leaves a plan, or is deleted, is led back by this to the lists it is on.
        """
        by_ref: dict[str, set[str]] = {}
        for ref, key in members:
            by_ref.setdefault(ref, set()).add(key)
        with self._reachable.watching():
            async for one in self._members.find({"_id": {"$in": list(by_ref)}}):
                by_ref[one["_id"]] -= set(one["plans"])
            steps = [
                UpdateOne(
                    {"_id": ref}, {"$addToSet": {"plans": {"$each": sorted(new)}}}, upsert=True
                )
                for ref, new in by_ref.items()
                if new
            ]
            if steps:
                await self._members.bulk_write(steps, ordered=False)
        return bool(steps)

    async def noted(self, refs: Collection[str]) -> set[str]:
        """The plans that these tokens were ever found under."""
        with self._reachable.watching():
            cursor = self._members.find({"_id": {"$in": list(refs)}})
            return {key async for one in cursor for key in one["plans"]}

    async def erase(self, refs: Collection[str]) -> None:
        """Forget that these tokens were on any plan: they were erased."""
        wanted = {"$in": list(refs)}
        with self._reachable.watching():
            await self._plans.update_many(
                {"tokens": wanted}, {"$pull": {"tokens": wanted}, "$inc": {"revision": 1}}
            )
            await self._members.delete_many({"_id": wanted})

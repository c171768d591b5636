"""What the external authorizer said, for as long as it may be relied on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pymongo import ReplaceOne

from voltbus_auth.decisions.domain.external import Answer
from voltbus_backbone.contract.providers import Allowed, Keep

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from voltbus_backbone.mongo.store import Database, Document, Reachable

COLLECTION = "external_answers"
_FIELDS = (
    "ref",
    "station_id",
    "until",
    "valid_until",
    "evse_ids",
    "group_id",
    "language",
    "message",
    "authorization_reference",
)


class ExternalStore:
    """Answers by presented reference and station; MongoDB forgets them after their time."""

    def __init__(self, database: Database, reachable: Reachable) -> None:
        # Written to the majority: the start that follows at once must find it.
        self._answers = database[COLLECTION]
        self._reachable = reachable

    async def prepare(self) -> None:
        """Create the indexes."""
        with self._reachable.watching():
            await self._answers.create_index("ref")
            await self._answers.create_index("until", expireAfterSeconds=0)

    async def remember(self, answers: Sequence[Answer]) -> None:
        """Keep each until its time; a newer one replaces it."""
        if not answers:
            return
        steps = [
            ReplaceOne({"_id": f"{one.ref}:{one.station_id}"}, _document(one), upsert=True)
            for one in answers
        ]
        with self._reachable.watching():
            await self._answers.bulk_write(steps, ordered=False)

    @staticmethod
    def answers_in(documents: Iterable[Document]) -> dict[tuple[str, str], Answer]:
        """Stored answers by reference and station."""
        found = (_answer(document) for document in documents)
        return {(one.ref, one.station_id): one for one in found}


def _document(answer: Answer) -> Document:
    document: Document = {name: getattr(answer, name) for name in _FIELDS}
    document["evse_ids"] = list(answer.evse_ids)
    document |= {"allowed": answer.allowed.value, "keep": answer.keep.value}
    return {name: value for name, value in document.items() if value not in (None, [])}


def _answer(document: Document) -> Answer:
    fields: dict[str, Any] = {name: document.get(name) for name in _FIELDS}
    fields["evse_ids"] = tuple(document.get("evse_ids", ()))
    return Answer(allowed=Allowed(document["allowed"]), keep=Keep(document["keep"]), **fields)

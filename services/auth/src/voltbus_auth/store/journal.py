"""The journal of decisions: written behind the answers, forgotten after its time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from bson import ObjectId
from bson.errors import InvalidId
from prometheus_client import Counter
from pymongo import WriteConcern
from pymongo.read_concern import ReadConcern

from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from voltbus_auth.domain.journal import Decided
    from voltbus_backbone.store import Database, Document, Reachable

log = structlog.get_logger(__name__)

LOST = Counter(
    "voltbus_auth_journal_lost_total", "Decisions that the journal had no room or time for"
)

_EVERY_S = 0.25
_ROOM = 20_000


class JournalStore:
    """Remembers decisions without holding up any: what a crash or a full buffer loses is a line
    of this journal, never an answer or a transaction.
    """  # noqa: D205 - one sentence

    def __init__(
        self,
        database: Database,
        reachable: Reachable,
        *,
        kept: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        # Nobody waits for the majority here, neither to write nor to read.
        self._decisions = database["decisions"].with_options(
            write_concern=WriteConcern(w=1), read_concern=ReadConcern("local")
        )
        self._reachable = reachable
        self._kept = kept
        self._now = now
        self._waiting: list[Decided] = []
        self._some = asyncio.Event()

    async def prepare(self) -> None:
        """Create the indexes, also the one that forgets."""
        with self._reachable.watching():
            await self._decisions.create_index("forgotten_at", expireAfterSeconds=0)
            await self._decisions.create_index([("station_id", 1), ("_id", -1)])
            await self._decisions.create_index([("token_ref", 1), ("_id", -1)])

    def note(self, decided: Iterable[Decided]) -> None:
        """Remember soon."""
        if self._kept <= timedelta():
            return
        self._waiting.extend(decided)
        if len(self._waiting) > _ROOM:
            LOST.inc(len(self._waiting) - _ROOM)
            del self._waiting[_ROOM:]
        self._some.set()

    async def run(self) -> None:
        """Write what waits, for the life of the process."""
        while True:
            await self._some.wait()
            await asyncio.sleep(_EVERY_S)
            await self.flush()

    async def flush(self) -> None:
        """Write what waits now."""
        self._some.clear()
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        forgotten_at = self._now() + self._kept
        try:
            with self._reachable.watching():
                await self._decisions.insert_many(
                    [_document(one, forgotten_at) for one in waiting], ordered=False
                )
        except Unavailable as error:
            LOST.inc(len(waiting))
            log.warning("journal.lost", lines=len(waiting), reason=str(error))

    async def page(
        self, query: Document, *, limit: int, after: str | None, before: str | None
    ) -> tuple[list[Document], bool]:
        """A page, the newest first, and whether there is more in its direction.

        Raises:
            ValueError: ``after`` or ``before`` is no id of a decision.
        """
        order = 1 if before is not None else -1
        try:
            if after is not None:
                query = {**query, "_id": {"$lt": ObjectId(after)}}
            elif before is not None:
                query = {**query, "_id": {"$gt": ObjectId(before)}}
        except InvalidId:
            raise ValueError("no id of a decision") from None
        with self._reachable.watching():
            cursor = self._decisions.find(query).sort("_id", order).limit(limit + 1)
            documents = await cursor.to_list(None)
        found = [_listed(document) for document in documents[:limit]]
        if before is not None:
            found.reverse()
        return found, len(documents) > limit


def _document(one: Decided, forgotten_at: datetime) -> Document:
    verdict = one.verdict
    return {
        "_id": ObjectId(),
        "at": one.at,
        "station_id": one.station_id,
        "protocol": one.protocol.value,
        "asked_by": one.asked_by,
        "token_ref": one.token_ref,
        "status": verdict.decision.status.value,
        "rule": verdict.rule.value,
        "reason": verdict.reason,
        "agreement_id": verdict.agreement_id,
        "evse_id": one.evse_id,
        "transaction_ref": one.transaction_ref,
        "forgotten_at": forgotten_at,
    }


def _listed(document: Document) -> Document:
    fields = {name: value for name, value in document.items() if name != "forgotten_at"}
    return {"id": str(fields.pop("_id")), **fields}

"""The journal of decisions: written behind the answers, forgotten after its time.

Decisions that are written together are the lines of one document, a sheet: a decision then costs
two index entries at most, where a document of its own would cost four and most of MongoDB's time.
"""

from __future__ import annotations

import asyncio
import re
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from bson import ObjectId
from prometheus_client import Counter
from pymongo import WriteConcern
from pymongo.read_concern import ReadConcern

from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from datetime import datetime

    from motor.motor_asyncio import AsyncIOMotorClientSession

    from voltbus_auth.decisions.domain.journal import Decided
    from voltbus_backbone.mongo.store import Database, Document, Reachable

log = structlog.get_logger(__name__)

LOST = Counter(
    "voltbus_auth_journal_lost_total", "Decisions that the journal had no room or time for"
)

_EVERY_S = 0.25
_ROOM = 20_000
_NUMBER = re.compile(r"[0-9]{1,9}")
_LINES = 500  # on a sheet: some 150 kB, far from the 16 MB that a document may have


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
        self._sheets = database["decisions"].with_options(
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
            await self._sheets.create_index("forgotten_at", expireAfterSeconds=0)
            await self._sheets.create_index([("station_ids", 1), ("_id", -1)])
            await self._sheets.create_index([("token_refs", 1), ("_id", -1)])

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
        sheets = [
            _sheet(waiting[start : start + _LINES], forgotten_at)
            for start in range(0, len(waiting), _LINES)
        ]
        try:
            with self._reachable.watching():
                await self._sheets.insert_many(sheets, ordered=False)
        except Unavailable as error:
            LOST.inc(len(waiting))
            log.warning("journal.lost", lines=len(waiting), reason=str(error))
        except Exception:
            LOST.inc(len(waiting))  # whoever supervises tells what broke
            raise

    async def page(
        self, wanted: Document, *, limit: int, after: str | None, before: str | None
    ) -> tuple[list[Document], bool]:
        """A page, the newest first, and whether there is more in its direction.

        ``wanted`` is a query for the fields of a line.

        Raises:
            ValueError: ``after`` or ``before`` is no id of a decision.
        """
        steps = _reading(wanted, after, before)
        with self._reachable.watching():
            documents = await self._sheets.aggregate([*steps, {"$limit": limit + 1}]).to_list(None)
        found = [_listed(document) for document in documents[:limit]]
        if before is not None:
            found.reverse()
        return found, len(documents) > limit


async def forget(
    database: Database, refs: Sequence[str], session: AsyncIOMotorClientSession
) -> int:
    """Cross out every line that names this token, by any of its references; how many there were."""
    sheets = database["decisions"]
    these = {"$in": list(refs)}
    named = {"token_refs": these}
    steps: list[Document] = [
        {"$match": named},
        {"$unwind": "$lines"},
        {"$match": {"lines.token_ref": these}},
        {"$count": "lines"},
    ]
    counted = await sheets.aggregate(steps, session=session).to_list(None)
    await sheets.update_many(
        named,
        {"$pull": {"lines": {"token_ref": these}, "token_refs": these}},
        session=session,
    )
    return sum(one["lines"] for one in counted)


def _sheet(decided: Sequence[Decided], forgotten_at: datetime) -> Document:
    """A document of these decisions, the newest first."""
    return {
        "_id": ObjectId(),
        "station_ids": list({one.station_id for one in decided}),
        "token_refs": list({one.token_ref for one in decided}),
        "lines": [_line(number, one) for number, one in enumerate(reversed(decided))],
        "forgotten_at": forgotten_at,
    }


def _line(number: int, one: Decided) -> Document:
    verdict = one.verdict
    line: Document = {
        "n": number,
        "at": one.at,
        "station_id": one.station_id,
        "protocol": one.protocol.value,
        "asked_by": one.asked_by,
        "token_ref": one.token_ref,
        "status": verdict.decision.status.value,
        "rule": verdict.rule.value,
        "reason": verdict.reason,
    }
    if verdict.agreement_id is not None:
        line["agreement_id"] = verdict.agreement_id
    if one.evse_id is not None:
        line["evse_id"] = one.evse_id
    if one.transaction_ref is not None:
        line["transaction_ref"] = one.transaction_ref
    return line


def _reading(wanted: Document, after: str | None, before: str | None) -> list[Document]:
    """The steps to the wanted lines on one side of a cursor, beginning next to it."""
    backwards = before is not None
    sheets: Document = {}
    lines: Document = {f"lines.{name}": value for name, value in wanted.items()}
    if wanted:
        sheets["lines"] = {"$elemMatch": wanted}
    for name, index in (("station_id", "station_ids"), ("token_ref", "token_refs")):
        if name in wanted:
            sheets[index] = wanted[name]
    cursor = before if backwards else after
    if cursor is not None:
        sheet, number = _place(cursor)
        sheets["_id"] = {"$gte" if backwards else "$lte": sheet}
        lines["$or"] = [
            {"_id": {"$ne": sheet}},
            {"lines.n": {"$lt" if backwards else "$gt": number}},
        ]
    steps: list[Document] = [{"$match": sheets}, {"$sort": {"_id": 1 if backwards else -1}}]
    if backwards:
        steps.append({"$set": {"lines": {"$reverseArray": "$lines"}}})
    return [*steps, {"$unwind": "$lines"}, {"$match": lines}]


def _place(cursor: str) -> tuple[ObjectId, int]:
    sheet, _, number = cursor.partition("-")
    # A sheet has some hundreds of lines: a longer number is none, and might be none of 64 bits.
    if not ObjectId.is_valid(sheet) or not _NUMBER.fullmatch(number):
        raise ValueError("no id of a decision")
    return ObjectId(sheet), int(number)


def _listed(document: Document) -> Document:
    line: Document = document["lines"]
    shown = {name: value for name, value in line.items() if name != "n"}
    return {"id": f"{document['_id']}-{line['n']}", **_UNSAID, **shown}


_UNSAID: Document = {"agreement_id": None, "evse_id": None, "transaction_ref": None}

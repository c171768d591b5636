"""Which record a message belongs to, and what changes: the transactions of one batch.

Stations reuse transaction ids ("0", "1", …) after every restart, resend messages after days and
send them in any order. A 1.6 start is known by its business key, everything else by station and
transaction id, and among several uses of one id by time and sequence number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_auth.transactions.domain.record import (
    Presented,
    Record,
    Told,
    fold,
    open_record,
    wire_key,
)
from voltbus_backbone.contract.auth import Phase
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from voltbus_backbone.contract.auth import TransactionMessage

STARTED = "started"
UPDATED = "updated"
ENDED = "ended"
CORRECTED = "corrected"

_EVENT = {Phase.STARTED: STARTED, Phase.UPDATED: UPDATED, Phase.ENDED: ENDED}
# How many changes a record remembers having told at least, so that a crash between storing and
# telling loses none; and how long it remembers them all (consumers commit five times a second).
_REMEMBERED = 24
_REMEMBERED_S = 60
# By how much a station's clock may be set back within a transaction.
_SKEW = timedelta(days=1)
_UUID = re.compile(r"[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}", re.IGNORECASE | re.ASCII)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a message came to. ``event`` None: it told nothing new, or was told before."""

    record: Record
    event: str | None
    revision: int


@dataclass(slots=True)
class Ledger:
    """The records that a batch touches, by reference and by what stations call them.

    ``now_s``: seconds since 1970. ``era``: see `record.open_record`.
    """

    now_s: int = 0
    era: str = ""
    by_ref: dict[str, Record] = field(default_factory=dict)
    _by_key: dict[str, list[str]] = field(default_factory=dict)
    loaded: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, records: Iterable[Record], *, now_s: int = 0, era: str = "") -> Ledger:
        """A ledger of what the store has."""
        ledger = cls(now_s, era)
        for record in records:
            ledger.loaded[record.ref] = record.revision
            ledger._put(record)
        return ledger

    def _put(self, record: Record) -> None:
        if record.ref not in self.by_ref:
            self._by_key.setdefault(record.key, []).append(record.ref)
        self.by_ref[record.ref] = record

    def changed(self) -> list[Record]:
        """The records that must be written."""
        return [
            record
            for ref, record in self.by_ref.items()
            if record.revision != self.loaded.get(ref, 0)
        ]

    def doubt(self, ref: str, flag: str) -> None:
        """Mark a record that is being changed."""
        record = self.by_ref[ref]
        self.by_ref[ref] = replace(record, flags=record.flags | {flag})

    def judge(self, ref: str, judged: frozenset[str]) -> None:
        """Give a record that is being changed the doubts that all its readings raise."""
        self.by_ref[ref] = replace(self.by_ref[ref], judged=judged)

    def amend(self, record: Record, cause: str, event: str | None = UPDATED) -> Entry:
        """Take a record that something else than a message of it has changed."""
        told = Told(cause, record.revision + 1, event, self.now_s)
        after = replace(record, revision=told.revision, recent=_remembered(record.recent, told))
        self._put(after)
        return Entry(after, told.event, told.revision)

    def find_told(self, ref: str, cause: str) -> Entry | None:
        """What a cause came to that the record remembers."""
        record = self.by_ref[ref]
        for told in record.recent:
            if told.cause == cause:
                return Entry(record, told.event, told.revision)
        return None

    def correct(self, ref: str) -> Entry:
        """Tell a change that would have gone without an event."""
        record = self.by_ref[ref]
        last = replace(record.recent[-1], event=CORRECTED)
        record = replace(record, recent=(*record.recent[:-1], last))
        self.by_ref[ref] = record
        return Entry(record, CORRECTED, record.revision)

    def find(self, message: TransactionMessage) -> Record | None:
        """The record that a message with a transaction id belongs to."""
        return owner(self._uses(message), message)

    def _uses(self, message: TransactionMessage) -> list[Record]:
        key = wire_key(message.station_id, message.transaction_id or "")
        return [self.by_ref[ref] for ref in self._by_key.get(key, ())]

    def enter(
        self,
        message: TransactionMessage,
        presented: Presented | None,
        cause: str,
        *,
        record: Record | None = None,
        holds: tuple[str, ...] = (),
        arrived: datetime | None = None,
    ) -> Entry:
        """Fold a message in. ``record``: where it belongs; a new one is opened without.

        ``arrived``: when it reached us. ``cause`` names the Kafka record: the same one again is a
        redelivery, whose event is told again under the same id, while a station's own resend is
        not told again.
        """
        if record is None:
            uses = self._uses(message)
            generation = max((use.generation for use in uses), default=-1) + 1
            record = open_record(message, generation=generation, era=self.era)
        folded = fold(record, message, presented, arrived)
        event: str | None = CORRECTED if record.ended else _EVENT[message.phase]
        if folded is record and record.revision:
            known = self._known(record, message, cause)
            if known is not None:
                return known
            event = None
        told = Told(cause, record.revision + 1, event, self.now_s)
        after = replace(
            folded,
            revision=told.revision,
            recent=_remembered(record.recent, told),
            holds=holds or record.holds,
        )
        self._put(after)
        return Entry(after, event, told.revision)

    def _known(self, record: Record, message: TransactionMessage, cause: str) -> Entry | None:
        """What a message came to that the record knows already; None: it is written all the same.

        So are samples without a sequence number, between others: they may be new, and whoever ends
        the transaction at this moment has to see them. Only a writing makes the other look again.
        """
        self._put(record)
        known = self.find_told(record.ref, cause)
        if known is not None:
            return known
        if message.samples and message.seq_no is None and message.phase is Phase.UPDATED:
            return None
        return Entry(record, None, record.revision)


def _remembered(recent: tuple[Told, ...], told: Told) -> tuple[Told, ...]:
    lately = told.at - _REMEMBERED_S
    older = [one for one in recent[: 1 - _REMEMBERED] if one.at and one.at > lately]
    return (*older, *recent[1 - _REMEMBERED :], told)


def doubted(entry: Entry, flag: str) -> Entry:
    """The entry with a doubt more."""
    record = entry.record
    return replace(entry, record=replace(record, flags=record.flags | {flag}))


def with_judgement(entry: Entry, found: frozenset[str]) -> Entry:
    """The entry with the doubts that only the whole transaction shows."""
    return replace(entry, record=replace(entry.record, judged=found))


def era(now: datetime, kept: timedelta) -> str:
    """A name for this stretch of time, as long as ended transactions are kept; "" if for ever.

    A transaction id that is used again once its earlier uses are forgotten counts from the
    beginning; the era keeps its references and events apart from theirs.
    """
    if not kept:
        return ""
    length = kept.total_seconds()
    return f"{length:g}:{int(now.timestamp() // length)}"


def owner(uses: list[Record], message: TransactionMessage) -> Record | None:
    """Among the uses of one transaction id, the one this message belongs to."""
    ours = next((use for use in uses if _is_only_use(use, message)), None)
    if ours is not None:
        return ours
    if message.phase is Phase.STARTED:
        return _start_of(uses, message)
    begun = [use for use in uses if _begin(use) <= message.at]
    if begun:
        use = max(begun, key=_begin)
    elif uses:
        use = min(uses, key=_begin)
        if use.start is not None and use.start.at - message.at > _SKEW:
            return None  # of a use that is no longer looked up
    else:
        return None
    if not _is_over(use, message):
        return use
    # Of the use that came next: it may have been heard of by what came later in it.
    later = [one for one in uses if one.start is None and message.at < _begin(one)]
    return min(later, key=_begin, default=None)


def _is_only_use(use: Record, message: TransactionMessage) -> bool:
    """Whether its id has no other use, so that it outweighs what a station's clock says.

    An id of 1.6 that a start was given is ours; a UUID is nobody else's.
    """
    if message.protocol is Protocol.OCPP16:
        return use.protocol is Protocol.OCPP16 and use.start is not None
    return bool(_UUID.fullmatch(use.wire_id))


def _start_of(uses: list[Record], message: TransactionMessage) -> Record | None:
    for use in uses:
        if use.start is not None and use.start.at == message.at:
            return use
    waiting = [use for use in uses if use.start is None and message.at <= use.first_at]
    return min(waiting, key=_begin, default=None)


def _begin(use: Record) -> datetime:
    return use.start.at if use.start is not None else use.first_at


def _is_over(use: Record, message: TransactionMessage) -> bool:
    """Whether this use of the id had ended when the message's own use began.

    Nothing but the end itself, sent again, has its number, and nothing has a higher one (2.x).
    """
    stop = use.stop
    if stop is None or message.at <= stop.at:
        return False
    if message.seq_no is None or stop.seq_no is None:
        # 1.6 ids are ours and never reused; one that we never gave ("0", "-1") may be.
        return use.start is None
    return message.phase is not Phase.ENDED or message.seq_no != stop.seq_no

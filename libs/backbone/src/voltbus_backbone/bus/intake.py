"""From the records that a consumption took to the events that its handler gets.

Whatever one record's bytes are, they end here as an event, a dead letter with its reason, or are
passed over: nothing of them reaches the loop as an exception (docs/adr/0017-supervised-readers.md).
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import structlog

from voltbus_backbone.bus import dead_letters, envelope
from voltbus_backbone.contract.registry import FAULT, TYPES, Fault
from voltbus_backbone.errors import InvalidRecord
from voltbus_backbone.observability import RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.bus.replies import ReplyAddresses
    from voltbus_backbone.contract.registry import Topic

log = structlog.get_logger(__name__)


class Intake:
    """Reads records for one consumption. ``types`` are those that its handler knows."""

    def __init__(
        self,
        group: str,
        types: frozenset[str],
        *,
        addresses: ReplyAddresses,
        dead_letters: Topic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._group = group
        self._types = {name.encode() for name in types}
        self._addresses = addresses
        self._dead_letters = dead_letters
        self._now = now
        self._refused: list[str] = []  # reply addresses, of the batch in hand

    async def sort(self, records: Sequence[Any]) -> tuple[list[Event], list[Record]]:
        """The events to handle, in order, and what is sent in the place of the others."""
        events: list[Event] = []
        instead: list[Record] = []
        for record in records:
            kind = envelope.header(record.headers, "ce_type")
            if kind is not None and kind not in self._types and kind.decode("latin-1") in TYPES:
                continue  # not ours
            event, reason = _read(record)
            if event is not None and not self._is_addressed(event):
                reason = await self._refuse_address(event) or reason
            if reason is not None:
                instead.append(self.dead_letter(record, reason))
                if event is not None:
                    instead.extend(self._fault(event, reason))
            elif event is not None:
                events.append(event)
        if self._refused:  # one line for a batch, however many: anybody may write them
            refused, self._refused = self._refused, []
            log.warning(
                "reply_address.refused", group=self._group, count=len(refused), reason=refused[0]
            )
        return self.still_wanted(events), instead

    def still_wanted(self, events: list[Event]) -> list[Event]:
        """Without the questions past their deadline; what has happened is recorded all the same."""
        now_ms = self._now().timestamp() * 1000
        wanted = [
            event
            for event in events
            if event.asking is None or event.asking.deadline_ms >= now_ms or TYPES[event.type].fact
        ]
        late = len(events) - len(wanted)
        if late:
            RECORDS.labels(self._group, "past_deadline").inc(late)
        return wanted

    def dead_letter(self, record: Any, reason: str) -> Record:
        """The letter for a record, raw or parsed; counted."""
        RECORDS.labels(self._group, "dead_letter").inc()
        return dead_letters.written(record, reason, self._dead_letters, self._now())

    def give_up(self, event: Event, reason: str) -> list[Record]:
        """Return the letter for an event that its handler cannot bear, and a fault to its asker."""
        return [self.dead_letter(event, reason), *self._fault(event, reason, code="failed")]

    def _is_addressed(self, event: Event) -> bool:
        """Whether an answer can be delivered, or nobody wants one."""
        asking = event.asking
        if asking is None:
            return event.unaddressed is None
        return self._addresses.good(asking)

    async def _refuse_address(self, event: Event) -> str | None:
        """Take an address away that no reply reaches; why the record is refused for it, if it is.

        A fact counts without an answer. A question is not worth deciding.
        """
        why = event.unaddressed
        if event.asking is not None:
            why = await self._addresses.refusal(event.asking)
            if why is None:
                return None  # a partition that had been added
        event.asking = None
        RECORDS.labels(self._group, "no_reply_address").inc()
        self._refused.append(why or "")
        row = TYPES.get(event.type)
        return None if row is not None and row.fact else why

    def _fault(self, event: Event, reason: str, code: str = "invalid_request") -> list[Record]:
        """Whoever asked need not wait: what cannot be read or handled will not be decided."""
        fault = Fault(code=code, detail=reason)
        told = envelope.reply(
            event, FAULT, fault, source=f"/voltbus/{self._group}", now=self._now()
        )
        return [told] if told is not None else []


def _read(record: Any) -> tuple[Event | None, str | None]:
    """The decoded event; or why there is none, with the event as far as it could be read.

    Neither for a tombstone.
    """
    event: Event | None = None
    try:
        event = envelope.parse_record(record)
        if event.data is None and event.type == envelope.TOMBSTONE.decode():
            return None, None
        event.decode()
    except InvalidRecord as error:
        return event, error.reason
    return event, None

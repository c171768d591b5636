"""What others tell of stations, their calls and tokens, as far as local lists are concerned.

A batch is one read, a pure fold in the order of the log, and one bulk write under guards. The same
record twice changes nothing: a call's end is heard only while that call is out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import Counter

from voltbus_auth.local_lists.domain.facts import OURS, Times, fold
from voltbus_backbone.contract.auth import TokenChanged
from voltbus_backbone.contract.config import CommandChanged
from voltbus_backbone.contract.registry import (
    COMMAND_CHANGED,
    STATION_BOOTED,
    STATION_CONNECTED,
    STATION_DISCONNECTED,
    STATION_REGISTERED,
    STATION_REPORTED,
    STATION_STATE,
    TOKEN_CREATED,
    TOKEN_DELETED,
    TOKEN_ERASED,
    TOKEN_UPDATED,
)
from voltbus_backbone.contract.stations import StationRegistered, StationReported
from voltbus_backbone.errors import Unavailable
from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime, timedelta

    from voltbus_auth.local_lists.domain.answers import Retry
    from voltbus_auth.local_lists.domain.facts import Station
    from voltbus_auth.local_lists.handlers.marking import Marking
    from voltbus_auth.local_lists.store.list_stores import ListStores
    from voltbus_backbone.bus.envelope import Event, Record
    from voltbus_backbone.contract.values import Message

TYPES = frozenset(
    row.name
    for row in (
        COMMAND_CHANGED,
        STATION_BOOTED,
        STATION_CONNECTED,
        STATION_DISCONNECTED,
        STATION_REGISTERED,
        STATION_REPORTED,
        STATION_STATE,
        TOKEN_CREATED,
        TOKEN_DELETED,
        TOKEN_ERASED,
        TOKEN_UPDATED,
    )
)
_TRIES = 10
_REPORT = "NotifyReport"

ENDS = Counter(
    "voltbus_auth_local_list_calls_total",
    "Calls about stations' local lists, by what for and how they ended",
    ["kind", "outcome"],
)


class ListEvents:
    """The consumer of everything that lists depend on."""

    def __init__(
        self,
        store: ListStores,
        marking: Marking,
        *,
        now: Callable[[], datetime],
        settle: timedelta,
        retry: Callable[[], Retry],
        wake: Callable[[float], None],
    ) -> None:
        self._lists = store.local_list
        self._marking = marking
        self._now = now
        self._settle = settle
        self._retry = retry
        self._wake = wake

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """ListStores what a batch tells; what follows from it is sent later."""
        tokens: dict[str, bool] = {}
        told: dict[str, list[Message]] = {}
        removed: dict[str, datetime] = {}
        for event in events:
            message = event.message
            if isinstance(message, TokenChanged):
                erased = event.type == TOKEN_ERASED.name
                tokens[message.token_ref] = erased or tokens.get(message.token_ref, False)
            elif isinstance(message, StationRegistered):
                if message.removed:
                    removed[message.station_id] = message.at
            elif _matters(message):
                told.setdefault(message.station_id, []).append(message)
        if removed:
            await self._lists.remove(removed)
        if told:
            await self._fold(told)
        await self._marking.tokens_changed(
            list(tokens), [ref for ref, erased in tokens.items() if erased]
        )
        return []

    async def _fold(self, told: Mapping[str, Sequence[Message]]) -> None:
        """Read, fold, write; again for those that someone else wrote in between."""
        left = dict(told)
        now = to_milliseconds(self._now())
        for _ in range(_TRIES):
            known = await self._lists.load(left, contents=_with_answers(left))
            changes = []
            for station_id, messages in left.items():
                before = known[station_id]
                after = self._after(before, messages, now)
                if after is not before:
                    changes.append((before, after))
            lost = await self._lists.change(changes)
            soonest = min((after.due for _, after in changes if after.due), default=None)
            if soonest is not None:
                self._wake(max((soonest - now).total_seconds(), 0.0))
            left = {name: left[name] for name in lost}
            if not left:
                return
        raise Unavailable("others keep changing the same stations' lists")

    def _after(self, station: Station, messages: Sequence[Message], now: datetime) -> Station:
        times = Times(now, self._settle, self._retry())
        for message in messages:
            flight = station.list.flight
            after = fold(station, message, times)
            if flight is not None and after.list.flight is None:
                assert isinstance(message, CommandChanged)  # noqa: S101 - nothing else ends a call
                outcome = message.answer_status or message.status.value
                ENDS.labels(flight.kind.value, outcome).inc()
            station = after
        return station


def _matters(message: Message) -> bool:
    if isinstance(message, StationReported):
        return message.action == _REPORT
    return True


def _with_answers(told: Mapping[str, Sequence[Message]]) -> set[str]:
    """The stations of which what they hold must be read: an answer of theirs may change it."""
    return {
        station_id
        for station_id, messages in told.items()
        if any(
            isinstance(message, CommandChanged) and (message.cause or "").startswith(OURS)
            for message in messages
        )
    }

"""Keeps stations' lists as they should be: looks at what is due, and sends the next step.

Any replica looks at any station. Who writes the step first has it: the write is guarded, and only
then the call goes out. A process that ends between the two leaves the step to be sent by the next
look, with the same cause and the same payload, so that config makes one command of it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from voltbus_auth.local_lists.domain import moves, wire
from voltbus_auth.local_lists.domain.facts import OURS
from voltbus_auth.local_lists.domain.station import UPDATES, Kind
from voltbus_auth.local_lists.handlers.compiling import Compiling
from voltbus_backbone.bus.envelope import event
from voltbus_backbone.bus.refusals import deliver
from voltbus_backbone.contract.config import CommandRequested
from voltbus_backbone.contract.registry import COMMAND, Topic
from voltbus_backbone.errors import Unavailable
from voltbus_backbone.lookout import Lookout
from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from voltbus_auth.decisions.domain.verdict import Policy
    from voltbus_auth.local_lists.domain.facts import Station
    from voltbus_auth.local_lists.domain.moves import Look, Order
    from voltbus_auth.local_lists.domain.plans import Plan
    from voltbus_auth.local_lists.domain.station import ListState
    from voltbus_auth.local_lists.store.list_stores import ListStores
    from voltbus_backbone.bus.envelope import Record
    from voltbus_backbone.bus.ports import Publishing
    from voltbus_backbone.contract.values import Protocol

log = structlog.get_logger(__name__)

_MOST = 100
_LEASE = timedelta(seconds=30)
_LOOK_EVERY_S = 0.5
_SOON = timedelta(seconds=1)
_LAST_REQUEST_ID = 2**31 - 1

Values = dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Step:
    """A station before and after a look, and the payload of the call that goes out."""

    before: Station
    after: Station
    action: str = ""
    payload: wire.Payload | None = None


class Keeping:
    """The background work of one replica."""

    def __init__(
        self,
        store: ListStores,
        policy: Policy,
        publisher: Publishing,
        *,
        source: str,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._policy = policy
        self._publisher = publisher
        self._source = source
        self._now = now
        self._lookout = Lookout("local_lists", self.look, every_s=_LOOK_EVERY_S)

    def wake(self, after_s: float = 0.0) -> None:
        """Something was marked due: look when it is."""
        self._lookout.wake(after_s)

    async def run(self) -> None:
        """Look at what is due, for the life of the process."""
        await self._lookout.run()

    async def look(self) -> int:
        """Look at some that are due; how many there were."""
        ids = await self._store.local_list.take(to_milliseconds(self._now()), _LEASE, _MOST)
        if ids:
            await self._look(ids)
        return len(ids)

    async def _look(self, ids: Sequence[str]) -> None:
        try:
            await self._keep(ids)
        except Unavailable:
            raise
        except Exception:
            # One station's data must not keep the others waiting; its lease brings it back.
            if len(ids) == 1:
                log.exception("local_lists.failed", station_id=ids[0])
                return
            for station_id in ids:
                await self._look([station_id])

    async def _keep(self, ids: Sequence[str]) -> None:
        now = to_milliseconds(self._now())
        looks = await self._decide(ids, now)
        values = await self._store.listed_token.values(
            {ref for _, look in looks for ref in _needed(look)}
        )
        steps = [self._step(station, look, values, now) for station, look in looks]
        await self._store.listed_token.set_lengths(_unfit(looks, values))
        lost = await self._store.local_list.change([(one.before, one.after) for one in steps])
        calls = [one for one in steps if one.payload is not None and one.after.id not in lost]
        if calls:
            records = [self._record(one, now) for one in calls]
            await deliver(self._publisher, records, Topic.AUTH_DEAD_LETTER, now)
            await self._store.local_list.published({one.after.id: _cause(one) for one in calls})

    async def _decide(self, ids: Sequence[str], now: datetime) -> list[tuple[Station, Look]]:
        stations = await self._store.local_list.load(ids, contents=ids)
        keys = {key for station in stations.values() for key in station.plan_keys}
        plans = await self._store.plan.plans(keys)
        compiling = Compiling(self._store, self._policy, now)
        return [
            (station, await self._next(station, plans, compiling, now))
            for station in stations.values()
            if station.revision
        ]

    async def _next(
        self, station: Station, plans: Mapping[str, Plan], compiling: Compiling, now: datetime
    ) -> Look:
        mine = [plans[key] for key in station.plan_keys if key in plans]
        step = moves.waits(station.list, station.situation(wanted=bool(mine)), now)
        if step is not None:
            return step
        desired = await compiling.of(station, mine)
        removed = moves.removed_refs(station.list, desired)
        readable = await self._store.listed_token.readable(removed)
        return moves.look(station.list, desired, readable, now)

    def _step(self, station: Station, look: Look, values: Values, now: datetime) -> _Step:
        order = look.order
        if order is None:
            return _Step(station, replace(station, list=look.state, due=look.due))
        items = _items(order, values)
        protocol = look.state.protocol
        if items is None or protocol is None or not _all_fit(items, look):
            # A token went away or turned out too long since the list was worked out.
            if order.again is not None:
                state = moves.unheard(look.state, now)
                return _Step(station, replace(station, list=state, due=now))
            return _Step(station, replace(station, due=now + _SOON))
        state = look.state
        if order.again is None:
            count = wire.how_many(items, protocol, state.most_bytes)
            items = items[:count]
            order = replace(order, changes=order.changes[:count], digests=order.digests[:count])
            # Never the same twice, even if the station is removed and registered again.
            serial = max(state.serial + 1, int(now.timestamp() * 1000))
            cause = f"{OURS}{station.id}:{serial}"
            state = replace(moves.sent(state, order, cause, now), serial=serial)
        else:
            flight = replace(order.again, give_up_at=now + moves.GIVEN_UP_AFTER)
            state = replace(state, flight=flight)
        after = replace(station, list=state, due=now + moves.PUBLISHED_WITHIN)
        return _Step(station, after, *_call(state, protocol, items))

    def _record(self, step: _Step, now: datetime) -> Record:
        cause = _cause(step)
        return event(
            COMMAND,
            CommandRequested(
                station_id=step.after.id,
                action=step.action,
                payload=step.payload or {},
                idempotency_key=cause,
                expires_at=now + moves.QUEUED_FOR,
                timeout_s=moves.ANSWER_TIMEOUT_S,
                cause=cause,
            ),
            id=cause,
            source=self._source,
            now=now,
        )


def _call(
    state: ListState, protocol: Protocol, items: Sequence[wire.Item]
) -> tuple[str, wire.Payload]:
    """The action and payload of the call that is out."""
    flight = state.flight
    assert flight is not None  # noqa: S101 - it was there, or has just been made
    if flight.kind in UPDATES:
        full = flight.kind is Kind.FULL
        return "SendLocalList", wire.send_local_list(protocol, flight.version, items, full=full)
    if flight.kind is Kind.LIMITS:
        return wire.ask_limits(protocol)
    if flight.kind is Kind.REPORT:
        return wire.ask_report(state.serial % _LAST_REQUEST_ID)
    return "GetLocalListVersion", {}


def _cause(step: _Step) -> str:
    flight = step.after.list.flight
    assert flight is not None  # noqa: S101 - of a call that goes out
    return flight.cause


def _needed(look: Look) -> list[str]:
    """The tokens whose values a step sends."""
    order = look.order
    if order is None:
        return []
    changes = order.again.changes if order.again is not None else order.changes
    return [ref for ref, _ in changes]


def _items(order: Order, values: Values) -> list[wire.Item] | None:
    """The lines to be sent; None where a value is gone."""
    changes = order.again.changes if order.again is not None else order.changes
    items = []
    for ref, info in changes:
        found = values.get(ref)
        if found is None:
            return None
        kind, text = found
        items.append(wire.Item(text, kind, info))
    return items


def _all_fit(items: Sequence[wire.Item], look: Look) -> bool:
    protocol = look.state.protocol
    return protocol is not None and all(
        wire.fits(item.type, len(item.value), protocol) for item in items
    )


def _unfit(looks: Sequence[tuple[Station, Look]], values: Values) -> dict[str, int]:
    """How long the values are that turned out too long: they were stored before that was noted."""
    found = {}
    for _, look in looks:
        for ref in _needed(look):
            kind, text = values.get(ref, ("", ""))
            protocol = look.state.protocol
            if text and protocol is not None and not wire.fits(kind, len(text), protocol):
                found[ref] = len(text)
    return found

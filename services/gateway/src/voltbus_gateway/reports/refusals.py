"""Refused log-ins and calls: for the log, for the station's page, and for ``GET /v1/refusals``.

Anybody can cause refusals at any rate, so everything here is throttled and bounded: a stranger who
tries random names fills neither the log, nor a topic, nor config's store. Events are published for
registered stations only.
"""

from __future__ import annotations

import asyncio
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import structlog

from voltbus_backbone.bus import envelope
from voltbus_backbone.contract.auth import StationLogin, StationLoginAnswer
from voltbus_backbone.contract.registry import STATION_LOGIN, STATION_REFUSED
from voltbus_backbone.contract.stations import StationRefused
from voltbus_backbone.contract.values import Message
from voltbus_gateway.domain.door import handshake
from voltbus_gateway.domain.door.throttled_counter import ThrottledCounter
from voltbus_gateway.door.admission import RateLimiter
from voltbus_gateway.metrics import REFUSALS, REFUSED_CALLS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime

    from voltbus_backbone.bus.ports import Publishing
    from voltbus_backbone.bus.rpc import Requester
    from voltbus_backbone.errors import VoltbusError
    from voltbus_gateway.connection.connection import Connection
    from voltbus_gateway.domain.session.effects import Refusal
    from voltbus_gateway.door.refusals import LoginRefusedError

log = structlog.get_logger(__name__)

LOGIN, CALL = "login", "call"

_EVERY_S = 60.0
_FORGET_S = 3600.0
# More than a gateway has connections, so that a fleet with one fault is still damped.
_REMEMBERED = 50_000
_LINES_REMEMBERED = 10_000
# What the log bears of all strangers together, and auth of questions whether they are registered.
_LINES_PER_S, _LINES_AT_ONCE = 1.0, 60
_QUESTIONS_PER_S, _QUESTIONS_AT_ONCE = 5.0, 20
_SHOWN_AT_GATEWAY = 100
_LONGEST_SHOWN = 100


class RefusedLogin(Message, frozen=True):
    """A log-in that was refused, as the gateway shows it. ``count``: of the same, until then."""

    at: datetime
    station_id: str
    path: str
    address: str
    reason: str
    status: int
    count: int


class _Kind(NamedTuple):
    """What refusals have in common that are counted together."""

    station_id: str
    kind: str
    reason: str


class _Detail(NamedTuple):
    """What may differ between them; the newest is published."""

    action: str
    address: str


class Refusals:
    """Counts, logs and publishes refused log-ins and calls."""

    def __init__(
        self,
        *,
        publisher: Publishing,
        requester: Requester,
        gateway_id: str,
        source: str,
        deadline_s: float,
        now: Callable[[], datetime],
        clock: Callable[[], float],
    ) -> None:
        self._publisher = publisher
        self._requester = requester
        self._gateway_id = gateway_id
        self._source = source
        self._deadline_s = deadline_s
        self._now = now
        self._clock = clock
        self._events: ThrottledCounter[_Kind, _Detail] = ThrottledCounter(
            every_s=_EVERY_S, forget_s=_FORGET_S, remembered=_REMEMBERED
        )
        self._lines: ThrottledCounter[tuple[str, str], None] = ThrottledCounter(
            every_s=_EVERY_S, forget_s=_FORGET_S, remembered=_LINES_REMEMBERED
        )
        self._line_rate = RateLimiter(
            rate_per_s=_LINES_PER_S, burst=_LINES_AT_ONCE, longest_wait_s=0.0
        )
        self._question_rate = RateLimiter(
            rate_per_s=_QUESTIONS_PER_S, burst=_QUESTIONS_AT_ONCE, longest_wait_s=0.0
        )
        self._left_out = 0
        self._recent: deque[RefusedLogin] = deque(maxlen=_SHOWN_AT_GATEWAY)
        self._number = 0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def recent(self) -> Iterable[RefusedLogin]:
        """The last refused log-ins that the log has, the newest last."""
        return self._recent

    def record_login(
        self, target: str, station_id: str | None, address: str, refused: LoginRefusedError
    ) -> None:
        """Record a refused log-in. ``target`` is the request target, as received."""
        REFUSALS.labels(refused.reason).inc()
        self._log(target, station_id, address, refused)
        if station_id is None or refused.ours or refused.registered is False:
            return
        kind, detail = _Kind(station_id, LOGIN, refused.reason), _Detail("", address)
        if refused.registered or kind in self._events:
            self._count(kind, detail)
        elif self._question_rate.reserve(self._clock()) is not None:
            # The door did not get so far as to ask.
            self._requester.ask_then(
                STATION_LOGIN,
                StationLogin(station_id=station_id),
                partial(self._handle_identity, kind, detail),
                deadline_s=self._deadline_s,
            )

    def _handle_identity(
        self, kind: _Kind, detail: _Detail, answer: Message | VoltbusError
    ) -> None:
        if isinstance(answer, StationLoginAnswer) and answer.known:
            self._count(kind, detail)

    def record_call(self, connection: Connection, refusal: Refusal) -> None:
        """Record a call of a station that we answered with an error."""
        REFUSED_CALLS.labels(refusal.reason).inc()
        self._count(
            _Kind(connection.station_id, CALL, refusal.reason),
            _Detail(refusal.action, connection.address),
        )

    def close(self) -> None:
        """Publish no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _count(self, kind: _Kind, detail: _Detail) -> None:
        count = self._events.count(kind, detail, self._clock())
        if count is not None:
            self._publish(kind, detail, count)
        elif self._timer is None:
            self._arm_timer()

    def _publish(self, kind: _Kind, detail: _Detail, count: int) -> None:
        now = self._now()
        self._number += 1
        message = StationRefused(
            station_id=kind.station_id,
            gateway_id=self._gateway_id,
            at=now,
            kind=kind.kind,
            reason=kind.reason,
            action=detail.action,
            address=detail.address,
            count=count,
        )
        self._publisher.post(
            envelope.event(
                STATION_REFUSED,
                message,
                id=f"{int(now.timestamp() * 1_000_000):014x}/refused/{self._number}",
                source=self._source,
                now=now,
            )
        )

    def _arm_timer(self) -> None:
        due = self._events.next_due
        if due is not None:
            wait = max(due - self._clock(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(wait, self._publish_due)

    def _publish_due(self) -> None:
        self._timer = None
        for kind, detail, count in self._events.take_due(self._clock()):
            self._publish(kind, detail, count)
        self._arm_timer()

    def _log(
        self, target: str, station_id: str | None, address: str, refused: LoginRefusedError
    ) -> None:
        path = escape(handshake.read_path(target))
        name = escape(station_id or "")
        count = self._lines.count((name or path, refused.reason), None, self._clock())
        if count is None:
            return
        if self._line_rate.reserve(self._clock()) is None:
            self._left_out += 1
            return
        self._recent.append(
            RefusedLogin(
                at=self._now(),
                station_id=name,
                path=path,
                address=address,
                reason=refused.reason,
                status=refused.status.value,
                count=count,
            )
        )
        log.info(
            "station.refused",
            station=name,
            path=path,
            address=address,
            reason=refused.reason,
            status=refused.status.value,
            count=count,
            left_out=self._left_out,
        )
        self._left_out = 0


def escape(text: str) -> str:
    """Cut text from outside and escape whatever is not plain ASCII."""
    return text[:_LONGEST_SHOWN].encode("unicode_escape").decode()[:_LONGEST_SHOWN]

"""A station's local list as the specifications describe it, for tests of the pure core."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from auth.auth_examples import NOW
from voltbus_auth.local_lists.domain import moves, wire
from voltbus_auth.local_lists.domain.answers import Retry, heard
from voltbus_auth.local_lists.domain.entries import Desired, Entry
from voltbus_auth.local_lists.domain.moves import Look, Order
from voltbus_auth.local_lists.domain.station import Kind, ListState, Situation, Status, of_protocol
from voltbus_backbone.contract.config import CommandChanged, CommandStatus
from voltbus_backbone.contract.values import Protocol

ACCEPTED = {"status": "Accepted"}
RETRY = Retry(timedelta(seconds=30), 0.0)
HERE = Situation(wanted=True, reachable=True)


def ref(number: int) -> str:
    """The reference of an example token."""
    return f"{number:064x}"


def wanted(*numbers: int, info: dict[str, Any] | None = None) -> Desired:
    """What a station should hold: these tokens, all with the same info."""
    said = info or ACCEPTED
    digest = hashlib.blake2b(str(sorted(said.items())).encode(), digest_size=8).digest()
    return Desired({ref(one): Entry(ref(one), said, digest) for one in numbers})


def ended(
    cause: str, status: CommandStatus, answer: str | None = None, **rest: Any
) -> CommandChanged:
    """A command's event."""
    return CommandChanged(
        command_id="c-1",
        station_id="CS-1",
        action="SendLocalList",
        status=status,
        at=NOW,
        answer_status=answer,
        cause=cause,
        **rest,
    )


@dataclass
class ModelStation:
    """What stands at the other end. ``most`` entries a message may have, ``room`` for all."""

    most: int = 3
    room: int = 100
    version: int = 0
    entries: dict[str, dict[str, Any]] = field(default_factory=dict)
    updates: list[str] = field(default_factory=list)

    def answer(self, order: Order) -> tuple[str | None, dict[str, int]]:
        """The status and the numbers of its answer; the update is applied."""
        match order.kind:
            case Kind.LIMITS:
                return None, {
                    "SendLocalListMaxLength": self.most,
                    "LocalAuthListMaxLength": self.room,
                }
            case Kind.VERSION:
                return None, {"listVersion": self.version}
            case _:
                return self._update(order), {}

    def _update(self, order: Order) -> str:
        if len(order.changes) > self.most:
            return "Failed"
        after = {} if order.kind is Kind.FULL else dict(self.entries)
        if order.kind is Kind.DIFFERENTIAL and order.version <= self.version:
            return "VersionMismatch"
        for name, info in order.changes:
            if info is None:
                after.pop(name, None)
            else:
                after[name] = info
        if len(after) > self.room:
            return "Failed"
        self.entries, self.version = after, order.version
        self.updates.append(str(order.kind))
        return "Accepted"


@dataclass
class Central:
    """Our side, with a clock of its own."""

    state: ListState = field(default_factory=lambda: of_protocol(ListState(), Protocol.OCPP16))
    now: datetime = NOW
    calls: int = 0
    readable: set[str] | None = None

    def look(self, desired: Desired, situation: Situation = HERE) -> Look:
        """Decide, and take the decision over."""
        found = moves.waits(self.state, situation, self.now)
        if found is None:
            removed = moves.removed_refs(self.state, desired)
            readable = set(removed) if self.readable is None else self.readable
            found = moves.look(self.state, desired, readable, self.now)
        self.state = found.state
        return found

    def send(self, order: Order) -> str:
        """The order goes out; the cause it has."""
        if order.again is None:
            self.calls += 1
            self.state = moves.sent(self.state, order, f"cause-{self.calls}", self.now)
        assert self.state.flight is not None
        self.state = replace(self.state, flight=replace(self.state.flight, published=True))
        assert self.state.flight is not None
        return self.state.flight.cause

    def hear(self, event: CommandChanged) -> None:
        """A command's event."""
        after = heard(self.state, event, self.now, RETRY)
        if after is not None:
            self.state = after

    def converse(self, station: ModelStation, desired: Desired, most: int = 40) -> int:
        """Until there is nothing to do but wait for something new; how many calls it took."""
        for count in range(most):
            look = self.look(desired)
            if look.order is None:
                if look.due is None or look.state.status is Status.IN_SYNC:
                    return count
                self.now = max(self.now, look.due)
                continue
            order = again(look.order)
            cause = self.send(look.order)
            status, told = station.answer(order)
            self.hear(ended(cause, CommandStatus.ANSWERED, status, told=told))
        raise AssertionError(f"still busy after {most} steps: {self.state}")


def again(order: Order) -> Order:
    """What an order sends, also when it is sent once more."""
    flight = order.again
    if flight is None:
        return order
    return Order(flight.kind, flight.version, flight.changes, flight.digests)


LAST = wire.LAST_VERSION

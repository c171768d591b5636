"""The life of a station's application for a certificate (A02).

pending → issued | refused            by whoever signs
issued  → accepted | rejected         the station's answer to CertificateSigned
        → undelivered                 no answer
accepted → in_use → replaced          seen at the door, and no longer
undelivered and what follows accepted → issued   it asks again: the same chain goes out again

Pure. A round ends when it is refused or rejected, or an hour after its certificate was made: the
same request is then signed anew. Until then it gets the same answer, and the same certificate.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

import msgspec

from voltbus_auth.station_certificates.domain.requests import STATION
from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.values import Message, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from voltbus_auth.station_certificates.domain.chain import Issued

MOST_PENDING = 10
RESENT = timedelta(hours=1)
ASKED_AGAIN = timedelta(days=1)  # a station that did not renew when it was told to
_PENDING_KEPT = timedelta(days=7)
_KEPT = timedelta(days=30)
_CAUSE = "station-certificate"


class State(StrEnum):
    """Where an application stands."""

    PENDING = "pending"
    REFUSED = "refused"
    ISSUED = "issued"
    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNDELIVERED = "undelivered"
    IN_USE = "in_use"
    REPLACED = "replaced"


_SENT = frozenset({State.ISSUED, State.UNDELIVERED})
_SENT_AGAIN = frozenset({State.UNDELIVERED, State.ACCEPTED, State.IN_USE, State.REPLACED})
_USABLE = frozenset({State.ISSUED, State.ACCEPTED, State.IN_USE})
RENEWED = (State.ACCEPTED, State.IN_USE)
_CERTIFIED = frozenset(State) - {State.PENDING, State.REFUSED}


class Application(Message, frozen=True, rename={"id": "_id"}):
    """One request of a station, under an id that is the same for the same request.

    ``round`` counts signatures, ``delivery`` the commands that carried one. ``ocpp_request_id`` and
    ``ocpp_type`` are the station's own words, repeated to it (A02.FR.12, FR.14). ``common_name``
    and ``organization`` are what was asked for, where a certificate must name it. ``serial`` is hex
    without leading zeros. ``reason``: of a refusal. ``renewal_at``: when that was last looked at.
    ``asked_by``: the record by which it was last asked for.
    """

    id: str
    station_id: str
    protocol: Protocol
    type: str
    key_sha256: str
    state: State
    asked_at: datetime
    changed_at: datetime
    forget_at: datetime
    round: int
    revision: int
    delivery: int = 1
    ocpp_request_id: int | None = None
    ocpp_type: str | None = None
    common_name: str | None = None
    organization: str | None = None
    chain: str | None = None
    issued_at: datetime | None = None
    serial: str | None = None
    subject: str | None = None
    issuer: str | None = None
    not_before: datetime | None = None
    not_after: datetime | None = None
    reason: str | None = None
    command_id: str | None = None
    seen_at: datetime | None = None
    renewal_at: datetime | None = None
    asked_by: str | None = None

    @property
    def request_id(self) -> str:
        """The id under which an authority elsewhere is asked."""
        return f"{self.id}-{self.round}"

    @property
    def cause(self) -> str:
        """The ``cause`` of the command that carries the chain."""
        return f"{_CAUSE}:{self.id}:{self.round}:{self.delivery}"


def opens_door(application: Application, now: datetime) -> bool:
    """Whether the station took a certificate by it with which it can log in now."""
    valid = application.not_after is None or application.not_after > now
    taken = application.state in {State.ACCEPTED, State.IN_USE}
    return taken and valid and application.type == STATION


class Wish(Message, frozen=True):
    """A request that may be signed, as it becomes an application."""

    id: str
    station_id: str
    protocol: Protocol
    type: str
    key_sha256: str
    ocpp_request_id: int | None = None
    ocpp_type: str | None = None
    common_name: str | None = None
    organization: str | None = None
    asked_by: str | None = None


def asked(current: Application | None, wish: Wish, now: datetime) -> Application:
    """The application once the station has asked: a new round, or the one that goes on.

    Whoever accepted its certificate and asks again has lost it, and was told that one follows.
    """
    if current is None or _over(current, now):
        return Application(
            **msgspec.structs.asdict(wish),
            state=State.PENDING,
            asked_at=now,
            changed_at=now,
            forget_at=now + _PENDING_KEPT,
            round=1 if current is None else current.round + 1,
            revision=1 if current is None else current.revision + 1,
        )
    if wish.asked_by is not None and wish.asked_by == current.asked_by:
        return current  # the same record, delivered again
    another = current.ocpp_request_id != wish.ocpp_request_id
    if current.state in _SENT_AGAIN or (another and current.state is State.ISSUED):
        return _moved(
            current,
            State.ISSUED,
            now,
            delivery=current.delivery + 1,
            ocpp_request_id=wish.ocpp_request_id,
            asked_by=wish.asked_by,
        )
    if another and current.state is State.PENDING:
        return _moved(current, State.PENDING, now, ocpp_request_id=wish.ocpp_request_id)
    return current


def certified(current: Application, found: Issued, now: datetime) -> Application:
    """The application with its certificate; as it was where it has one in this round.

    After a refusal as well: an authority may think better of it.
    """
    if current.state in _CERTIFIED:
        return current
    return _moved(
        current,
        State.ISSUED,
        now,
        chain=found.chain,
        issued_at=now,
        serial=found.serial,
        subject=found.subject,
        issuer=found.issuer,
        not_before=found.not_before,
        not_after=found.not_after,
        reason=None,
        forget_at=found.not_after + _KEPT,
    )


def refused(current: Application, reason: str, now: datetime) -> Application:
    """The application refused, if it was not decided yet."""
    if current.state is not State.PENDING:
        return current
    return _moved(
        current, State.REFUSED, now, reason=reason[:500] or "no reason", forget_at=now + _KEPT
    )


def ended(
    current: Application,
    cause: str,
    status: CommandStatus,
    answer: str | None,
    *,
    command_id: str,
    now: datetime,
) -> Application:
    """The application once the command that carried its chain has ended."""
    if current.cause != cause or current.state not in _SENT:
        return current
    match status:
        case CommandStatus.ANSWERED if answer == "Accepted":
            return _moved(current, State.ACCEPTED, now, command_id=command_id)
        case CommandStatus.ANSWERED:
            return _moved(
                current, State.REJECTED, now, command_id=command_id, forget_at=now + _KEPT
            )
        case CommandStatus.QUEUED | CommandStatus.SENT:
            return current
        case _:
            return _moved(current, State.UNDELIVERED, now, command_id=command_id)


def seen(current: Application, serial: str, type_seen: str, now: datetime) -> Application:
    """The application once the station has logged in with a certificate of this serial number."""
    if current.type != type_seen:
        return current
    if current.serial == serial and current.state in _CERTIFIED:
        if current.state is State.IN_USE:
            return current
        # A station that lost its newer certificate goes back to an older one: that counts again.
        return _moved(current, State.IN_USE, now, seen_at=now)
    if current.state is State.IN_USE:
        return _moved(current, State.REPLACED, now)
    return current


def needs_renewal(
    one: Application, others: Iterable[Application], ends: datetime, now: datetime
) -> bool:
    """Whether the station has nothing newer than this certificate, and none on its way."""
    for other in others:
        if other.station_id != one.station_id or other.type != one.type or other.id == one.id:
            continue
        if other.state in _USABLE and other.not_after is not None and other.not_after >= ends:
            return False
        if other.state is State.PENDING and other.asked_at > now - ASKED_AGAIN:
            return False
    return True


def renewal_looked_at(current: Application, now: datetime) -> Application:
    """The application, not to be looked at again for a day."""
    return msgspec.structs.replace(current, renewal_at=now, revision=current.revision + 1)


def id_of_cause(cause: str | None) -> str | None:
    """The application that a command's cause names; None for other commands."""
    match (cause or "").split(":"):
        case [name, found, _, _] if name == _CAUSE:
            return found
    return None


def _over(current: Application, now: datetime) -> bool:
    if current.state in {State.REFUSED, State.REJECTED}:
        return True
    return current.issued_at is not None and current.issued_at + RESENT <= now


def _moved(current: Application, to: State, now: datetime, **changes: object) -> Application:
    return msgspec.structs.replace(
        current, state=to, changed_at=now, revision=current.revision + 1, **changes
    )

"""The record of one transaction, as a value."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from voltbus_auth.projections.domain.places import evse_of
from voltbus_auth.tokens.domain.identifiers import short_id
from voltbus_auth.transactions.domain.registers import NO_SPAN, Reading, Span
from voltbus_backbone.contract.auth import Phase

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.auth import TransactionMessage
    from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

_STOP_AUTHORIZED = "StopAuthorized"
ERASED = "erased:"  # begins the name that an erased token's transactions bear
# Who closed a transaction whose end was never told.
POLICY = "policy"
OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Start:
    """How it began. ``meter_wh``: the register then, where the message said so."""

    at: datetime
    meter_wh: int | None = None
    seq_no: int | None = None


@dataclass(frozen=True, slots=True)
class Stop:
    """How it ended."""

    at: datetime
    meter_wh: int | None = None
    seq_no: int | None = None
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Presented:
    """A token that was presented in this transaction, and what was decided then.

    ``ending``: it was presented to stop. It says who stopped, not who pays (1.6 StopTransaction,
    OCPP 2.0.1 C16: a master pass stops what others began).
    """

    at: datetime
    seq_no: int
    token_ref: str
    status: AuthorizationStatus
    agreement_id: str | None = None
    authorization_reference: str | None = None
    ending: bool = False


@dataclass(frozen=True, slots=True)
class Live:
    """The charging state of the latest message that told one (sequence number, then time)."""

    seq_no: int
    at: datetime
    state: str


@dataclass(frozen=True, slots=True)
class Told:
    """A change: the record that caused it, the revision it made, the type of the event, if any.

    ``at``: when it was handled, in seconds since 1970; 0 where that was not kept.
    """

    cause: str
    revision: int
    event: str | None
    at: int = 0


@dataclass(frozen=True, slots=True)
class Detail:
    """What the latest message says under one of OCPP 2.x's names (sequence number, then time).

    ``value``: JSON with its members sorted, so that the same detail is the same text.
    """

    name: str
    seq_no: int
    at: datetime
    value: str


@dataclass(frozen=True, slots=True)
class Closed:
    """It was taken for over without its end being told: by the policy, or by an operator.

    ``who`` and ``reason`` are the operator's; ``at`` is our time.
    """

    at: datetime
    by: str
    reason: str = ""
    who: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One transaction. ``wire_id`` is the id between station and us, which a station may reuse:
    ``generation`` counts its uses. ``seqs`` are closed ranges. ``holds`` are the limits that it
    counts against while it is open. ``recent`` lets a redelivered message be told from a resent
    one. ``flags`` are doubts that a single message raised, ``judged`` those that all readings
    together raise once it has ended. ``deauthorized_at``: when the station first said that its
    token is no longer accepted. ``placed``: the start named the EVSE. ``phases``: the register as
    the sum of single phases. ``anonymous``: a token of type NoAuthorization was presented.

    What speaks for its being over without an end (`superseding`). By our clocks: ``booted_at``,
    when the station booted; ``arrived_at``, when the last message arrived that told something.
    By the station's: ``replaced_at``, when the latest other transaction began on its EVSE,
    ``shared_from``, when the first did; ``available_at``, when its connector was available.
    ``superseded_at``: since when, by our clock, all this makes it superseded.
    """  # noqa: D205 - the fields read best in one paragraph

    ref: str
    station_id: str
    protocol: Protocol
    wire_id: str
    generation: int
    first_at: datetime
    last_at: datetime
    evse_id: int | None = None
    connector_id: int | None = None
    placed: bool = False
    reservation_id: int | None = None
    remote_start_id: int | None = None
    offline: bool = False
    start: Start | None = None
    stop: Stop | None = None
    token: Presented | None = None
    deauthorized_at: datetime | None = None
    live: Live | None = None
    seqs: tuple[tuple[int, int], ...] = ()
    first: Reading | None = None
    last: Reading | None = None
    begin: Reading | None = None
    end: Reading | None = None
    phases: Span = NO_SPAN
    details: tuple[Detail, ...] = ()
    repairs: frozenset[str] = frozenset()
    anonymous: bool = False
    arrived_at: datetime | None = None
    booted_at: datetime | None = None
    replaced_at: datetime | None = None
    shared_from: datetime | None = None
    available_at: datetime | None = None
    superseded_at: datetime | None = None
    closed: Closed | None = None
    flags: frozenset[str] = frozenset()
    judged: frozenset[str] = frozenset()
    holds: tuple[str, ...] = ()
    revision: int = 0
    recent: tuple[Told, ...] = ()

    @property
    def key(self) -> str:
        """What later messages name it by."""
        return wire_key(self.station_id, self.wire_id)

    @property
    def outlet(self) -> int | None:
        """The EVSE that it occupies, where that is known."""
        return evse_of(self.protocol, self.evse_id, self.connector_id)

    @property
    def ended(self) -> bool:
        """Whether it is over: its end was told, or it was closed without."""
        return self.stop is not None or self.closed is not None


def is_closed_to(record: Record, token_ref: str, at: datetime) -> bool:
    """Whether this token comes too late: another one's transaction was deauthorised before.

    Only an end and a new transaction let anybody else charge (OCPP 2.0.1 C01.FR.24).
    """
    known, closed = record.token, record.deauthorized_at
    return (
        known is not None and known.token_ref != token_ref and closed is not None and closed <= at
    )


def wire_key(station_id: str, wire_id: str) -> str:
    """The key under which a station's transaction id is looked up."""
    return f"{station_id}\0{wire_id}"


def start_ref(message: TransactionMessage, token_ref: str) -> str:
    """The reference of a 1.6 transaction, from what makes its start the same start.

    Station, connector, idTag, timestamp and meterStart: a resend has them all, whatever its
    message id (rule B; 1.6 gives a start no id of its own).
    """
    return short_id(
        "1.6",
        message.station_id,
        message.connector_id,
        token_ref,
        message.at.timestamp(),
        message.meter_wh,
    )


def is_ending(message: TransactionMessage) -> bool:
    """Whether the token in it was presented to stop."""
    return message.phase is Phase.ENDED or message.trigger == _STOP_AUTHORIZED


def open_record(
    message: TransactionMessage,
    *,
    ref: str | None = None,
    generation: int = 0,
    wire_id: str = "",
    era: str = "",
) -> Record:
    """An empty record for a message that belongs to none.

    ``era`` keeps its reference apart from those of earlier uses of the id that are forgotten.
    """
    wire_id = wire_id or message.transaction_id or ""
    names = (era,) if era else ()
    return Record(
        ref=ref or short_id("wire", message.station_id, wire_id, generation, *names),
        station_id=message.station_id,
        protocol=message.protocol,
        wire_id=wire_id,
        generation=generation,
        first_at=message.at,
        last_at=message.at,
    )

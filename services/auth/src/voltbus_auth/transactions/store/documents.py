"""Transactions as MongoDB documents, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_auth.transactions.domain.account import ACTIVE, ENDED, doubts, ended_at
from voltbus_auth.transactions.domain.record import (
    Closed,
    Detail,
    Live,
    Presented,
    Record,
    Start,
    Stop,
    Told,
)
from voltbus_auth.transactions.domain.registers import Reading, Span
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from voltbus_backbone.mongo.store import Document

_PLAIN = (
    "station_id",
    "wire_id",
    "generation",
    "first_at",
    "last_at",
    "evse_id",
    "connector_id",
    "placed",
    "reservation_id",
    "remote_start_id",
    "offline",
    "deauthorized_at",
    "anonymous",
    "arrived_at",
    "booted_at",
    "replaced_at",
    "shared_from",
    "available_at",
    "superseded_at",
    "revision",
)
_PRESENTED = (
    "at",
    "seq_no",
    "token_ref",
    "status",
    "agreement_id",
    "authorization_reference",
    "ending",
)
_DETAIL = ("name", "seq_no", "at", "value")
_CLOSED = ("at", "by", "reason", "who")
_READINGS = ("first", "last", "begin", "end")


def record_document(record: Record) -> Document:
    """A transaction as it is stored; what is unknown is left out."""
    document: Document = {name: getattr(record, name) for name in _PLAIN}
    document |= {
        "_id": record.ref,
        "key": record.key,
        "protocol": record.protocol.value,
        "state": ENDED if record.ended else ACTIVE,
        "start": _fields(record.start, "at", "meter_wh", "seq_no"),
        "stop": _fields(record.stop, "at", "meter_wh", "seq_no", "reason"),
        "token": _fields(record.token, *_PRESENTED),
        "live": _fields(record.live, "seq_no", "at", "state"),
        "seqs": [list(one) for one in record.seqs],
        "flags": sorted(record.flags),
        "judged": sorted(record.judged),
        "repairs": sorted(record.repairs),
        "details": [_fields(one, *_DETAIL) for one in record.details],
        "phases": {name: _fields(getattr(record.phases, name), "at", "wh") for name in _READINGS},
        "closed": _fields(record.closed, *_CLOSED),
        "holds": list(record.holds),
        "recent": [[one.cause, one.revision, one.event, one.at] for one in record.recent],
    }
    document |= {name: _fields(getattr(record, name), "at", "wh") for name in _READINGS}
    document |= search_fields(record)
    return {name: value for name, value in document.items() if value is not None}


def search_fields(record: Record) -> Document:
    """What lists and the clock look for, and the record itself tells otherwise."""
    return {"doubts": list(doubts(record)), "ended_at": ended_at(record)}


def record_of(document: Document) -> Record:
    """A stored transaction."""
    token = document.get("token")
    # Before it was kept, a start's EVSE counted as soon as there was a start.
    placed = "start" in document and document.get("evse_id") is not None
    document = {"placed": placed, "anonymous": False, **document}
    fields: dict[str, Any] = {name: document.get(name) for name in _PLAIN}
    fields |= {name: Reading(**document[name]) for name in _READINGS if name in document}
    return Record(
        ref=document["_id"],
        protocol=Protocol(document["protocol"]),
        start=Start(**document["start"]) if "start" in document else None,
        stop=Stop(**document["stop"]) if "stop" in document else None,
        token=Presented(**{**token, "status": AuthorizationStatus(token["status"])})
        if token is not None
        else None,
        live=Live(**document["live"]) if "live" in document else None,
        seqs=tuple((low, high) for low, high in document["seqs"]),
        flags=frozenset(document["flags"]),
        judged=frozenset(document.get("judged", ())),
        repairs=frozenset(document.get("repairs", ())),
        details=tuple(Detail(**one) for one in document.get("details", ())),
        phases=_span(document.get("phases") or {}),
        closed=Closed(**document["closed"]) if "closed" in document else None,
        holds=tuple(document["holds"]),
        recent=tuple(Told(*one) for one in document["recent"]),
        **fields,
    )


def _span(document: Document) -> Span:
    found = {name: value for name, value in document.items() if value is not None}
    return Span(**{name: Reading(**value) for name, value in found.items()})


def _fields(value: Any, *names: str) -> Document | None:
    if value is None:
        return None
    return {name: _plain(getattr(value, name)) for name in names}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, AuthorizationStatus) else value

"""Values of the domain as MongoDB documents, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_auth.domain.credentials import Credentials, named
from voltbus_auth.domain.record import Live, Presented, Record, Start, Stop, Told
from voltbus_auth.domain.registers import Reading
from voltbus_auth.domain.tokens import Token, TokenStatus, Whitelist
from voltbus_backbone.contract.auth import PasswordVerifier
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.store import Document

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
_READINGS = ("first", "last", "begin", "end")

TOKEN_FIELDS = (
    "type",
    "status",
    "revision",
    "valid_from",
    "expires_at",
    "group_id",
    "max_concurrent",
    "charging_priority",
    "language",
    "personal_message",
    "credit",
    "sites",
    "evse_kinds",
    "whitelist",
)


def record_document(record: Record) -> Document:
    """A transaction as it is stored; what is unknown is left out."""
    document: Document = {name: getattr(record, name) for name in _PLAIN}
    document |= {
        "_id": record.ref,
        "key": record.key,
        "protocol": record.protocol.value,
        "state": "ended" if record.stop is not None else "active",
        "start": _fields(record.start, "at", "meter_wh", "seq_no"),
        "stop": _fields(record.stop, "at", "meter_wh", "seq_no", "reason"),
        "token": _fields(record.token, *_PRESENTED),
        "live": _fields(record.live, "seq_no", "at", "state"),
        "seqs": [list(one) for one in record.seqs],
        "flags": sorted(record.flags),
        "holds": list(record.holds),
        "recent": [[one.cause, one.revision, one.event, one.at] for one in record.recent],
    }
    document |= {name: _fields(getattr(record, name), "at", "wh") for name in _READINGS}
    return {name: value for name, value in document.items() if value is not None}


def record_of(document: Document) -> Record:
    """A stored transaction."""
    token = document.get("token")
    # Before it was kept, a start's EVSE counted as soon as there was a start.
    placed = "start" in document and document.get("evse_id") is not None
    document = {"placed": placed, **document}
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
        holds=tuple(document["holds"]),
        recent=tuple(Told(*one) for one in document["recent"]),
        **fields,
    )


def token_document(token: Token) -> Document:
    """A token's rights; what it does not say is left out, so that more tokens fit in memory."""
    document: Document = {name: getattr(token, name) for name in TOKEN_FIELDS}
    document["status"] = token.status.value
    document["sites"] = list(token.sites)
    document["evse_kinds"] = list(token.evse_kinds)
    # The default is left out too: most tokens have it, also those stored before there was one.
    allowed = token.whitelist is Whitelist.ALLOWED
    document["whitelist"] = None if allowed else token.whitelist.value
    return {name: value for name, value in document.items() if value not in (None, [])}


def token_change(token: Token, at: datetime) -> Document:
    """The update that makes a stored token's rights these."""
    document = token_document(token)
    gone = dict.fromkeys(set(TOKEN_FIELDS) - document.keys(), "")
    change: Document = {"$set": {**document, "updated_at": at}}
    return {**change, "$unset": gone} if gone else change


def token_of(document: Document) -> Token:
    """A stored token."""
    fields: dict[str, Any] = {name: document.get(name) for name in TOKEN_FIELDS}
    fields["status"] = TokenStatus(document["status"])
    fields["sites"] = tuple(document.get("sites") or ())
    fields["evse_kinds"] = tuple(document.get("evse_kinds") or ())
    fields["whitelist"] = Whitelist(fields["whitelist"] or Whitelist.ALLOWED)
    return Token(ref=document["_id"], **fields)


def credentials_document(credentials: Credentials) -> Document:
    """A station's credentials without its id."""
    names = ("algorithm", "salt", "digest", "n", "r", "p")
    return {
        "minimum_profile": credentials.minimum_profile,
        "verifiers": [
            {name: getattr(verifier, name) for name in names} for verifier in credentials.verifiers
        ],
        "hex_password": credentials.hex_password,
        "serial_number": credentials.serial_number,
        "revision": credentials.revision,
        "updated_at": credentials.updated_at,
        "change_id": credentials.change_id,
    }


def credentials_of(document: Document) -> Credentials:
    """Stored credentials."""
    return Credentials(
        station_id=document["_id"],
        minimum_profile=document["minimum_profile"],
        verifiers=tuple(named(PasswordVerifier(**one)) for one in document["verifiers"]),
        hex_password=document["hex_password"],
        serial_number=document["serial_number"],
        revision=document["revision"],
        updated_at=document["updated_at"],
        change_id=document.get("change_id"),
    )


def _fields(value: Any, *names: str) -> Document | None:
    if value is None:
        return None
    return {name: _plain(getattr(value, name)) for name in names}


def _plain(value: Any) -> Any:
    return value.value if isinstance(value, AuthorizationStatus) else value

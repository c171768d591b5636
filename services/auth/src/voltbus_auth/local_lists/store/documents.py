"""Stations' local lists and plans as MongoDB documents, and back.

What a station holds is packed: 32 bytes of a token's reference and 8 of its line's digest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from bson.binary import Binary

from voltbus_auth.local_lists.domain.entries import DIGEST_BYTES
from voltbus_auth.local_lists.domain.facts import Station
from voltbus_auth.local_lists.domain.plans import Blocked, Plan
from voltbus_auth.local_lists.domain.station import Flight, Kind, ListState, Status
from voltbus_auth.local_lists.domain.wire import Limits
from voltbus_auth.tokens.domain.token import Whitelist
from voltbus_backbone.contract.stations import StationState
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from voltbus_backbone.mongo.store import Document

_REF_BYTES = 32
_LINE_BYTES = _REF_BYTES + DIGEST_BYTES
_PLAIN = (
    "detail",
    "since",
    "version",
    "highest",
    "known",
    "checked",
    "reported_entries",
    "report_asked",
    "failures",
    "smaller",
    "not_before",
    "serial",
    "wanted",
)
_encode = msgspec.json.encode
_decode_state = msgspec.json.Decoder(StationState).decode


def plan_document(plan: Plan) -> Document:
    """A plan without its key."""
    return {
        "revision": plan.revision,
        "tokens": list(plan.tokens),
        "token_groups": list(plan.token_groups),
        "covered": plan.covered,
        "whitelist": [word.value for word in plan.whitelist],
        "blocked": plan.blocked.value,
    }


def plan_of(document: Document) -> Plan:
    """A stored plan."""
    return Plan(
        key=document["_id"],
        revision=document["revision"],
        tokens=tuple(document["tokens"]),
        token_groups=tuple(document["token_groups"]),
        covered=document["covered"],
        whitelist=tuple(Whitelist(word) for word in document["whitelist"]),
        blocked=Blocked(document["blocked"]),
    )


def station_change(before: Station, after: Station, writer: str) -> list[Document]:
    """The update that makes a stored station this one; what it holds only where that changed.

    Where the station was marked since it was read, the mark's time stays. ``writer`` is by what
    the author of a change knows it again.
    """
    document: Document = {
        "plans": list(after.plan_keys),
        "told": Binary(_encode(after.told)) if after.told is not None else None,
        "connection_id": after.connection_id,
        "connected": after.connected,
        "absent_since": after.absent_since,
        "firmware": after.firmware,
        "list": list_document(after.list),
        "writer": writer,
    }
    if after.list.held is not before.list.held:
        document["held"] = packed(after.list.held)
    fields: Document = {name: {"$literal": value} for name, value in document.items()}
    fields["revision"] = {"$literal": before.revision + 1}
    fields["marks"] = {"$ifNull": ["$marks", 0]}
    due: Document = {"$literal": after.due}
    # $min passes over what is null.
    marked: Document = {"$min": ["$due", due]}
    fields["due"] = {"$cond": [{"$eq": [{"$ifNull": ["$marks", 0]}, before.marks]}, due, marked]}
    return [{"$set": fields}]


def station_of(document: Document) -> Station:
    """A stored station. Without its contents where these were not read."""
    told = document.get("told")
    return Station(
        id=document["_id"],
        list=list_of(document.get("list") or {}, document.get("held")),
        told=_decode_state(told) if told is not None else None,
        connection_id=document.get("connection_id"),
        connected=document.get("connected", False),
        absent_since=document.get("absent_since"),
        firmware=document.get("firmware"),
        due=document.get("due"),
        marks=document.get("marks", 0),
        revision=document.get("revision", 0),
    )


def list_document(state: ListState) -> Document:
    """A list's state without what the station holds."""
    document: Document = {name: getattr(state, name) for name in _PLAIN}
    limits = state.limits
    return document | {
        "status": state.status.value,
        "protocol": state.protocol.value if state.protocol is not None else None,
        "limits": [limits.entries, limits.items, limits.bytes] if limits is not None else None,
        "left_out": dict(state.left_out),
        "flight": _flight_document(state.flight),
        "lost": _flight_document(state.lost),
    }


def list_of(document: Document, held: bytes | None) -> ListState:
    """A stored list."""
    if not document:
        return ListState()
    fields: dict[str, Any] = {name: document[name] for name in _PLAIN if name in document}
    limits, protocol = document.get("limits"), document.get("protocol")
    return ListState(
        status=Status(document["status"]),
        protocol=Protocol(protocol) if protocol is not None else None,
        limits=Limits(*limits) if limits is not None else None,
        left_out=document.get("left_out", {}),
        flight=_flight_of(document.get("flight")),
        lost=_flight_of(document.get("lost")),
        held=unpacked(held or b""),
        **fields,
    )


def _flight_document(flight: Flight | None) -> Document | None:
    if flight is None:
        return None
    return {
        "kind": flight.kind.value,
        "cause": flight.cause,
        "give_up_at": flight.give_up_at,
        "version": flight.version,
        "published": flight.published,
        "contested": flight.contested,
        "changes": [[ref, info] for ref, info in flight.changes],
        "digests": [Binary(digest) for digest in flight.digests],
    }


def _flight_of(document: Document | None) -> Flight | None:
    if document is None:
        return None
    return Flight(
        kind=Kind(document["kind"]),
        cause=document["cause"],
        give_up_at=document["give_up_at"],
        version=document["version"],
        published=document["published"],
        contested=document.get("contested", False),
        changes=tuple((ref, info) for ref, info in document["changes"]),
        digests=tuple(bytes(digest) for digest in document["digests"]),
    )


def packed(held: Mapping[str, bytes]) -> Binary:
    """References with their digests, one after the other."""
    return Binary(b"".join(bytes.fromhex(ref) + digest for ref, digest in held.items()))


def unpacked(content: bytes) -> dict[str, bytes]:
    """The same, readable."""
    lines = range(0, len(content), _LINE_BYTES)
    return {
        content[at : at + _REF_BYTES].hex(): content[at + _REF_BYTES : at + _LINE_BYTES]
        for at in lines
    }

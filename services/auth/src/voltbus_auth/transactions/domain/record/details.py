"""What only OCPP 2.x says of a transaction, joined over its messages under OCPP's own names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from voltbus_auth.transactions.domain.record.model import Detail

if TYPE_CHECKING:
    from voltbus_backbone.contract.auth import TransactionMessage

# One detail's JSON, and its name: longer ones are left out, with a note.
_LONGEST_VALUE = 32 * 1024
_LONGEST_NAME = 50
# Vendors put there what they like, also identifiers; details are public.
_VENDORS = "customData"
TOO_LONG = "details: left out what is too long"


def merge_details(
    known: tuple[Detail, ...], message: TransactionMessage
) -> tuple[tuple[Detail, ...], bool]:
    """Join a message's details with those known; and whether one was too long to be kept.

    The latest counts: by sequence number, then time, then text, so that any order gives the same.
    """
    if not message.details:
        return known, False
    latest = {detail.name: detail for detail in known}
    too_long = False
    for name, value in message.details.items():
        text = msgspec.json.encode(_public(value), order="sorted").decode()
        if len(text) > _LONGEST_VALUE or len(name) > _LONGEST_NAME:
            too_long = True
            continue
        seq_no = -1 if message.seq_no is None else message.seq_no
        found = Detail(name, seq_no, message.at, text)
        latest[name] = max(latest.get(name, found), found, key=_order)
    return tuple(latest[name] for name in sorted(latest)), too_long


def read_details(details: tuple[Detail, ...]) -> dict[str, Any]:
    """Show details as JSON values by name."""
    return {detail.name: msgspec.json.decode(detail.value) for detail in details}


def _order(detail: Detail) -> tuple[int, Any, str]:
    return detail.seq_no, detail.at, detail.value


def _public(value: Any) -> Any:
    """The value without what vendors added."""
    if isinstance(value, dict):
        return {name: _public(inner) for name, inner in value.items() if name != _VENDORS}
    if isinstance(value, list | tuple):
        return [_public(inner) for inner in value]
    return value

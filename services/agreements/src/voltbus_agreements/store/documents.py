"""Agreements and sessions as MongoDB documents, and back."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from voltbus_agreements.domain.agreement import Agreement, Change
from voltbus_agreements.domain.usage import CountedTransaction

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

Document = dict[str, Any]


def to_agreement(document: Mapping[str, Any]) -> Agreement:
    """Convert a document to an agreement."""
    return _from(document, Agreement, "id")


def from_agreement(agreement: Agreement) -> Document:
    """Convert an agreement to a document, its terms as the contract writes them."""
    return _to(agreement, "id")


def to_transaction(document: Mapping[str, Any]) -> CountedTransaction:
    """Convert a document to a counted transaction."""
    return _from(document, CountedTransaction, "transaction_ref")


def from_transaction(session: CountedTransaction) -> Document:
    """Convert a counted transaction to a document."""
    return _to(session, "transaction_ref")


def from_change(change: Change) -> Document:
    """Convert a change to a line of history."""
    agreement = change.agreement
    return {
        "_id": f"{agreement.id}:{agreement.revision}",
        "agreement_id": agreement.id,
        "revision": agreement.revision,
        "event": change.event.value,
        "cause": change.cause,
        "agreement": from_agreement(agreement),
    }


def to_change(document: Mapping[str, Any]) -> Change:
    """Convert a line of history to its change."""
    return msgspec.convert(
        {
            "agreement": to_agreement(document["agreement"]),
            "event": document["event"],
            "cause": document["cause"],
        },
        Change,
    )


def _to(value: Any, identity: str) -> Document:
    document: Document = msgspec.to_builtins(value, builtin_types=(datetime,))
    document["_id"] = document.pop(identity)
    return document


def _from(document: Mapping[str, Any], kind: type[T], identity: str) -> T:
    fields = dict(document)
    fields[identity] = fields.pop("_id")
    return msgspec.convert(fields, kind)

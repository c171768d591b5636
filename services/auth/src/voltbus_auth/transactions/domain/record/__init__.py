"""The record of one transaction, and how messages are folded into it."""

from voltbus_auth.transactions.domain.record.details import read_details
from voltbus_auth.transactions.domain.record.folding import MOST_RANGES, fold
from voltbus_auth.transactions.domain.record.model import (
    ERASED,
    OPERATOR,
    POLICY,
    Closed,
    Detail,
    Live,
    Presented,
    Record,
    Start,
    Stop,
    Told,
    is_closed_to,
    is_ending,
    open_record,
    start_ref,
    wire_key,
)

__all__ = [
    "ERASED",
    "MOST_RANGES",
    "OPERATOR",
    "POLICY",
    "Closed",
    "Detail",
    "Live",
    "Presented",
    "Record",
    "Start",
    "Stop",
    "Told",
    "fold",
    "is_closed_to",
    "is_ending",
    "open_record",
    "read_details",
    "start_ref",
    "wire_key",
]

"""What stations send, brought to what can be stored: milliseconds and 64-bit integers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from voltbus_backbone.contract.auth import TransactionMessage

# No meter, counter or id is larger; a number that is says nothing, and must not stop the rest.
_LARGEST = 2**53
_NUMBERS = (
    "evse_id",
    "connector_id",
    "meter_wh",
    "seq_no",
    "reservation_id",
    "remote_start_id",
)


def clean(message: TransactionMessage) -> TransactionMessage:
    """The message as it is kept.

    Times lose what is finer than a millisecond (some stations send nanoseconds), so that a resent
    message equals the stored one.
    """
    changes: dict[str, object] = {
        name: None
        for name in _NUMBERS
        if (value := getattr(message, name)) is not None and abs(value) > _LARGEST
    }
    if message.at.microsecond % 1000:
        changes["at"] = to_milliseconds(message.at)
    return msgspec.structs.replace(message, **changes) if changes else message

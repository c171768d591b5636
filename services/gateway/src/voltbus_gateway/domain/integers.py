"""Integers as stations write them.

JSON Schema calls 3.0 an integer (draft 6, so 2.x), and the schemas set no limits; our stores hold
64 bits. OCPP means 32, but meters outgrow that, so only what can't be kept is refused.
"""

from __future__ import annotations

from typing import Any

from voltbus_gateway.domain.errors import CallFailed, ErrorCode

_LARGEST = 2**63 - 1


def integer(value: float) -> int:
    """The number as an int.

    Raises:
        CallFailed: PropertyConstraintViolation when it doesn't fit 64 bits.
    """
    if -_LARGEST <= value <= _LARGEST:
        return int(value)
    raise CallFailed(
        ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, "An integer is out of the range of 64 bits"
    )


def optional_integer(value: Any) -> int | None:
    """The number as an int, or None when it was left out."""
    return None if value is None else integer(value)

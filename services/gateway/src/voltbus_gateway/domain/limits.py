"""What those behind the gateway can hold, where JSON and its schemas set no limit.

JSON Schema calls 3.0 an integer (draft 6, so 2.x), lets integers grow without end, and says nothing
of what is nested in customData. Our stores hold 64 bits and readers follow so many levels. OCPP
means 32 bits, but meters outgrow that: only what can't be kept is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_gateway.domain.errors import CallFailed, ErrorCode

if TYPE_CHECKING:
    from voltbus_gateway.domain.frames import Payload

_LARGEST = 2**63 - 1
# The deepest message of OCPP has about ten levels.
_DEEPEST = 64


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


def storable(payload: Payload) -> Payload:
    """The payload itself, when it can be kept and read as it is.

    Raises:
        CallFailed: an integer is too large, or something is nested too deep.
    """
    _look(payload, 0)
    return payload


def _look(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise CallFailed(ErrorCode.FORMAT_VIOLATION, "payload: nested too deep")
    if type(value) is dict:
        for inner in value.values():
            _look(inner, depth + 1)
    elif type(value) is list:
        for inner in value:
            _look(inner, depth + 1)
    elif type(value) is int:
        integer(value)

"""What those behind the gateway can hold, as OCPP's errors.

JSON Schema calls 3.0 an integer (draft 6, so 2.x) and sets integers no limit. OCPP means 32 bits,
but meters outgrow that: only what can't be kept is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_backbone.values import storable as keeping
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode

if TYPE_CHECKING:
    from voltbus_gateway.domain.wire.frames import Payload


def to_integer(value: float) -> int:
    """Convert a number to an int.

    Raises:
        CallFailed: PropertyConstraintViolation when it doesn't fit 64 bits.
    """
    if -keeping.LARGEST <= value <= keeping.LARGEST:
        return int(value)
    raise _too_large()


def to_optional_integer(value: Any) -> int | None:
    """The number as an int, or None when it was left out."""
    return None if value is None else to_integer(value)


def check_storable(payload: Payload) -> Payload:
    """Check that the payload can be stored and read as it is; return it.

    Raises:
        CallFailed: an integer is too large, something is nested too deep, or a name holds a NUL.
    """
    try:
        keeping.check(payload)
    except keeping.TooLargeError:
        raise _too_large() from None
    except keeping.NotStorableError as error:
        raise CallFailed(ErrorCode.FORMAT_VIOLATION, f"payload: {error}") from None
    return payload


def _too_large() -> CallFailed:
    return CallFailed(
        ErrorCode.PROPERTY_CONSTRAINT_VIOLATION, "An integer is out of the range of 64 bits"
    )

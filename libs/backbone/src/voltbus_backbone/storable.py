"""What can be kept of somebody else's JSON, where its schema sets no limit.

JSON Schema lets integers grow without end and says nothing of what is nested in customData. BSON
holds 64 bits and no NUL in a name, and readers follow so many levels.
"""

from __future__ import annotations

from typing import Any

LARGEST = 2**63 - 1
# The deepest message of OCPP has about ten levels.
_DEEPEST = 64


class NotStorableError(ValueError):
    """The value cannot be kept as it is. Says why, never what."""


class TooLargeError(NotStorableError):
    """A number is out of the range of 64 bits."""

    def __init__(self) -> None:
        super().__init__("an integer is out of the range of 64 bits")


def check(value: Any) -> None:
    """Let pass what can be kept and read as it is.

    Raises:
        TooLargeError: an integer needs more than 64 bits.
        NotStorableError: something is nested too deep, or a name holds a NUL.
    """
    _look(value, 0)


def _look(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise NotStorableError("nested too deep")
    if type(value) is dict:
        for name, inner in value.items():
            if "\0" in name:
                raise NotStorableError("a name holds the character NUL")
            _look(inner, depth + 1)
    elif type(value) is list:
        for inner in value:
            _look(inner, depth + 1)
    elif type(value) is int and not -LARGEST <= value <= LARGEST:
        raise TooLargeError

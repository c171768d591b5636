"""What can be kept of somebody else's JSON, where its schema sets no limit.

JSON Schema lets integers grow without end and says nothing of what is nested in customData. BSON
holds 64 bits and no NUL in a name, and readers follow so many levels.
"""

from __future__ import annotations

import math
from typing import Any

LARGEST = 2**63 - 1
# The deepest message of OCPP has about ten levels.
_DEEPEST = 64


class NotStorableError(ValueError):
    """The value cannot be kept as it is. Says why, never what."""


class TooDeepError(NotStorableError):
    """Something is nested too deep for readers to follow."""

    def __init__(self) -> None:
        super().__init__("nested too deep")


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


def check_text(value: Any) -> None:
    r"""Let pass what is text in UTF-8 and finite in its numbers, down to the last member.

    For JSON that a lenient parser read: Python's takes lone surrogates (``"\ud800"``) and makes
    infinity of ``1e999``. ``check`` comes first, so that the depth is bounded.

    Raises:
        NotStorableError: a text or a name holds a lone surrogate, a number is not finite.
    """
    if type(value) is str:
        if not value.isascii():
            _encode(value)
    elif type(value) is dict:
        for name, inner in value.items():
            check_text(name)
            check_text(inner)
    elif type(value) is list:
        for inner in value:
            check_text(inner)
    elif type(value) is float and not math.isfinite(value):
        raise NotStorableError("a number is not finite")


def place_of(value: Any) -> list[str | int]:
    """Find the member that cannot be kept, as the way to it from the outside in."""
    way: list[str | int] = []
    while (step := _failing(value)) is not None:
        way.append(step)
        value = value[step]
    return way


def _failing(value: Any) -> str | int | None:
    """Name the first member that fails by itself; None when the value itself does."""
    if type(value) not in {dict, list}:
        return None
    for name, inner in value.items() if type(value) is dict else enumerate(value):
        try:
            check(inner)
            check_text(inner)
        except NotStorableError:
            return name
    return None


def check_name(value: str) -> None:
    """Let pass a part of an address: a path's or a query's value, which may be looked up by it.

    Raises:
        NotStorableError: it holds a NUL or a lone surrogate.
    """
    if "\0" in value:
        raise NotStorableError("holds the character NUL")
    check_text(value)


def _encode(text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise NotStorableError("a text is not Unicode: it holds half a character") from None


def _look(value: Any, depth: int) -> None:
    if depth > _DEEPEST:
        raise TooDeepError
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

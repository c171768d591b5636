"""Single values read as the type that a schema wants: numbers as texts, texts as numbers, words."""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, Final

from voltbus_backbone.values.storable import LARGEST

# No real number is written longer; what is need not be parsed.
_LONGEST_NUMBER: Final = 64
_DECIMAL = re.compile(r"[+-]?\d+(\.\d*)?([eE][+-]?\d{1,3})?")
_BOOLEANS: Final = {"true": True, "false": False, "1": True, "0": False}

# Four digits make it likelier that somebody's card number stands where a name belongs.
_NAME = re.compile(r"(?!(?:.*[0-9]){4})[A-Za-z][A-Za-z0-9_.-]{0,49}")


def to_number(value: Any) -> float | None:
    """A finite number, or the one that a text says; an int where it is whole as written."""
    if isinstance(value, str):
        value = _parse_number(value.strip())
    if type(value) is int:
        return value if abs(value) <= LARGEST else None
    if type(value) is float:
        return value if isfinite(value) else None
    return None


def _parse_number(text: str) -> float | None:
    if len(text) > _LONGEST_NUMBER or not text.isascii() or _DECIMAL.fullmatch(text) is None:
        return None
    return float(text) if any(sign in text for sign in ".eE") else int(text)


def to_integer(value: Any, *, rounded: bool) -> int | None:
    """A whole number of 64 bits; a fraction only where it may be rounded away."""
    number = to_number(value)
    if number is None or abs(number) > LARGEST:
        return None
    if number != int(number) and not rounded:
        return None
    return round(number)


def to_boolean(value: Any) -> bool | None:
    """True or false, also as a text or as 1 and 0."""
    if isinstance(value, bool):
        return value
    text = str(value) if isinstance(value, str | int) else ""
    return _BOOLEANS.get(text.strip().casefold())


def to_text(value: Any) -> str | None:
    """A text, or the digits of a number."""
    if isinstance(value, str):
        return value
    return str(value) if type(value) in {int, float} else None


def is_name(text: str) -> bool:
    """Whether it looks like the name of something: only such a word is repeated to others."""
    return _NAME.fullmatch(text) is not None

"""Ids of agreements: they sort by the time of their making, and cannot be guessed."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

ENTROPY_BYTES = 10

_PREFIX = "agr_"
# Crockford's base 32, lower case: no i, l, o, u.
_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_CHARACTERS = 26  # 48 bits of milliseconds and 80 random bits
_FORM = re.compile(rf"{_PREFIX}[{_ALPHABET}]{{{_CHARACTERS}}}")


def new_id(now: datetime, entropy: bytes) -> str:
    """``agr_`` and 26 characters from the time and ENTROPY_BYTES random bytes."""
    number = int(now.timestamp() * 1000) << 80 | int.from_bytes(entropy, "big")
    characters = [_ALPHABET[number >> shift & 31] for shift in range(125, -1, -5)]
    return _PREFIX + "".join(characters)


def is_id(text: str) -> bool:
    """Return whether this can be the id of an agreement at all."""
    return _FORM.fullmatch(text) is not None

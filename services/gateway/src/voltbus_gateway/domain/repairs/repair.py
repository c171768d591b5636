"""What was mended in a message: where and how, never the value, which may be an id token."""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Kind(StrEnum):
    """How a field was mended: the label of its metric."""

    DROPPED = "dropped"  # left out, as if it had not been sent
    CONVERTED = "converted"  # read as the type or the spelling that the schema wants
    REPLACED = "replaced"  # another word stands for what could not be understood
    CUT = "cut"  # a text was shortened
    KEPT = "kept"  # against the schema, but understood
    MISSING = "missing"  # the schema wants it, and it was not there


class Repair(msgspec.Struct, frozen=True):
    """``place`` is a path of OCPP's own names, without positions in lists."""

    place: str
    kind: Kind
    what: str

    def __str__(self) -> str:
        """Give it as the short sentence that events and operators see."""
        return f"{self.place}: {self.what}"


def to_sentences(repairs: tuple[Repair, ...]) -> tuple[str, ...]:
    """Return the repairs as short sentences, without duplicates."""
    return tuple(dict.fromkeys(map(str, repairs)))

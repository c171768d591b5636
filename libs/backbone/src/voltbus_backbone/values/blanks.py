"""Blanks around what a reader or a person wrote: one rule for identifiers, wherever they come in.

Readers pad short identifiers with blanks, C strings end with NUL, and typing leaves a space behind.
None of it is part of an identifier: at registration and at use the same is trimmed.
"""

from __future__ import annotations

import sys

_BYTE_ORDER_MARK = "\ufeff"
# What Unicode calls white space, and what is as invisible.
_BLANKS = "".join(
    (*(char for char in map(chr, range(sys.maxunicode + 1)) if char.isspace()), "\0")
) + (_BYTE_ORDER_MARK)


def trimmed(text: str) -> str:
    """Return the text without the blanks, NULs and byte order marks around it."""
    return text.strip(_BLANKS)

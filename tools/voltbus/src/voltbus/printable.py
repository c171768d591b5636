"""What stations and other systems wrote, made fit for a terminal: as text, never as control.

A vendor's name may hold escape sequences that retitle the window, hide lines or type commands
(CWE-150), and marks that turn the direction of what follows.
"""

from __future__ import annotations

import re

# C0 without line feed and tab, DEL, C1 (U+009B begins a sequence like ESC [), bidirectional marks.
_CONTROL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]"
)
_PICTURES = 0x2400  # Unicode's pictures of C0, in their order
_DELETE, _LAST_C0 = 0x7F, 0x1F


def printable(text: str) -> str:
    """Return a text with every control character as a sign of its own: ESC as U+241B."""
    return _CONTROL.sub(_picture, text)


def printable_json(text: str) -> str:
    """Return JSON text with the same meaning and every control character escaped (RFC 8259 7)."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found.group()):04x}", text)


def _picture(found: re.Match[str]) -> str:
    code = ord(found.group())
    if code <= _LAST_C0:
        return chr(_PICTURES + code)
    return "\u2421" if code == _DELETE else "\ufffd"

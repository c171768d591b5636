"""What is trimmed around an identifier, and what is not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus_backbone.values.blanks import trimmed


@pytest.mark.parametrize(
    "written", ["04A1", " 04A1", "04A1\0\0", "\ufeff04A1\r\n", "\t04A1 \0 ", "\u00a004A1\u3000"]
)
def test_blanks_nuls_and_byte_order_marks_go(written: str) -> None:
    """Readers pad, C strings end with NUL, and files begin with a byte order mark."""
    assert trimmed(written) == "04A1"


@given(st.text())
def test_only_what_is_around_it_goes(text: str) -> None:
    """Nothing is taken from within, and a second time changes nothing."""
    left = trimmed(text)
    assert left in text
    assert trimmed(left) == left
    assert left == left.strip()

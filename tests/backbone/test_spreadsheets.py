"""Exports are text for a spreadsheet, whatever stands in a cell (CWE-1236)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus_backbone.values.spreadsheets import guard_cell, read_cell


@pytest.mark.parametrize(
    "formula", ["=HYPERLINK(1)", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", " =1", "'=1", "\uff1d1"]
)
def test_a_formula_becomes_text(formula: str) -> None:
    """A spreadsheet runs what begins so; behind an apostrophe it shows it."""
    assert guard_cell(formula) == f"'{formula}"


@pytest.mark.parametrize("text", ["", "04A1B2C3", "Müller; Söhne", "'tis", "a=b", "'"])
def test_other_text_is_left_alone(text: str) -> None:
    """Identifiers and names stay what they are."""
    assert guard_cell(text) == text
    assert read_cell(text) == text


@given(st.text(alphabet="'=+-@ \t\rab"))
def test_what_is_guarded_is_read_again(text: str) -> None:
    """An export can be imported: reading takes off exactly what guarding put there."""
    assert read_cell(guard_cell(text)) == text

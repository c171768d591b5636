"""Nothing that a station wrote controls the terminal of an operator (CWE-150)."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path

import pytest
from rich.table import Table
from rich.text import Text

from voltbus.events.feed import Line
from voltbus.events.table import show_line
from voltbus.printable import printable, printable_json
from voltbus.terminal import Console

SOURCES = Path(__file__).parents[2] / "tools" / "voltbus" / "src"
# Retitle the window; clear the screen by C1's one-character form; turn the direction of the text.
ATTACKS = ["\x1b]0;owned\x07", "\x9b2J", "\u202egnp.exe", "\x1b[31mred", "a\rb", "\x7f"]


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("terminal", [True, False])
def test_an_attack_in_a_vendor_s_name_is_shown_as_text(attack: str, *, terminal: bool) -> None:
    """Events and tables show control characters as signs, on a terminal and in a pipe."""
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, color_system=None, width=100)
    show_line(console, Line("10:00:00.000", "station.booted", "CP-1", f"accepted, {attack}"))
    table = Table()
    table.add_column("vendor")
    table.add_row(Text(attack))
    console.print(table)
    shown = out.getvalue()
    assert not any(
        sign in shown for sign in ("\x07", "\x9b", "\u202e", "\r", "\x7f", "\x1b]", "\x1b[31m")
    )


@pytest.mark.parametrize("attack", ATTACKS)
def test_json_means_the_same_and_holds_no_control(attack: str) -> None:
    """JSON escapes what a terminal would obey; a program reads the same text (RFC 8259 7)."""
    text = printable_json(json.dumps({"vendor": attack}, ensure_ascii=False))
    assert json.loads(text) == {"vendor": attack}
    assert printable(text) == text


def test_ordinary_text_is_left_alone() -> None:
    """Line feeds, tabs, letters of any script and our own signs stay."""
    assert printable("Wallbox Größe 2\tÅäö 充电\n▶ ✓") == "Wallbox Größe 2\tÅäö 充电\n▶ ✓"


def test_there_is_one_console() -> None:
    """A command that made rich's own console would let control characters through."""
    makers = {
        file.name
        for file in SOURCES.rglob("*.py")
        if re.search("from rich.console import Console|from rich import print", file.read_text())
    }
    assert makers == {"terminal.py"}

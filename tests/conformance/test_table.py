"""docs/conformance.md says what is covered: it is compared with the tests themselves."""

from __future__ import annotations

import re
from pathlib import Path

HERE = Path(__file__).parent
PAGE = HERE.parents[1] / "docs" / "conformance.md"
CASE = re.compile(r"tc_([a-z]_\d{2,3}|\d{3}(?:_\d(?!\d))?)")
ROW = re.compile(r"^\| ([A-Z]_\d{2,3}|\d{3}(?:_\d)?) \| ([^|]+) \| ([^|]+) \|$", re.MULTILINE)

# The certification cases that concern the gateway and its services, by block.
WANTED = {
    "A": "01 02 03 04 06 07 08 09 10 11 12 14 19",
    "B": "01 02 06 07 09 10 12 13 18 20 21 22 25 26 27 30 31 42 44 58 100 103 104 105",
    "C": "02 06 07 08 20 37 38 39 40 43 47 48 49 50 51 52 103 104 108 113 117 118 119 120 125 126"
    " 131 132 133",
    "D": "01 02 03 04 08 09",
    "E": "03 04 09 10 16 39 53",
    "F": "01 02 03 04",
    "G": "03 04 05 06 07 08 11 14 17 20",
    "I": "101 102 105 106 109 110 113 114 115 122",
    "K": "01 03 04 05 06 08 19 29 30 31 32 33 34 35 36 37 43 44 60 70",
    "N": "01 02 03 05 08 16 17 18 27 28 29 30 31 32 46 62",
    "": "001 007 019_1 019_2 021 023_1 023_2 023_3 037_1 037_3 039 040_1 040_2 042_1 042_2 043_1"
    " 043_3 043_4 043_5 056 057 059 061 067 073 074 075_1 075_2 076 077 078 079 080 081 083 085 086"
    " 087 088",
}


def wanted() -> list[str]:
    """Every case, as the page writes it."""
    return [
        f"{block}_{number}" if block else number
        for block, numbers in WANTED.items()
        for number in numbers.split()
    ]


def named_in_tests() -> dict[str, set[str]]:
    """The files that name a case in a test's name or id."""
    found: dict[str, set[str]] = {}
    for file in HERE.glob("test_*.py"):
        if file != Path(__file__):
            for case in CASE.findall(file.read_text()):
                found.setdefault(case.upper(), set()).add(file.name)
    return found


def test_every_case_is_in_the_table_once() -> None:
    """No certification case is left out of the page, and none is made up."""
    assert [case for case, _, _ in ROW.findall(PAGE.read_text())] == wanted()


def test_the_table_says_where_each_case_is() -> None:
    """A case is where the page says, or in no test, and then the page says why."""
    found = named_in_tests()
    assert found.keys() <= set(wanted())
    for case, _, where in ROW.findall(PAGE.read_text()):
        if case in found:
            assert set(re.findall(r"`(test_\w+\.py)`", where)) == found[case], case
        else:
            assert re.fullmatch(r"not covered yet: .{10,}", where), case

"""Contract ids: the check digit and the normal form (ocpp-rules D)."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from voltbus_backbone.values.emaid import check_digit, is_hyphenated, normalise, same

ALPHABET = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
bodies = st.from_regex(r"[A-Z]{2}[A-Z0-9]{12}", fullmatch=True)


@pytest.mark.parametrize(
    ("body", "digit"),
    [
        ("NN123ABCDEFGHI", "T"),
        ("FRXYZ123456789", "2"),
        ("ITA1B2C3E4F5G6", "4"),
        ("ESZU8WOX834H1D", "R"),
        ("PT73902837ABCZ", "Z"),
        ("DE83DUIEN83QGZ", "D"),
    ],
)
def test_the_published_check_digits(body: str, digit: str) -> None:
    """The examples of rules D, each a 14-character body and its digit."""
    assert check_digit(body) == digit


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("NL-TNM-C00122045-K", "NLTNMC00122045K"),
        ("NL-TNM-000122045-U", "NLTNM000122045U"),
        ("nl-tnm-c00122045-k", "NLTNMC00122045K"),
        ("NL*TNM*000122045*U", "NLTNM000122045U"),
        ("nltnm000122045u", "NLTNM000122045U"),
        ("NL-TNM-C00122045", "NLTNMC00122045K"),
    ],
)
def test_hyphens_and_case_are_folded(written: str, kept: str) -> None:
    """eMI3 and ISO spellings have one normal form, with the check digit (rules D)."""
    assert normalise(written) == kept


@pytest.mark.parametrize(
    "wrong",
    ["NL-TNM-C00122045-X", "", "NL-TNM", "1L-TNM-C00122045-K", "NL-TNM-C00122045-KK", "é" * 15],
)
def test_what_is_no_emaid_is_refused(wrong: str) -> None:
    """A wrong check digit, length or character is an error that does not quote the value."""
    with pytest.raises(ValueError, match=r"^(is no EMAID|has a wrong check digit)") as caught:
        normalise(wrong)
    assert not wrong or wrong not in str(caught.value)


@given(bodies, st.integers(2, 13), st.sampled_from(ALPHABET))
def test_any_one_wrong_character_is_found(body: str, place: int, other: str) -> None:
    """Replacing one character changes the check digit."""
    assume(body[place] != other)
    wrong = body[:place] + other + body[place + 1 :]
    assert check_digit(wrong) != check_digit(body)


@given(bodies, st.integers(2, 12))
def test_swapped_neighbours_are_found(body: str, place: int) -> None:
    """Swapping two different neighbours changes the check digit."""
    first, second = body[place], body[place + 1]
    assume(first != second)
    wrong = body[:place] + second + first + body[place + 2 :]
    assert check_digit(wrong) != check_digit(body)


@given(bodies)
def test_the_normal_form_is_stable(body: str) -> None:
    """Normalising twice is normalising once."""
    once = normalise(body)
    assert normalise(once) == once


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ("NL-TNM-C00122045-K", "nltnmc00122045k", True),
        ("NL-TNM-C00122045-K", "NLTNMC00122045", True),
        ("NL-TNM-C00122045-K", "NL-TNM-C00122046-K", False),
        # No EMAID by their form or digit: spelled alike but for hyphens and case.
        ("DE-8EO-123", "de8eo123", True),
        ("NL-TNM-C00122045-X", "NLTNMC00122045X", True),
        ("NL-TNM-C00122045-X", "NLTNMC00122045K", False),
    ],
)
def test_two_spellings_of_one_contract(left: str, right: str, *, equal: bool) -> None:
    """Hyphens, case and an optional check digit make no difference; anything else does (D)."""
    assert same(left, right) is equal


@pytest.mark.parametrize(
    ("text", "certain"),
    [
        ("NL-TNM-C00122045-K", True),
        ("nl-tnm-c00122045-k", True),
        ("NL-TNMC00122045K", True),
        ("NL-TNM-C00122045", True),  # the check digit may be left out (ISO 15118-2)
        ("NLTNMC00122045-K", True),
        # Nothing tells these from the UID of a card.
        ("NLTNMC00122045K", False),
        ("ABCDEF12345678", False),
        ("AB-CD-EF-12-34-56-78", False),
        # A wrong check digit, hyphens elsewhere, other separators and letters.
        ("NL-TNM-C00122045-X", False),
        ("NL-TNM-C0012-2045-K", False),
        ("NL--TNM-C00122045-K", False),
        ("NL-TNM-C00122045-K-", False),
        ("NL*TNM*C00122045*K", False),
        ("NL-TNM-C00122045-\u212a", False),
        ("NL-TNM-C00122045-K\n", False),
        ("", False),
    ],
)
def test_what_is_an_emaid_by_its_hyphens(text: str, *, certain: bool) -> None:
    """A text of unknown kind is an EMAID when hyphens stand where one has them (ISO 15118-2)."""
    assert is_hyphenated(text) is certain


@given(bodies, st.lists(st.booleans(), min_size=3, max_size=3).filter(any))
def test_any_hyphenation_is_the_same_emaid(body: str, there: list[bool]) -> None:
    """Each hyphen may be there or not: it is an EMAID, and the same one."""
    parts = (body[:2], body[2:5], body[5:], check_digit(body))
    gaps = ["-" if one else "" for one in there] + [""]
    text = "".join(part + gap for part, gap in zip(parts, gaps, strict=True))
    assert is_hyphenated(text)
    assert same(text, body)

"""Which two agreements exclude each other: one per token, period and scope (rules D)."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agreements.agreement_examples import DAY, NOW, draft
from voltbus_agreements.domain.overlap import find_rival, periods_overlap, scopes_overlap
from voltbus_backbone.contract.agreements import AgreementToken, Scope

names = st.lists(st.sampled_from(["a", "b", "c"]), max_size=2).map(tuple)
scopes = st.builds(
    Scope,
    stations=names,
    locations=names,
    groups=names,
    evse_kinds=names,
    evses=st.lists(st.sampled_from(["a/1", "a/2", "b/1"]), max_size=2).map(tuple),
)


@pytest.mark.parametrize(
    ("first", "other", "overlapping"),
    [
        (Scope(), Scope(), True),
        (Scope(), Scope(stations=("S1",)), True),
        (Scope(stations=("S1",)), Scope(stations=("S2",)), False),
        (Scope(stations=("S1", "S2")), Scope(stations=("S2",)), True),
        (Scope(stations=("S1",)), Scope(evses=("S1/2",)), True),
        (Scope(stations=("S1",)), Scope(evses=("S2/2",)), False),
        (Scope(evses=("S1/1",)), Scope(evses=("S1/2",)), False),
        (Scope(evses=("S1/1",)), Scope(evses=("S1/1",)), True),
        (Scope(evses=("S1/1",), stations=("S2",)), Scope(evses=("S1/2",)), False),
        (Scope(locations=("L1",)), Scope(locations=("L2",)), False),
        (Scope(groups=("G1",)), Scope(groups=("G1",)), True),
        (Scope(locations=("L1",)), Scope(stations=("S1",)), True),
        (Scope(evse_kinds=("AC",)), Scope(evse_kinds=("DC",)), False),
        (Scope(evse_kinds=("AC",)), Scope(), True),
        (Scope(stations=("S1",), evse_kinds=("AC",)), Scope(stations=("S1",)), True),
    ],
)
def test_scopes(first: Scope, other: Scope, overlapping: bool) -> None:  # noqa: FBT001 - a table
    """Scopes exclude each other unless they provably share no EVSE; empty means everywhere."""
    assert scopes_overlap(first, other) is overlapping


@given(scopes, scopes)
def test_overlap_has_no_direction(first: Scope, other: Scope) -> None:
    """Who came first does not matter, and a scope overlaps itself."""
    assert scopes_overlap(first, other) == scopes_overlap(other, first)
    assert scopes_overlap(first, first)


def test_the_end_of_one_may_be_the_beginning_of_the_next() -> None:
    """Periods are half-open: touching is not overlapping."""
    first = draft(valid_from=NOW, valid_to=NOW + DAY).terms
    for begin, overlapping in ((NOW + DAY, False), (NOW + DAY / 2, True)):
        second = draft(valid_from=begin).terms
        assert periods_overlap(first, second) is overlapping
        assert periods_overlap(second, first) is overlapping


def test_a_rival_has_a_token_in_common() -> None:
    """Another agreement of another token, or the agreement itself, is no rival."""
    mine = draft()
    same = replace(draft(), id="agr_2")
    apart = replace(draft(tokens=(AgreementToken(ref="token-2"),)), id="agr_3")
    assert find_rival(mine, [mine, apart]) is None
    assert find_rival(mine, [mine, apart, same]) is same

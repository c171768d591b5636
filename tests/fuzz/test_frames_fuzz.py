"""Whatever a station sends, the session goes on: no exception, and only what is legal goes out."""

from __future__ import annotations

import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fuzz.frames_made import GARBAGE, make, messages
from fuzz.judging import Judge
from voltbus_backbone.contract.values import Protocol

ROUNDS = 400
every_protocol = pytest.mark.parametrize("protocol", list(Protocol))


@every_protocol
@settings(
    max_examples=60,
    deadline=None,
    print_blob=False,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_any_messages_in_any_order(protocol: Protocol, data: st.DataObject) -> None:
    """A13-A17: up to five messages of any kind, and the session works as before."""
    judge = Judge(protocol)
    for message in data.draw(st.lists(messages(protocol), min_size=1, max_size=5)):
        judge.give(message)
    judge.still_works()


@every_protocol
def test_many_mutilated_messages_on_one_connection(protocol: Protocol) -> None:
    """The golden messages of every action, mutilated: nothing adds up to a fault."""
    chance = random.Random(20260301)  # noqa: S311 - a fuzzer's dice, the same each time
    judge = Judge(protocol)
    for _ in range(ROUNDS):
        judge.give(make(protocol, chance))
    judge.still_works()


@every_protocol
@pytest.mark.parametrize("text", GARBAGE, ids=range(len(GARBAGE)))
def test_what_is_no_message(protocol: Protocol, text: str) -> None:
    """A15, A16: duplicate keys, NaN, depth, other types: an error at most."""
    judge = Judge(protocol)
    judge.give(text)
    judge.still_works()

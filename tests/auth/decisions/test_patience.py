"""Key codes tried one after another (OCPP 2.0.1 C04.FR.06)."""

from __future__ import annotations

from datetime import timedelta

import msgspec
import pytest

from auth.auth_examples import HOUR, MINUTE, NOW, STATION, said, token
from voltbus_auth.decisions.domain.patience import Patience, Try, is_live
from voltbus_auth.decisions.domain.verdict import Rule, Verdict
from voltbus_backbone.contract.auth import Decision, Phase
from voltbus_backbone.contract.values import AuthorizationStatus

UNKNOWN = Verdict(Decision(status=AuthorizationStatus.UNKNOWN), Rule.UNKNOWN, "")
ACCEPTED = Verdict(Decision(status=AuthorizationStatus.ACCEPTED), Rule.ACCEPTED, "")
CODE = token(ref="right", type="KeyCode")
CARD = token()


def shown(number: int | str, kind: str = "KeyCode") -> Try:
    return Try(STATION, kind, f"ref-{number}")


def tired(kind: str = "KeyCode", number: int = 3) -> Patience:
    """Patience with a station that tried so many wrong values."""
    patience = Patience()
    for one in range(number):
        patience.judge(shown(one, kind), None, UNKNOWN, NOW)
    return patience


def test_each_wrong_one_doubles_the_wait() -> None:
    """C04.FR.06: two are free; from the third on the wait doubles, up to a quarter of an hour."""
    patience = Patience()
    waits = []
    for number in range(20):
        patience.codes.wrong(shown(number), NOW)
        wait = timedelta()
        while patience.codes.waits(STATION, NOW + wait):
            wait += timedelta(seconds=5)
        waits.append(int(wait.total_seconds()))
    assert waits[:6] == [0, 0, 5, 10, 20, 40]
    assert waits[-1] == 900


def test_a_value_counts_once() -> None:
    """A resend, or the start after an Authorize, is no new try: it teaches nobody anything."""
    patience = Patience()
    for _ in range(9):
        patience.codes.wrong(shown("same"), NOW)
    assert not patience.codes.waits(STATION, NOW)


def test_the_right_one_does_not_forgive() -> None:
    """C04.FR.06: one's own code between the tries buys no more tries, and counts as none."""
    patience = tired(number=2)
    for _ in range(5):
        assert patience.judge(shown("right"), CODE, ACCEPTED, NOW) is ACCEPTED
    assert patience.judge(shown(9), None, UNKNOWN, NOW) is UNKNOWN
    assert patience.codes.waits(STATION, NOW)


def test_an_hour_forgives() -> None:
    """Each wrong one is forgotten after an hour, also while others come."""
    patience = Patience()
    for number in range(10):
        patience.codes.wrong(shown(number), NOW + number * 31 * MINUTE)
    assert not patience.codes.waits(STATION, NOW + 9 * 31 * MINUTE)
    burst = tired(number=9)
    assert burst.codes.waits(STATION, NOW)
    burst.codes.wrong(shown("later"), NOW + HOUR + MINUTE)
    assert not burst.codes.waits(STATION, NOW + HOUR + MINUTE)


@pytest.mark.parametrize("kind", ["KeyCode", "keycode", ""])
def test_the_right_one_is_answered_as_a_wrong_one(kind: str) -> None:
    """C04.FR.06: while a station waits, no answer tells that a key code is right (1.6 as well)."""
    patience = tired(kind)
    right = patience.judge(shown("right", kind), CODE, ACCEPTED, NOW)
    wrong = patience.judge(shown("wrong", kind), None, UNKNOWN, NOW)
    assert right.rule is Rule.TOO_MANY_TRIES
    assert right.decision == wrong.decision


@pytest.mark.parametrize("kind", ["ISO14443", ""])
def test_cards_do_not_wait_with_key_codes(kind: str) -> None:
    """Who holds up unknown cards or tries key codes keeps no driver's card from charging."""
    patience = tired("", 9)
    assert patience.judge(shown("card", kind), CARD, ACCEPTED, NOW) is ACCEPTED


def test_cards_of_a_type_are_not_counted() -> None:
    """An unknown card that says that it is one was no try at a key code."""
    assert not tired("ISO14443", 9).codes.waits(STATION, NOW)


def test_another_systems_card_is_taken_back() -> None:
    """An idTag that the external authorizer accepted was no try at a key code."""
    patience = Patience()
    asked_elsewhere = msgspec.structs.replace(UNKNOWN, elsewhere=True)
    for number in range(3):
        assert patience.judge(shown(number, ""), None, asked_elsewhere, NOW) is asked_elsewhere
    assert patience.codes.waits(STATION, NOW)
    assert patience.judge(shown(1, ""), None, ACCEPTED, NOW) is ACCEPTED
    assert not patience.codes.waits(STATION, NOW)


def test_what_is_told_afterwards_is_not_live() -> None:
    """A message of an offline station, or from the past, answers nobody who stands there now."""
    message = said(Phase.STARTED, NOW, 0)
    assert is_live(message, NOW + MINUTE)
    assert is_live(message, NOW - HOUR)
    assert not is_live(message, NOW + HOUR)
    assert not is_live(said(Phase.STARTED, NOW, 0, offline=True), NOW)


def held_up(patience: Patience, kind: str, first: int, seconds: int) -> int:
    """Guess cards, 94 each second; how many guesses learned something."""
    learned = 0
    for second in range(seconds):
        for number in range(94):
            at = NOW + timedelta(seconds=second)
            guess = shown(first + second * 94 + number, kind)
            before = not patience.cards.waits(STATION, at)
            patience.judge(guess, None, UNKNOWN, at)
            learned += before
    return learned


@pytest.mark.parametrize("kind", ["ISO14443", ""])
def test_who_tries_cards_one_after_another_is_slowed_down(kind: str) -> None:
    """As C04.FR.06 has it for key codes: 94 guesses a second learn some thirty, then one a minute.

    While the station waits, a card that is right is answered as one that is wrong.
    """
    patience = Patience()
    assert held_up(patience, kind, 0, 120) < 40
    at = NOW + timedelta(seconds=119)
    assert patience.cards.waits(STATION, at)
    right = patience.judge(shown("right", kind), CARD, ACCEPTED, at)
    wrong = patience.judge(shown("wrong", kind), None, UNKNOWN, at)
    assert right.rule is Rule.TOO_MANY_TRIES
    assert right.decision == wrong.decision


def test_an_honest_station_with_unknown_cards_waits_for_nothing() -> None:
    """A few strangers an hour, each more than once, and everybody's card goes on charging."""
    patience = Patience()
    for minute in range(300):
        at = NOW + minute * MINUTE
        patience.judge(shown(minute // 3, "ISO14443"), None, UNKNOWN, at)
        assert patience.judge(shown("card", "ISO14443"), CARD, ACCEPTED, at) is ACCEPTED


def test_a_driver_waits_a_minute_at_most_for_who_guesses() -> None:
    """The station is free again a minute after the last guess that counted."""
    patience = Patience()
    held_up(patience, "ISO14443", 0, 300)
    at = NOW + timedelta(seconds=361)
    assert patience.judge(shown("card", "ISO14443"), CARD, ACCEPTED, at) is ACCEPTED

"""Slowing down who tries key codes, or cards, one after another (OCPP 2.0.1 C04.FR.06)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_auth.decisions.domain.decision import too_many_tries
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_auth.decisions.domain.verdict import Verdict
    from voltbus_auth.tokens.domain.token import Token
    from voltbus_backbone.contract.auth import TransactionMessage

_KEY_CODE = "keycode"
_FORGOTTEN = timedelta(hours=1)
_STATIONS = 100_000
# A station that was online says it within so much time; what is older was over when it was said.
_LIVE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Try:
    """A token that was held up: what by, where, and the reference of what was presented."""

    station_id: str
    type: str
    ref: str


class Throttle:
    """The wrong values of the last hour, per station; beyond the free ones each doubles the wait.

    A value counts once: the same one again teaches nobody anything, be it a station's resend or
    the transaction that follows an Authorize. A right one neither counts nor forgives, or one's own
    code would buy more tries at everybody else's. ``free`` values cost nothing; the next one costs
    ``first``, and none more than ``longest``.
    """

    def __init__(self, *, free: int, first: timedelta, longest: timedelta) -> None:
        self._free = free
        self._first = first
        self._longest = longest
        self._remembered = free + int(longest / first).bit_length() + 2
        self._wrong: dict[str, dict[str, datetime]] = {}

    def waits(self, station_id: str, now: datetime) -> bool:
        """Whether this station must wait."""
        wrong = self._wrong.get(station_id)
        if wrong is None or len(wrong) < self._free:
            return False
        recent = [at for at in wrong.values() if now - at <= _FORGOTTEN]
        over = len(recent) - self._free
        return over >= 0 and now < max(recent) + min(self._first * 2**over, self._longest)

    def wrong(self, shown: Try, now: datetime) -> None:
        """Count a value that nobody registered."""
        known = self._wrong.get(shown.station_id, {})
        recent = {ref: at for ref, at in known.items() if now - at <= _FORGOTTEN}
        recent.setdefault(shown.ref, now)
        if len(recent) > self._remembered:
            del recent[next(iter(recent))]
        if not known and len(self._wrong) >= _STATIONS:
            self._wrong.clear()
        self._wrong[shown.station_id] = recent

    def cleared(self, shown: Try) -> None:
        """Take back that a value was wrong: it turned out to be another system's card."""
        self._wrong.get(shown.station_id, {}).pop(shown.ref, None)


class Patience:
    """How long a station must wait that holds up wrong values, key codes and cards apart.

    Key codes are short and typed by hand: two are free, the wait grows to a quarter of an hour.
    Cards are long, and an honest station sees unknown ones: many are free, and the wait stays
    short, for drivers with a card of ours wait with whoever guesses. Kept by the replica that has
    the station's partition.
    """

    def __init__(self) -> None:
        self.codes = Throttle(free=3, first=timedelta(seconds=5), longest=timedelta(minutes=15))
        self.cards = Throttle(free=30, first=timedelta(seconds=5), longest=timedelta(minutes=1))

    def concerns(self, shown: Try, token: Token | None, now: datetime) -> bool:
        """Whether ``judge`` could count it or make it wait: not so for almost every card."""
        return (
            token is None
            or may_be_key_code(shown.type, token)
            or self.cards.waits(shown.station_id, now)
        )

    def judge(self, shown: Try, token: Token | None, verdict: Verdict, now: datetime) -> Verdict:
        """The verdict, or that the station must wait; what is wrong is counted.

        ``token``: what is registered here under the value, if anything. While a station waits, the
        right value gets the very answer that a wrong one gets.
        """
        typed = bool(shown.type)
        if token is None and verdict.decision.status is AuthorizationStatus.ACCEPTED:
            self.codes.cleared(shown)
            self.cards.cleared(shown)
            return verdict
        if not is_key_code(token.type if token is not None else shown.type):
            if self.cards.waits(shown.station_id, now):
                return too_many_tries(typed=typed) if token is not None or typed else verdict
            if token is None:
                self.cards.wrong(shown, now)
        if not may_be_key_code(shown.type, token):
            return verdict
        if self.codes.waits(shown.station_id, now):
            if token is not None or typed:
                return too_many_tries(typed=typed)
        elif token is None:
            self.codes.wrong(shown, now)
        return verdict


def may_be_key_code(kind: str, token: Token | None) -> bool:
    """Whether a key code was presented, or something without a type (1.6) that nobody knows."""
    if token is not None:
        return token.type.casefold() == _KEY_CODE
    return not kind or is_key_code(kind)


def is_key_code(kind: str) -> bool:
    """Whether this type is a key code's."""
    return kind.casefold() == _KEY_CODE


def is_live(message: TransactionMessage, now: datetime) -> bool:
    """Whether somebody stands before the station and waits for the answer to this message.

    What a station tells after it was offline is past: nobody learns from its answers in time, and
    an honest driver's session must not suffer from who stands there now.
    """
    return not message.offline and now - message.at <= _LIVE

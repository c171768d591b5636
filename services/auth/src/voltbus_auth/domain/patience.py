"""Slowing down who tries key codes one after another (OCPP 2.0.1 C04.FR.06)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_auth.domain.decision import too_many_tries
from voltbus_backbone.contract.values import AuthorizationStatus

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_auth.domain.tokens import Token
    from voltbus_auth.domain.verdict import Verdict
    from voltbus_backbone.contract.auth import TransactionMessage

_KEY_CODE = "keycode"
_FREE = 3  # a driver mistypes
_FIRST = timedelta(seconds=5)
_LONGEST = timedelta(minutes=15)
_FORGOTTEN = timedelta(hours=1)
_REMEMBERED = 16  # more than it takes to the longest wait
_STATIONS = 100_000
# A station that was online says it within so much time; what is older was over when it was said.
_LIVE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Try:
    """A token that was held up: what by, where, and the reference of what was presented."""

    station_id: str
    type: str
    ref: str


class Patience:
    """The wrong values of the last hour, per station; from the third on each doubles the wait.

    A value counts once: the same one again teaches nobody anything, be it a station's resend or
    the transaction that follows an Authorize. A right one neither counts nor forgives, or one's own
    code would buy three tries at everybody else's. Kept by the replica that has the station's
    partition.
    """

    def __init__(self) -> None:
        self._wrong: dict[str, dict[str, datetime]] = {}

    def waits(self, station_id: str, now: datetime) -> bool:
        """Whether this station must wait."""
        wrong = self._wrong.get(station_id)
        if wrong is None:
            return False
        recent = [at for at in wrong.values() if now - at <= _FORGOTTEN]
        over = len(recent) - _FREE
        return over >= 0 and now < max(recent) + min(_FIRST * 2**over, _LONGEST)

    def wrong(self, shown: Try, now: datetime) -> None:
        """Count a value that nobody registered."""
        known = self._wrong.get(shown.station_id, {})
        recent = {ref: at for ref, at in known.items() if now - at <= _FORGOTTEN}
        recent.setdefault(shown.ref, now)
        if len(recent) > _REMEMBERED:
            del recent[next(iter(recent))]
        if not known and len(self._wrong) >= _STATIONS:
            self._wrong.clear()
        self._wrong[shown.station_id] = recent

    def cleared(self, shown: Try) -> None:
        """Take back that a value was wrong: it turned out to be another system's card."""
        self._wrong.get(shown.station_id, {}).pop(shown.ref, None)

    def judge(self, shown: Try, token: Token | None, verdict: Verdict, now: datetime) -> Verdict:
        """The verdict, or that the station must wait; what is wrong is counted.

        ``token``: what is registered here under the value, if anything. While a station waits, the
        right key code gets the very answer that a wrong one gets. Cards never wait.
        """
        if not may_be_key_code(shown.type, token):
            return verdict
        if token is None and verdict.decision.status is AuthorizationStatus.ACCEPTED:
            self.cleared(shown)
        elif self.waits(shown.station_id, now):
            if token is not None or shown.type:
                return too_many_tries(typed=bool(shown.type))
        elif token is None:
            self.wrong(shown, now)
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

"""Key codes tried one after another (OCPP 2.0.1 C04.FR.06)."""

from __future__ import annotations

from datetime import timedelta

from auth.auth_examples import HOUR, MINUTE, NOW, STATION
from voltbus_auth.domain.patience import Patience


def test_each_wrong_one_doubles_the_wait() -> None:
    """Two are free; from the third on the wait doubles, up to a quarter of an hour."""
    patience = Patience()
    waits = []
    for _ in range(15):
        patience.wrong(STATION, NOW)
        wait = timedelta()
        while patience.waits(STATION, NOW + wait):
            wait += timedelta(seconds=5)
        waits.append(int(wait.total_seconds()))
    assert waits[:6] == [0, 0, 5, 10, 20, 40]
    assert waits[-1] == 900


def test_the_right_one_forgives() -> None:
    """After the right key code counting begins anew."""
    patience = Patience()
    for _ in range(4):
        patience.wrong(STATION, NOW)
    patience.right(STATION)
    assert not patience.waits(STATION, NOW)


def test_an_hour_forgives() -> None:
    """Wrong ones an hour apart are different drivers."""
    patience = Patience()
    for number in range(10):
        patience.wrong(STATION, NOW + number * (HOUR + MINUTE))
    assert not patience.waits(STATION, NOW + 9 * (HOUR + MINUTE))

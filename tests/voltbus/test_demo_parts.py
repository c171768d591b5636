"""The demonstration's parts that need no servers."""

from __future__ import annotations

import io
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus.demo.errors import DemoError
from voltbus.demo.hours import always_open, closed_at
from voltbus.demo.operator import Operator, _detail
from voltbus.demo.scenario import cast
from voltbus.demo.summary import events_table, percentile, stations_table
from voltbus.simulator import Transaction
from voltbus.terminal import Console
from voltbus_backbone.contract.values import OpeningHours
from voltbus_backbone.values import hours

YEAR = (datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 12, 31, tzinfo=UTC))


def opening(found: dict[str, object]) -> OpeningHours:
    """Return hours as the contract has them."""
    import msgspec  # noqa: PLC0415 - only here

    return msgspec.convert(found, OpeningHours)


@given(st.datetimes(YEAR[0].replace(tzinfo=None), YEAR[1].replace(tzinfo=None)))
def test_the_closed_hours_are_closed_and_stay_so(moment: datetime) -> None:
    """At any time of the year the demonstration's hours are closed now and in half an hour."""
    now = moment.replace(tzinfo=UTC)
    found = opening(closed_at(now))
    assert not hours.validate(found)
    assert not hours.is_open(found, now)
    assert not hours.is_open(found, now + timedelta(minutes=30))
    assert hours.is_open(opening(always_open()), now)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b'{"detail":"no such station"}', "no such station"),
        (
            b'{"title":"Invalid","errors":[{"field":"id","message":"is missing"}]}',
            "Invalid: id: is missing",
        ),
        (b"<html>", "Not Found"),
        (b"[]", "Not Found"),
    ],
)
def test_what_a_refusal_says(content: bytes, said: str) -> None:
    """A problem document is shown with its fields; anything else by its status."""
    assert _detail(httpx.Response(404, content=content)) == said


async def test_a_service_that_does_not_answer() -> None:
    """A closed port is a DemoError that names the request."""
    async with Operator({"auth": "http://127.0.0.1:1"}, "token") as operator:
        with pytest.raises(DemoError, match="GET /v1/transactions of auth got no answer"):
            await operator.transactions("X")


def test_percentiles() -> None:
    """Nearest rank, and 0 of nothing."""
    assert percentile([], 0.5) == 0
    assert percentile([3, 1, 2], 0.5) == 2
    assert percentile([1, 2], 0.99) == 2


def test_the_tables() -> None:
    """The tables show what was counted, and no token."""
    actors = cast()
    actors[0].answers = {"Ada": "Accepted"}
    actors[0].authorize_s = [0.002]
    actors[0].transaction = Transaction(1, "A-SECRET-TOKEN", "ISO14443", 8_200, begun_wh=1_000)
    actors[0].station.received.append(("SetChargingProfile", {}))
    out = io.StringIO()
    console = Console(file=out, width=140)
    console.print(stations_table(actors))
    console.print(events_table(Counter({"station.booted": 2})))
    shown = out.getvalue()
    for part in ("DEMO-16", "7.20 kWh", "2.0 ms", "SetChargingProfile", "station.booted"):
        assert part in shown
    assert "A-SECRET-TOKEN" not in shown

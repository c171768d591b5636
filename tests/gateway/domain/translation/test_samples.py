"""Meter values as the contract has them, whatever the station left out or misspelled."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from voltbus_gateway.domain.translation.samples import read_samples_2x, read_samples_16

AT = "2026-03-01T12:00:00Z"
NOW = datetime(2026, 3, 1, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("measurand", "unit"),
    [
        ("Energy.Active.Import.Register", "Wh"),
        ("Energy.Reactive.Net", "varh"),
        ("Energy.Apparent.Import", "VAh"),
        ("Power.Active.Import", "W"),
        ("Power.Offered", "W"),
        ("Power.Reactive.Export", "var"),
        ("Power.Factor", ""),
        ("Current.Offered", "A"),
        ("Voltage", "V"),
        ("SoC", "Percent"),
        ("RPM", ""),
    ],
)
def test_a_unit_that_was_left_out(measurand: str, unit: str) -> None:
    """OCPP gives "Wh" for energy only; elsewhere the quantity's own unit, or none (1.6 §7.40)."""
    for make, value in ((read_samples_16, "1"), (read_samples_2x, 1)):
        entry: dict[str, Any] = {"timestamp": AT, "sampledValue": [{"value": value}]}
        entry["sampledValue"][0]["measurand"] = measurand
        (sample,) = make([entry], NOW)
        assert (sample.value, sample.unit) == (1, unit)


@pytest.mark.parametrize("text", ["1_000", "\u0663", "", "abc", "NaN", "inf", "1,5", "0x10"])
def test_what_is_no_decimal_number_stays_as_it_came(text: str) -> None:
    """1.6 sends values as text: what no meter means by a number is never billed as one."""
    (sample,) = read_samples_16([{"timestamp": AT, "sampledValue": [{"value": text}]}], NOW)
    assert sample.value == text


@pytest.mark.parametrize(("text", "value"), [("12", 12), ("-1.5", -1.5), ("1e3", 1000), (" 7 ", 7)])
def test_a_decimal_number(text: str, value: float) -> None:
    """Digits, a sign, a point and an exponent."""
    (sample,) = read_samples_16([{"timestamp": AT, "sampledValue": [{"value": text}]}], NOW)
    assert sample.value == value


def test_values_without_a_time_were_measured_with_their_message() -> None:
    """A side field that can't be read costs no value: the message's own time stands in for it."""
    for make, value in ((read_samples_16, "1"), (read_samples_2x, 1)):
        (sample,) = make([{"sampledValue": [{"value": value}]}], NOW)
        assert (sample.at, sample.value) == (NOW, 1)

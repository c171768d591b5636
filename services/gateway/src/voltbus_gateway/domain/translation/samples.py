"""Meter values of every version, flattened to the contract's samples."""

from __future__ import annotations

from datetime import UTC, datetime
from math import isfinite
from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract.values import Sample, SignedMeterValue
from voltbus_gateway.domain.wire.limits import to_integer
from voltbus_gateway.domain.wire.times import parse_time_or

if TYPE_CHECKING:
    from collections.abc import Iterator

# The contract's own default values: what equals them by identity is left out of the record.
_PLAIN = Sample(at=datetime.min.replace(tzinfo=UTC), value=0)
_ENERGY = _PLAIN.measurand
_PERIODIC = _PLAIN.context
_OUTLET = _PLAIN.location
_RAW = _PLAIN.format

# The unit of a measurand whose unit was left out. OCPP gives a default ("Wh") for energy only;
# elsewhere the only sensible one is taken rather than a wrong one.
_UNITS = {
    "Energy": "Wh",
    "Power": "W",
    "Current": "A",
    "Voltage": "V",
    "SoC": "Percent",
    "Temperature": "Celsius",
    "Frequency": "Hertz",
}
_OTHER_UNITS = {
    "Energy.Reactive": "varh",
    "Energy.Apparent": "VAh",
    "Power.Reactive": "var",
    "Power.Apparent": "VA",
    "Power.Factor": "",
}
# 1.6's own schema has the misspelling beside the word.
_RESPELLED = {"Celcius": "Celsius"}


def read_samples_16(meter_values: list[dict[str, Any]], otherwise: datetime) -> tuple[Sample, ...]:
    """1.6 ``meterValue`` / ``transactionData``: values are texts.

    ``otherwise``: when they were measured that don't say it.
    """
    return tuple(_iterate_samples_16(meter_values, otherwise))


def _iterate_samples_16(
    meter_values: list[dict[str, Any]], otherwise: datetime
) -> Iterator[Sample]:
    for entry in meter_values:
        at = parse_time_or(entry.get("timestamp"), otherwise)
        for sampled in entry["sampledValue"]:
            measurand = sampled.get("measurand", _ENERGY)
            unit = sampled.get("unit") or _find_unit(measurand)
            signed = sampled.get("format") == "SignedData"
            yield Sample(
                at=at,
                value=sampled["value"] if signed else _read_number(sampled["value"]),
                measurand=measurand,
                unit=_RESPELLED.get(unit, unit),
                phase=sampled.get("phase"),
                context=sampled.get("context", _PERIODIC),
                location=sampled.get("location", _OUTLET),
                format="SignedData" if signed else _RAW,
            )


def read_samples_2x(meter_values: list[dict[str, Any]], otherwise: datetime) -> tuple[Sample, ...]:
    """2.x ``meterValue``: values are numbers, with a unit and a power of ten.

    ``otherwise``: when they were measured that don't say it.
    """
    return tuple(_iterate_samples_2x(meter_values, otherwise))


def _iterate_samples_2x(
    meter_values: list[dict[str, Any]], otherwise: datetime
) -> Iterator[Sample]:
    for entry in meter_values:
        at = parse_time_or(entry.get("timestamp"), otherwise)
        for sampled in entry["sampledValue"]:
            measurand = sampled.get("measurand", _ENERGY)
            measure = sampled.get("unitOfMeasure") or {}
            unit = measure.get("unit") or _find_unit(measurand)
            signed = sampled.get("signedMeterValue")
            yield Sample(
                at=at,
                value=sampled["value"],
                measurand=measurand,
                unit=_RESPELLED.get(unit, unit),
                multiplier=to_integer(measure.get("multiplier", 0)),
                phase=sampled.get("phase"),
                context=sampled.get("context", _PERIODIC),
                location=sampled.get("location", _OUTLET),
                signed=_read_signed(signed) if signed else None,
            )


def read_first_time(meter_values: list[dict[str, Any]], otherwise: datetime) -> datetime:
    """When the first of the values was measured."""
    text = meter_values[0].get("timestamp") if meter_values else None
    return parse_time_or(text, otherwise)


def _read_signed(value: dict[str, Any]) -> SignedMeterValue:
    return SignedMeterValue(
        data=value["signedMeterData"],
        encoding_method=value["encodingMethod"],
        signing_method=value.get("signingMethod", ""),
        public_key=value.get("publicKey", ""),
    )


def _read_number(text: str) -> float | str:
    """The number, or the text as it came where it is none (auth marks what it can't bill)."""
    if not text.isascii() or "_" in text:  # Python reads more than a decimal number
        return text
    try:
        number = float(text)
    except ValueError:
        return text
    return number if isfinite(number) else text


def _find_unit(measurand: str) -> str:
    quantity, _, kind = measurand.partition(".")
    other = _OTHER_UNITS.get(f"{quantity}.{kind.partition('.')[0]}")
    return _UNITS.get(quantity, "") if other is None else other

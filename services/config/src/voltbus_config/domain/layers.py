"""Which setting a station should have: layers in order, the last one wins per key.

default < model < group < site < agreement < station. Where several agreements shape a station, the
one that began last wins.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import msgspec

from voltbus_backbone.contract.agreements import AgreementSnapshot, AgreementStatus
from voltbus_backbone.contract.values import ChargingSpeed, Message, OpeningHours
from voltbus_backbone.values import hidden
from voltbus_config.domain.stations import RegisteredStation

CHARGING_SPEED = "charging_speed"
PAYMENT_METHODS = "payment_methods"
OPENING_HOURS = "opening_hours"
KEY_PREFIX = "keys."


class LayerKind(StrEnum):
    """The layers, from the lowest up."""

    DEFAULT = "default"
    MODEL = "model"
    GROUP = "group"
    SITE = "site"
    AGREEMENT = "agreement"
    STATION = "station"


class LayerSettings(Message, frozen=True):
    """What one layer says. ``None`` leaves a setting to the layers below.

    ``keys``: the station's own configuration keys (1.6) or variables (2.x) and their values.
    """

    charging_speed: ChargingSpeed | None = None
    payment_methods: tuple[str, ...] | None = None
    opening_hours: OpeningHours | None = None
    keys: dict[str, str] = msgspec.field(default_factory=dict)

    def items(self) -> Iterator[tuple[str, Any]]:
        """Return every setting of this layer under its name, as plain values."""
        if self.charging_speed is not None:
            speed = self.charging_speed
            yield CHARGING_SPEED, {"limit": speed.limit, "unit": speed.unit}
        if self.payment_methods is not None:
            yield PAYMENT_METHODS, sorted(set(self.payment_methods))
        if self.opening_hours is not None:
            # As JSON has it, with lists: so it compares equal to what was stored.
            yield OPENING_HOURS, msgspec.json.decode(msgspec.json.encode(self.opening_hours))
        for key, value in self.keys.items():
            yield KEY_PREFIX + key, value


@dataclass(frozen=True)
class Layer:
    """Settings and where they come from; ``name`` is shown to the operator."""

    kind: LayerKind
    name: str
    settings: LayerSettings


class StationAgreement(Message, frozen=True, rename={"id": "_id"}):
    """What config keeps of an agreement that shapes stations. ``everywhere``: no scope given."""

    id: str
    revision: int
    status: AgreementStatus
    valid_from: datetime
    valid_to: datetime | None = None
    stations: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    locations: tuple[str, ...] = ()
    everywhere: bool = False
    terms: LayerSettings = LayerSettings()

    def covers(self, station: RegisteredStation) -> bool:
        """Return whether the station is in its scope."""
        return (
            self.everywhere
            or station.id in self.stations
            or (station.group_id is not None and station.group_id in self.groups)
            or (station.site_id is not None and station.site_id in self.locations)
        )

    def holds(self, at: datetime) -> bool:
        """Return whether it is in force: active, and within its half-open validity."""
        return (
            self.status is AgreementStatus.ACTIVE
            and self.valid_from <= at
            and (self.valid_to is None or at < self.valid_to)
        )

    def next_change(self, after: datetime) -> datetime | None:
        """Return when ``holds`` may answer differently by the clock alone."""
        if self.status is not AgreementStatus.ACTIVE:
            return None
        times = [time for time in (self.valid_from, self.valid_to) if time and time > after]
        return min(times, default=None)


@dataclass(frozen=True)
class WantedValue:
    """The value that won for one setting, and the layer it came from."""

    value: Any
    layer: str


def resolve(layers: Iterable[Layer]) -> dict[str, WantedValue]:
    """Resolve layers, given in any order, to the value that wins for each key."""
    order = list(LayerKind)
    result: dict[str, WantedValue] = {}
    for layer in sorted(layers, key=lambda layer: order.index(layer.kind)):  # a stable sort
        for key, value in layer.settings.items():
            result[key] = WantedValue(value, layer.name)
    return result


def select_layers(
    station: RegisteredStation,
    stored: Mapping[str, LayerSettings],
    agreements: Iterable[StationAgreement],
    now: datetime,
) -> list[Layer]:
    """Select the layers that apply to a station. ``stored``: by name, see ``list_layer_names``."""
    result = [
        Layer(LayerKind(name.partition(":")[0]), name, stored[name])
        for name in list_layer_names(station)
        if name in stored
    ]
    in_force = [each for each in agreements if each.covers(station) and each.holds(now)]
    result.extend(
        Layer(LayerKind.AGREEMENT, f"agreement:{each.id}", each.terms)
        for each in sorted(in_force, key=lambda each: (each.valid_from, each.id))
    )
    return result


def list_layer_names(station: RegisteredStation) -> list[str]:
    """List the names of the stored layers that may apply to this station."""
    names = ["default"]
    if station.model:
        names.append(f"model:{station.vendor}/{station.model}")
    if station.group_id is not None:
        names.append(f"group:{station.group_id}")
    if station.site_id is not None:
        names.append(f"site:{station.site_id}")
    names.append(f"station:{station.id}")
    return names


def project_agreement(snapshot: AgreementSnapshot) -> StationAgreement | None:
    """Project an agreement to what config keeps; None when it has no terms for stations."""
    terms = snapshot.station_terms
    if terms is None:
        return None
    scope = snapshot.scope
    evse_stations = tuple(evse.rpartition("/")[0] for evse in scope.evses)
    stations = tuple(dict.fromkeys((*scope.stations, *evse_stations)))
    return StationAgreement(
        id=snapshot.id,
        revision=snapshot.revision,
        status=snapshot.status,
        valid_from=snapshot.valid_from,
        valid_to=snapshot.valid_to,
        stations=stations,
        groups=scope.groups,
        locations=scope.locations,
        everywhere=not (stations or scope.groups or scope.locations),
        terms=LayerSettings(
            charging_speed=terms.charging_speed,
            payment_methods=terms.payment_methods or None,
            opening_hours=terms.opening_hours,
        ),
    )


def is_secret(key: str) -> bool:
    """Return whether the value of a setting must never be shown (ocpp-rules C)."""
    return key.startswith(KEY_PREFIX) and hidden.is_secret(key.removeprefix(KEY_PREFIX))

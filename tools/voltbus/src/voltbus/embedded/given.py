"""Settings in our own environment: which a stack passes on to its services, and which it does not.

A name that no service reads is a slip, told with a hint; one that the stack sets itself has an
option of its own, or none. Values are never shown: they may be secrets.
"""

from __future__ import annotations

import difflib
import importlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from voltbus.embedded.services import OWN_SETTINGS, SERVICES
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pydantic.fields import FieldInfo

PREFIX = "VOLTBUS_"
KAFKA_PREFIX = "VOLTBUS_KAFKA_"
# What the command line reads itself.
_OF_THE_COMMAND_LINE = frozenset(
    {
        "VOLTBUS_CACHE",
        "VOLTBUS_DEBUG",
        "VOLTBUS_OPERATOR_TOKEN",
        "VOLTBUS_STATION_PASSWORD",
        *(f"VOLTBUS_{service.upper()}_URL" for service in SERVICES),
    }
)


@dataclass(frozen=True)
class Given:
    """What was found. ``unknown`` maps a name to the one that was probably meant, or None."""

    by_service: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    ours: tuple[str, ...] = ()
    unknown: Mapping[str, str | None] = field(default_factory=dict)

    def sentences(self) -> Iterable[str]:
        """What a person should know of it."""
        passed = sorted({name for found in self.by_service.values() for name in found})
        if passed:
            yield f"Passed on from the environment: {', '.join(passed)}."
        if self.ours:
            yield (
                f"Not passed on, since this stack sets it itself: {', '.join(self.ours)}; "
                "see 'voltbus up --help'."
            )
        for name, meant in self.unknown.items():
            hint = f" Did you mean {meant}?" if meant else " See docs/operations.md."
            yield f"No service has a setting {name}.{hint}"


def settings_given(environment: Mapping[str, str], *, own_kafka: bool) -> Given:
    """Sort our environment's settings. ``own_kafka``: the broker is one that the stack starts."""
    known = {service: _settings_of(service) for service in SERVICES}
    kafka = {KAFKA_PREFIX + name.upper() for name in KafkaSettings.model_fields}
    documented = {name for fields in known.values() for name in fields} | kafka
    by_service: dict[str, dict[str, str]] = {}
    ours: list[str] = []
    unknown: dict[str, str | None] = {}
    for written, value in sorted(environment.items()):
        name = written.upper()  # as the services read them
        if not name.startswith(PREFIX) or name in _OF_THE_COMMAND_LINE:
            continue
        if name not in documented:
            unknown[written] = _nearest(name, documented)
        elif name in OWN_SETTINGS or (own_kafka and name in kafka):
            ours.append(name)
        elif name in kafka:
            for service in SERVICES:
                by_service.setdefault(service, {})[name] = value
        else:
            for service, fields in known.items():
                if name in fields:
                    by_service.setdefault(service, {})[name] = _from_here(fields[name], value)
    return Given(by_service, tuple(ours), unknown)


def _settings_of(service: str) -> dict[str, FieldInfo]:
    settings: Any = importlib.import_module(f"voltbus_{service}.settings").Settings
    fields: dict[str, FieldInfo] = settings.model_fields
    return {PREFIX + name.upper(): found for name, found in fields.items() if name != "kafka"}


def _from_here(field: FieldInfo, value: str) -> str:
    """A path is meant from where we were started; services run in the stack's home."""
    is_path = Path in (field.annotation, *get_args(field.annotation))
    return str(Path(value).absolute()) if is_path and value else value


def _nearest(name: str, documented: Iterable[str]) -> str | None:
    found = difflib.get_close_matches(name, sorted(documented), n=1, cutoff=0.8)
    return found[0] if found else None

"""Which events to show, and how one looks as a line of the table or of JSON. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any

from voltbus.events.words import short_type, words
from voltbus.printable import printable_json

if TYPE_CHECKING:
    from voltbus_backbone.bus.envelope import Event

# The topics anyone may subscribe to (docs/events.md).
PUBLIC_TOPICS = (
    "stations.events",
    "transactions.events",
    "tokens.events",
    "commands.events",
    "agreements.events",
)
# Said every second by every gateway: shown only where asked for.
NOISE = frozenset({"gateway.beat"})


@dataclass(frozen=True, slots=True)
class Choice:
    """Which events are wanted; empty: all but the noise.

    ``type_glob`` matches a type in full (``voltbus.station.booted.v1``) or in short
    (``station.*``).
    """

    type_glob: str = ""
    station: str = ""

    def takes(self, event: Event) -> bool:
        """Say whether an event is wanted."""
        short = short_type(event.type)
        if self.type_glob:
            if not any(fnmatchcase(name, self.type_glob) for name in (event.type, short)):
                return False
        elif short in NOISE:
            return False
        if not self.station:
            return True
        return self.station in (event.subject, body(event).get("station_id"))


def body(event: Event) -> dict[str, Any]:
    """Return an event's data as an object; empty for a tombstone and for what is none."""
    try:
        found = json.loads(event.data or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True)
class Line:
    """One event for the eye: ``time`` is UTC, HH:MM:SS.mmm."""

    time: str
    kind: str
    subject: str
    words: str


def line(event: Event) -> Line:
    """Return how an event looks in the table."""
    clock = event.time.partition("T")[2].rstrip("Z") or event.time
    return Line(clock, short_type(event.type), event.subject, words(event.type, body(event)))


def structured(event: Event) -> str:
    """Return an event in CloudEvents' structured mode: one line of JSON."""
    text = json.dumps(
        {
            "specversion": "1.0",
            "id": event.id,
            "source": event.source,
            "type": event.type,
            "time": event.time,
            "subject": event.subject,
            "datacontenttype": "application/json",
            "data": body(event),
        },
        ensure_ascii=False,
        separators=(",", ":"),
    )
    return printable_json(text)

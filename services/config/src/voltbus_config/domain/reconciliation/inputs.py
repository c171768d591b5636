"""What a reconciliation takes and what it returns."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_config.domain.stations import Registration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from voltbus_config.domain.commands import Command
    from voltbus_config.domain.compile import CompileOptions
    from voltbus_config.domain.connections import Presence
    from voltbus_config.domain.desired import Desired
    from voltbus_config.domain.layers import WantedValue
    from voltbus_config.domain.outgoing import OutgoingMessage
    from voltbus_config.domain.stations import RegisteredStation


@dataclass(frozen=True)
class ReconcilerConfig:
    """What the operator configures, and where new ids come from.

    ``margin``: how long after a call's own timeout its gateway is given up.
    """

    new_id: Callable[[datetime], str]
    options: Callable[[RegisteredStation], CompileOptions]
    policy: Registration = Registration.REJECTED
    margin: timedelta = timedelta(seconds=10)
    setting_timeout_s: float = 30.0


@dataclass(frozen=True)
class StationSnapshot:
    """Everything that the decision depends on. ``commands`` are those that have not ended.

    ``station`` None: unknown, or removed. ``agreements_change``: when the layers change by the
    clock alone.
    """

    station_id: str
    station: RegisteredStation | None
    presence: Presence
    wanted: Mapping[str, WantedValue]
    desired: Desired
    commands: Sequence[Command]
    agreements_change: datetime | None = None


@dataclass
class Decision:
    """What is to be stored and sent. ``commands`` holds only what changed or is new.

    ``due``: when to reconcile this station again, if nothing happens before.
    """

    desired: Desired
    desired_changed: bool = False
    commands: dict[str, Command] = field(default_factory=dict)
    messages: list[OutgoingMessage] = field(default_factory=list)
    due: datetime | None = None

"""How a simulated station is built and behaves: all of it data, nothing hidden."""

from __future__ import annotations

import random
import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

Protocol = Literal["1.6", "2.0.1", "2.1"]

SUBPROTOCOLS: dict[Protocol, str] = {
    "1.6": "ocpp1.6",
    "2.0.1": "ocpp2.0.1",
    "2.1": "ocpp2.1",
}


def utc_now() -> datetime:
    """Return the real time, in UTC."""
    return datetime.now(UTC)


def random_id() -> str:
    """Return a fresh message or transaction id (36 characters, the most OCPP allows)."""
    return str(uuid.uuid4())


@dataclass(frozen=True, slots=True)
class Backoff:
    """Waits between attempts to reconnect, in seconds."""

    first: float = 0.5
    factor: float = 2.0
    longest: float = 30.0
    jitter: float = 0.2

    def wait(self, attempt: int, rng: random.Random) -> float:
        """Return the seconds to wait before attempt number ``attempt`` (from 0)."""
        plain = min(self.longest, self.first * self.factor ** min(attempt, 64))
        return plain * (1 + self.jitter * rng.random())


@dataclass(frozen=True, slots=True)
class Options:
    """A station's hardware and habits.

    ``carry_out``: act on remote starts, resets, triggers and the like after answering them.
    ``queue_offline``: keep transaction messages while offline and replay them on reconnection.
    ``same_id_on_retry``: resend under the same message id (1.6 and 2.1 allow it, 2.0.1 does
    not; most real stations take a new one).
    ``validate``: check every message against the ``ocpp`` library's schemas. Only a load
    generator has a reason to switch this off.
    """

    vendor: str = "Voltbus"
    model: str = "Simulator"
    serial: str = "SIM-0001"
    firmware: str = "1.0.0"
    connectors: int = 2
    timeout: float = 30.0
    open_timeout: float = 10.0
    validate: bool = True
    carry_out: bool = True
    reconnect: bool = False
    boot_on_reconnect: bool = False
    backoff: Backoff = field(default_factory=Backoff)
    queue_offline: bool = False
    same_id_on_retry: bool = False
    most_attempts: int = 3
    compression: bool = False


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What a station takes from outside: the clock, ids and chance. Tests inject their own."""

    now: Callable[[], datetime] = utc_now
    new_id: Callable[[], str] = random_id
    rng: random.Random = field(default_factory=random.Random)


def timestamp(moment: datetime) -> str:
    """Format ``moment`` as stations do: RFC 3339, UTC, milliseconds, ``Z``."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")

"""The charging profile of one transaction, as 1.6 and 2.x want it with a remote start.

It is a TxProfile without a transaction id, which nobody knows yet (1.6 §5.11; 2.0.1 F01.FR.08/11).
Its times count from the start of charging.
"""

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from voltbus_backbone.contract.values import Protocol

Limit = Annotated[float, Meta(ge=0, le=10_000_000)]
Seconds = Annotated[int, Meta(ge=0, le=31_536_000)]
Phases = Annotated[int, Meta(ge=1, le=3)]


class Period(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """From ``start_s`` seconds after the start of charging, until the next period or the end."""

    start_s: Seconds
    limit: Limit
    phases: Phases | None = None


class ChargingProfile(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How fast it may charge: one ``limit``, or several ``periods``; in ``unit`` W or A.

    ``duration_s``: for how long; without it, to the end of the transaction.
    """

    limit: Limit | None = None
    periods: Annotated[list[Period], Meta(max_length=100)] = msgspec.field(default_factory=list)
    unit: Literal["W", "A"] = "W"
    phases: Phases | None = None
    duration_s: Seconds | None = None
    stack_level: Annotated[int, Meta(ge=0, le=100)] = 0

    def __post_init__(self) -> None:
        """One of the two, and periods in order from the start (1.6 §7.14, 2.x K01.FR.31)."""
        if (self.limit is None) is not bool(self.periods):
            raise ValueError("charging_profile: give limit, or periods")
        starts = [period.start_s for period in self.periods]
        if starts and (starts[0] != 0 or starts != sorted(set(starts))):
            raise ValueError("charging_profile: periods begin at start_s 0, each after the last")

    def ocpp(self, protocol: Protocol, number: int) -> dict[str, Any]:
        """ChargingProfile of this version, with ``number`` as its id."""
        schedule = {
            "chargingRateUnit": self.unit,
            "duration": self.duration_s,
            "chargingSchedulePeriod": [
                {
                    "startPeriod": period.start_s,
                    "limit": round(period.limit, 1),  # 1.6 takes tenths
                    "numberPhases": period.phases or self.phases,
                }
                for period in self._periods()
            ],
        }
        old = protocol is Protocol.OCPP16
        return {
            "chargingProfileId" if old else "id": number,
            "stackLevel": self.stack_level,
            "chargingProfilePurpose": "TxProfile",
            "chargingProfileKind": "Relative",
            "chargingSchedule": schedule if old else [{"id": number, **schedule}],
        }

    def _periods(self) -> list[Period]:
        if self.limit is None:
            return self.periods
        return [Period(start_s=0, limit=self.limit)]

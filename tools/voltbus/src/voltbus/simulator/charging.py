"""The charging profiles a simulated station holds, and the schedule they add up to.

One store for all versions: 1.6 and 2.x differ in names only (``chargingProfileId`` or ``id``,
one ``chargingSchedule`` or a list of them), which ``_identity`` and ``_schedule`` even out.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

Profile = dict[str, Any]

STATION_WIDE = (
    "ChargePointMaxProfile",
    "ChargingStationMaxProfile",
    "ChargingStationExternalConstraints",
)
RECURRENCE = {"Daily": timedelta(days=1), "Weekly": timedelta(days=7)}
VOLTS = 230.0


@dataclass(frozen=True, slots=True)
class Held:
    """A profile where it is installed: ``evse`` 0 is the whole station."""

    evse: int
    profile: Profile

    @property
    def identity(self) -> int:
        """The profile's id in either version's spelling."""
        key = "chargingProfileId" if "chargingProfileId" in self.profile else "id"
        return int(self.profile[key])

    @property
    def purpose(self) -> str:
        """The profile's purpose, as sent."""
        return str(self.profile["chargingProfilePurpose"])

    @property
    def stack_level(self) -> int:
        """Of two profiles with one purpose, the higher level rules."""
        return int(self.profile["stackLevel"])

    @property
    def schedule(self) -> Profile:
        """The (first) schedule."""
        found = self.profile["chargingSchedule"]
        schedule: Profile = found[0] if isinstance(found, list) else found
        return schedule


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


@dataclass(slots=True)
class Profiles:
    """All profiles of a station."""

    most_stack_level: int = 8
    held: list[Held] = field(default_factory=list)

    def install(self, evse: int, profile: Profile, *, charging: bool) -> str:
        """Install ``profile`` and return the status for the central system.

        A station-wide purpose belongs to EVSE 0 (1.6 §5.16, K01.FR.03), a transaction's profile
        needs a transaction on its EVSE (1.6 §5.16.1, K01.FR.09). The same id, or the same
        purpose and stack level on the same EVSE, replaces (1.6 §3.13, K01.FR.05).
        """
        new = Held(evse, profile)
        wide = new.purpose in STATION_WIDE
        if wide and (evse != 0 or profile.get("chargingProfileKind") == "Relative"):
            return "Rejected"
        if new.purpose == "TxProfile" and not (evse and charging):
            return "Rejected"
        if not 0 <= new.stack_level <= self.most_stack_level:
            return "Rejected"
        slot = (new.evse, new.purpose, new.stack_level)
        self.held = [
            old
            for old in self.held
            if old.identity != new.identity and (old.evse, old.purpose, old.stack_level) != slot
        ]
        self.held.append(new)
        return "Accepted"

    def clear(
        self,
        identity: int | None = None,
        evse: int | None = None,
        purpose: str | None = None,
        stack_level: int | None = None,
    ) -> int:
        """Remove the profiles that meet every given criterion and return how many there were."""
        wanted = (identity, evse, purpose, stack_level)
        keep = [
            one
            for one in self.held
            if any(
                want is not None and want != have
                for want, have in zip(
                    wanted, (one.identity, one.evse, one.purpose, one.stack_level), strict=True
                )
            )
        ]
        gone = len(self.held) - len(keep)
        self.held = keep
        return gone

    def composite(self, evse: int, start: datetime, seconds: int, unit: str) -> list[Profile]:
        """Return the schedule periods that rule ``evse`` for ``seconds`` from ``start``.

        The highest stack level rules within a purpose, a TxProfile replaces the defaults, and
        the lowest limit rules across what is left (1.6 §3.13.3, K08.FR.04). No profile: no
        period.
        """
        offsets = range(0, max(seconds, 1), 60)
        periods: list[Profile] = []
        for offset in offsets:
            limit = self._limit(evse, start + timedelta(seconds=offset), unit)
            if limit is None:
                continue
            if not periods or periods[-1]["limit"] != limit:
                periods.append({"startPeriod": offset, "limit": limit})
        return periods

    def _limit(self, evse: int, at: datetime, unit: str) -> float | None:
        rulers: dict[str, tuple[int, float]] = {}
        for one in self.held:
            if one.evse not in (0, evse):
                continue
            limit = _limit_of(one, at, unit)
            if limit is None:
                continue
            ranked = one.stack_level * 2 + (one.evse != 0)
            if one.purpose not in rulers or rulers[one.purpose][0] < ranked:
                rulers[one.purpose] = (ranked, limit)
        if "TxProfile" in rulers:
            rulers.pop("TxDefaultProfile", None)
        return min((limit for _, limit in rulers.values()), default=None)


def _limit_of(one: Held, at: datetime, unit: str) -> float | None:
    """Return what a single profile allows at the moment ``at``, or None where it is silent."""
    valid_from, valid_to = (
        _moment(one.profile.get("validFrom")),
        _moment(one.profile.get("validTo")),
    )
    if (valid_from and at < valid_from) or (valid_to and at >= valid_to):
        return None
    schedule = one.schedule
    begin = _moment(schedule.get("startSchedule")) or valid_from or at
    elapsed = at - begin
    if one.profile.get("chargingProfileKind") == "Recurring":
        elapsed %= RECURRENCE.get(one.profile.get("recurrencyKind", "Daily"), timedelta(days=1))
    passed = elapsed.total_seconds()
    if passed < 0 or passed >= schedule.get("duration", float("inf")):
        return None
    current = [
        period for period in schedule["chargingSchedulePeriod"] if period["startPeriod"] <= passed
    ]
    if not current or "limit" not in current[-1]:
        return None
    return _convert(current[-1], schedule["chargingRateUnit"], unit)


def _convert(period: Profile, given: str, wanted: str) -> float:
    limit = float(period["limit"])
    watts_per_ampere = VOLTS * int(period.get("numberPhases", 3))
    if given == wanted:
        return limit
    return round(limit / watts_per_ampere if wanted == "A" else limit * watts_per_ampere, 1)

"""A driver's visit to a simulated station: boot, authorize, plug in, charge, stop.

Each step is reported as it happens, so that a command can show it; what came of the visit is
the result. Nothing here prints.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

from voltbus.simulator.lapse import Lapse

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voltbus.simulator.station import Station

Result = TypeVar("Result")
SHOWN_END = 4


@dataclass(frozen=True, slots=True)
class Step:
    """One thing a station did: what came of it in words, and how long it took in seconds."""

    station_id: str
    name: str
    words: str
    seconds: float
    good: bool = True


@dataclass(frozen=True, slots=True)
class Wish:
    """What the driver wants. Energies in Wh; ``pace`` in seconds between meter values.

    ``power_w`` says how long the charge takes by the station's clock (see ``lapse``).
    """

    id_token: str = field(repr=False)
    token_type: str = "ISO14443"  # noqa: S105 - a type, no password
    connector: int = 1
    charge_wh: int = 5000
    meter_values: int = 4
    begin_wh: int = 0
    pace: float = 0.0
    power_w: int = 11_000


@dataclass(slots=True)
class Visit:
    """What came of it: the last status, the energy charged, seconds per step."""

    station_id: str
    status: str = "not asked"
    charged_wh: int = 0
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def charged(self) -> bool:
        """Whether the driver was let in and left again with the transaction recorded."""
        return "stop" in self.seconds and self.status == "Accepted"


def masked(id_token: str) -> str:
    """Return as much of a token as may be shown: the end of a long one."""
    return "…" + id_token[-SHOWN_END:] if len(id_token) >= 2 * SHOWN_END else "…"


class Visitor:
    """Does one visit on a connected station."""

    def __init__(
        self,
        station: Station,
        wish: Wish,
        report: Callable[[Step], None],
        lapse: Lapse | None = None,
    ) -> None:
        self._lapse = lapse or Lapse(timedelta(0))
        self._station = station
        self._wish = wish
        self._report = report
        self.visit = Visit(station.station_id)

    async def boot(self) -> bool:
        """Boot and notify the connector; False where the central system does not accept."""
        boot = await self._timed("boot", self._station.boot())
        accepted = boot.status == "Accepted"
        hint = f"heartbeat every {boot.interval} s" if accepted else "the operator has to accept it"
        self._tell("boot", f"{boot.status}, {hint}", good=accepted)
        if not accepted:
            self.visit.status = f"boot {boot.status}"
            return False
        await self._timed("status", self._station.status(self._wish.connector, "Available"))
        self._tell("status", f"connector {self._wish.connector} Available")
        return True

    async def authorize(self) -> bool:
        """Ask for the token; False where it may not charge."""
        wish = self._wish
        answer = await self._timed(
            "authorize", self._station.authorize(wish.id_token, wish.token_type)
        )
        self.visit.status = answer.status
        accepted = answer.status == "Accepted"
        self._tell("authorize", f"{masked(wish.id_token)} {answer.status}", good=accepted)
        return accepted

    async def charge(self) -> None:
        """Start, report the meter a few times, stop; a start that is refused is stopped at once."""
        station, wish = self._station, self._wish
        await station.set_state(wish.connector, "Preparing")
        transaction = await self._timed(
            "start",
            station.start(wish.id_token, wish.connector, wish.begin_wh, token_type=wish.token_type),
        )
        self.visit.status = transaction.status or self.visit.status
        accepted = transaction.status == "Accepted"
        self._tell("start", f"transaction {transaction.id} {transaction.status}", good=accepted)
        if not accepted:
            await station.finish(transaction, wish.begin_wh, "DeAuthorized")
            return
        await station.set_state(wish.connector, "Charging")
        for part in range(1, wish.meter_values + 1):
            await asyncio.sleep(wish.pace)
            if transaction.ended:  # by the central system, in the meantime
                break
            self._lapse.reach(part / (wish.meter_values + 1))
            charged = wish.charge_wh * part // (wish.meter_values + 1)
            await self._timed("meter", station.meter(transaction, wish.begin_wh + charged))
            self._tell("meter", f"{charged / 1000:.2f} kWh")
        if not transaction.ended:
            self._lapse.reach(1)
            end = wish.begin_wh + wish.charge_wh
            await self._timed("stop", station.finish(transaction, end, "Local"))
        self.visit.seconds.setdefault("stop", 0.0)
        self.visit.charged_wh = transaction.meter_wh - wish.begin_wh
        self._tell("stop", f"{self.visit.charged_wh / 1000:.2f} kWh charged")

    async def whole(self) -> Visit:
        """Boot, authorize and charge, as far as the central system allows."""
        if await self.boot() and await self.authorize():
            await self.charge()
        return self.visit

    async def _timed(self, name: str, doing: Awaitable[Result]) -> Result:
        began = time.perf_counter()
        result = await doing
        self.visit.seconds[name] = time.perf_counter() - began
        return result

    def _tell(self, name: str, words: str, *, good: bool = True) -> None:
        seconds = self.visit.seconds.get(name, 0.0)
        self._report(Step(self._station.station_id, name, words, seconds, good))

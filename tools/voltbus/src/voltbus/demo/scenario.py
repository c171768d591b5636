"""The story: two stations, four drivers, one agreement, and opening hours that close the door.

Each scene checks what it shows; what does not come true is a DemoError.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from voltbus.demo.errors import DemoError
from voltbus.demo.hours import always_open, closed_at
from voltbus.demo.watching import PATIENCE_S, Watching
from voltbus.simulator import (
    Options,
    RefusedError,
    SimulatorError,
    Station,
    Surroundings,
    Transaction,
    make_station,
)
from voltbus.simulator.lapse import Lapse, lasting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from voltbus.demo.operator import Operator
    from voltbus.simulator import Protocol

UNAUTHORIZED = 401
LIMIT_W = 11_000
MEASURED = 50
DRIVERS = {"Ada": "Ada", "Cleo": "Cleo (blocked)", "Dan": "Dan (unknown)"}
REFUSED_WHEN_CLOSED = {"1.6": "Invalid", "2.0.1": "NotAtThisTime"}
REFUSED_WHEN_BLOCKED = "Blocked"
REFUSED_WHEN_UNKNOWN = {"1.6": "Invalid", "2.0.1": "Unknown"}


@dataclass(slots=True)
class Actor:
    """A station of the story, and what it saw."""

    id: str
    name: str
    protocol: Protocol
    charge_wh: int
    lapse: Lapse = field(repr=False)
    station: Station = field(repr=False)
    password: str = field(default="", repr=False)
    transaction: Transaction | None = None
    answers: dict[str, str] = field(default_factory=dict)
    authorize_s: list[float] = field(default_factory=list, repr=False)


def cast() -> list[Actor]:
    """Return the two stations, not yet connected; their clocks are as far back as they charge."""
    return [
        _actor("DEMO-16", "Harbour", "1.6", 7_200, "H-0016"),
        _actor("DEMO-201", "Station square", "2.0.1", 18_500, "S-0201"),
    ]


def _actor(station_id: str, name: str, protocol: Protocol, charge_wh: int, serial: str) -> Actor:
    lapse = Lapse(lasting(charge_wh, LIMIT_W))
    options = Options(vendor="Voltbus", model="Demo", serial=serial)
    station = make_station(protocol, options, Surroundings(now=lapse))
    return Actor(station_id, name, protocol, charge_wh, lapse, station)


class Scenario:
    """The scenes in their order. ``say`` shows a heading."""

    def __init__(
        self,
        operator: Operator,
        watching: Watching,
        ocpp: str,
        actors: Sequence[Actor],
        say: Callable[[str], None],
    ) -> None:
        self._operator = operator
        self._watching = watching
        self._ocpp = ocpp
        self._actors = actors
        self._say = say
        # Ada has an agreement, Ben charges without one, Cleo is blocked, Dan nobody knows.
        self._tokens = {
            name: secrets.token_hex(7).upper() for name in ("Ada", "Ben", "Cleo", "Dan")
        }
        self.agreement_id = ""

    async def play(self) -> None:
        """Play all scenes; the stations are closed at the end, whatever happens."""
        try:
            for scene in (
                self.register,
                self.knock,
                self.boot,
                self.settle,
                self.authorize,
                self.charge,
                self.close_the_door,
            ):
                await scene()
                await self._watching.settle()
        except SimulatorError as failure:
            raise DemoError(f"a simulated station reports: {failure}.") from failure
        finally:
            for actor in self._actors:
                await actor.station.close()
        await self._watching.settle()

    # ---- the scenes ----

    async def register(self) -> None:
        """The operator registers two stations, three tokens and an agreement over REST."""
        self._say("The operator registers two stations, three tokens and one agreement (REST)")
        for actor in self._actors:
            actor.password = await self._operator.register(actor.id)
        refs = {}
        for name, status in (("Ada", "accepted"), ("Ben", "accepted"), ("Cleo", "blocked")):
            refs[name] = await self._operator.add_token(self._tokens[name], status)
        self.agreement_id = await self._operator.add_agreement(_agreement(refs["Ada"]))
        await self._watching.wait_for("agreement.activated", id=self.agreement_id)

    async def knock(self) -> None:
        """A wrong password is refused at the door, before the WebSocket is open."""
        self._say("Both stations try a wrong password: HTTP 401, no WebSocket")
        for actor in self._actors:
            try:
                await actor.station.connect(self._ocpp, actor.id, secrets.token_hex(10))
            except RefusedError as refusal:
                _expect(f"{actor.id} with a wrong password", UNAUTHORIZED, refusal.status)
            else:
                raise DemoError(f"{actor.id} was let in with a wrong password.")

    async def boot(self) -> None:
        """With the right one they connect, boot and notify their connectors."""
        self._say("With the right password they connect, boot and notify their connectors")
        for actor in self._actors:
            await actor.station.connect(self._ocpp, actor.id, actor.password)
            booted = await actor.station.boot()
            _expect(f"BootNotification of {actor.id}", "Accepted", booted.status)
            for connector in actor.station.connectors:
                await actor.station.status(connector, "Available")
            await self._watching.wait_for("station.booted", station_id=actor.id)

    async def settle(self) -> None:
        """A charging speed and opening hours, set by REST, reach the stations."""
        self._say(
            f"The operator sets {LIMIT_W / 1000:g} kW and opening hours around the clock (REST)"
        )
        for actor in self._actors:
            await self._operator.set_up(actor.id, _settings(always_open()))
        for actor in self._actors:
            await actor.station.wait_for("SetChargingProfile")
            await self._in_sync(actor, "charging_speed")

    async def authorize(self) -> None:
        """Each station asks for a token that may charge, a blocked and an unknown one."""
        self._say("Each station asks for an accepted, a blocked and an unknown token")
        for actor in self._actors:
            blocked, unknown = REFUSED_WHEN_BLOCKED, REFUSED_WHEN_UNKNOWN[actor.protocol]
            for name, expected in (("Ada", "Accepted"), ("Cleo", blocked), ("Dan", unknown)):
                status = await self._ask(actor, name)
                _expect(f"Authorize of {name} at {actor.id}", expected, status)
                actor.answers[DRIVERS[name]] = status
        self._say(f"... and {MEASURED} times more each, to measure")
        for actor in self._actors:
            for _ in range(MEASURED):
                await self._ask(actor, "Ada")

    async def charge(self) -> None:
        """Ada charges at one station under her agreement, Ben at the other without one."""
        self._say("Ada charges under her agreement, Ben without one (in time-lapse)")
        drivers = dict(zip(("Ada", "Ben"), self._actors, strict=True))
        await asyncio.gather(*(self._charge(actor, name) for name, actor in drivers.items()))
        for actor in self._actors:
            await self._watching.wait_for(
                "transaction.ended", station_id=actor.id, energy_wh=actor.charge_wh
            )
        await self._until(
            "the agreement's usage in Wh", self._used_wh, str(self._actors[0].charge_wh)
        )

    async def close_the_door(self) -> None:
        """New opening hours take both stations out of service and refuse the next driver."""
        self._say("The operator sets opening hours that are over for today (REST)")
        hours = closed_at(datetime.now(UTC))
        for actor in self._actors:
            await self._operator.set_up(actor.id, _settings(hours))
        for actor in self._actors:
            station = actor.station
            await station.wait_until(partial(_is_closed, station))
            await self._in_sync(actor, "opening_hours")
        for actor in self._actors:
            expected = REFUSED_WHEN_CLOSED[actor.protocol]
            actor.answers["Ada after hours"] = await self._until(
                f"Authorize at {actor.id} after hours", partial(self._ask, actor, "Ada"), expected
            )

    # ---- what the scenes are made of ----

    async def _ask(self, actor: Actor, name: str) -> str:
        began = time.perf_counter()
        answer = await actor.station.authorize(self._tokens[name])
        actor.authorize_s.append(time.perf_counter() - began)
        return answer.status

    async def _charge(self, actor: Actor, name: str) -> None:
        station, begin = actor.station, 1_000
        await station.set_state(1, "Preparing")
        transaction = await station.start(self._tokens[name], 1, begin)
        actor.transaction = transaction
        _expect(f"the start of {name} at {actor.id}", "Accepted", transaction.status)
        await station.set_state(1, "Charging")
        for part in range(1, 4):
            actor.lapse.reach(part / 4)
            await station.meter(transaction, begin + actor.charge_wh * part // 4)
        actor.lapse.reach(1)
        await station.finish(transaction, begin + actor.charge_wh, "Local")

    async def _used_wh(self) -> str:
        return str((await self._operator.usage(self.agreement_id))["energy_wh"])

    async def _in_sync(self, actor: Actor, setting: str) -> None:
        """Wait until config says that the station has taken a setting over."""

        async def state() -> str:
            return _state_of(await self._operator.settings(actor.id), setting)

        await self._until(f"{setting} at {actor.id}", state, "in_sync")

    @staticmethod
    async def _until(what: str, asking: Callable[[], Awaitable[str]], expected: str) -> str:
        """Ask again until the answer is as expected, since changes travel by events."""
        deadline = time.monotonic() + PATIENCE_S
        answer = await asking()
        while answer != expected and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
            answer = await asking()
        _expect(what, expected, answer)
        return answer


def _is_closed(station: Station) -> bool:
    return not any(station.operative.values())


def _expect(what: str, expected: object, found: object) -> None:
    if expected != found:
        raise DemoError(f"{what}: expected {expected}, got {found}.")


def _state_of(settings: dict[str, Any], setting: str) -> str:
    """Return a setting's state out of config's answer."""
    return str(settings["settings"][setting]["state"])


def _settings(hours: dict[str, Any]) -> dict[str, Any]:
    return {"charging_speed": {"limit": LIMIT_W, "unit": "W"}, "opening_hours": hours}


def _agreement(token_ref: str) -> dict[str, Any]:
    return {
        "kind": "driver",
        "name": "Ada's charging",
        "valid_from": (datetime.now(UTC) - timedelta(days=1)).isoformat(),
        "parties": [
            {"id": "voltbus-demo", "role": "provider"},
            {"id": "ada", "role": "customer"},
        ],
        "tokens": [{"ref": token_ref, "type": "ISO14443"}],
        "limits": {"max_concurrent": 1},
    }

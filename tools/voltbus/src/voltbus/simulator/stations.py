"""The simulated stations, whole: what they say, and how they answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from voltbus.simulator.answers2 import Answers2
from voltbus.simulator.answers16 import Answers16
from voltbus.simulator.monitoring2 import MonitoringAnswers2
from voltbus.simulator.v2 import Messages2
from voltbus.simulator.v16 import Messages16

if TYPE_CHECKING:
    from voltbus.simulator.options import Options, Protocol, Surroundings
    from voltbus.simulator.wire import Answering


class Station16(Messages16):
    """A station that speaks ocpp1.6."""

    def __init__(
        self, options: Options | None = None, surroundings: Surroundings | None = None
    ) -> None:
        super().__init__(options, surroundings)
        self._answers16 = Answers16(self)

    @property
    def answering(self) -> Answering:
        """See Station."""
        return self._answers16.answer


class Station2(Messages2):
    """A station that speaks ocpp2.0.1 or ocpp2.1; ``connector`` n is EVSE n, connector 1."""

    def __init__(
        self,
        protocol: Literal["2.0.1", "2.1"] = "2.0.1",
        options: Options | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        super().__init__(protocol, options, surroundings)
        self.monitoring = MonitoringAnswers2(self)
        self._answers2 = Answers2(self, self.monitoring)

    @property
    def answering(self) -> Answering:
        """See Station."""
        return self._answers2.answer

    async def change_variable(self, component: str, name: str, value: str) -> None:
        """Change a variable at the station itself, as an installer does; monitors notice."""
        place = (component.lower(), "", 0, name.lower(), "")
        self.device.variables[place].value = value
        await self.monitoring.changed(component, name, value)


def make_station(
    protocol: Protocol,
    options: Options | None = None,
    surroundings: Surroundings | None = None,
) -> Station16 | Station2:
    """Return an unconnected station that speaks ``protocol``."""
    if protocol == "1.6":
        return Station16(options, surroundings)
    return Station2(protocol, options, surroundings)

"""A station with nothing of ours at its end: a socket, and frames written by hand."""

from __future__ import annotations

import asyncio
import base64
import json
from contextlib import asynccontextmanager
from itertools import count
from typing import TYPE_CHECKING, Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from operating import DEADLINE_S
from voltbus.simulator import SUBPROTOCOLS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence

    from operating import Operator
    from voltbus.simulator import Protocol

Frame = list[Any]

BOOT_16 = {"chargePointVendor": "Acme", "chargePointModel": "One"}
BOOT_2 = {"reason": "PowerUp", "chargingStation": {"vendorName": "Acme", "model": "One"}}


class Raw:
    """A socket. Frames that nobody waited for yet are kept in their order."""

    def __init__(self, socket: ClientConnection, name: str, protocol: Protocol) -> None:
        self.name = name
        self.protocol = protocol
        self.socket = socket
        self._kept: list[Frame] = []
        self._ids = count(1)

    async def send(self, *parts: Any) -> None:
        """Send an array."""
        await self.socket.send(json.dumps(parts))

    async def frame(
        self, wanted: Callable[[Frame], bool] = lambda _: True, deadline: float = DEADLINE_S
    ) -> Frame:
        """The next frame that is wanted."""
        for place, kept in enumerate(self._kept):
            if wanted(kept):
                return self._kept.pop(place)
        async with asyncio.timeout(deadline):
            while True:
                frame: Frame = json.loads(await self.socket.recv())
                if wanted(frame):
                    return frame
                self._kept.append(frame)

    async def answer(self, id_: str) -> Frame:
        """The CALLRESULT or CALLERROR with this message id."""
        return await self.frame(lambda frame: frame[0] in {3, 4} and frame[1] == id_)

    async def asked(self, action: str) -> Frame:
        """The next CALL of this action from the central system."""
        return await self.frame(lambda frame: frame[0] == 2 and frame[2] == action)

    async def call(self, action: str, payload: dict[str, Any], id_: str | None = None) -> Frame:
        """Send a CALL and wait for its answer."""
        number = id_ if id_ is not None else str(next(self._ids))
        await self.send(2, number, action, payload)
        return await self.answer(number)

    async def boot(self) -> Frame:
        """Send BootNotification."""
        return await self.call("BootNotification", BOOT_16 if self.protocol == "1.6" else BOOT_2)

    async def closed(self) -> int | None:
        """The close code that the central system sent."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while True:
                    self._kept.append(json.loads(await self.socket.recv()))
        except ConnectionClosed as closed:
            return closed.rcvd.code if closed.rcvd is not None else None


def basic(user: str, password: str | bytes) -> dict[str, str]:
    """The header of HTTP Basic authentication."""
    secret = password if isinstance(password, bytes) else password.encode()
    pair = base64.b64encode(user.encode() + b":" + secret).decode()
    return {"Authorization": f"Basic {pair}"}


async def open_by_hand(
    operator: Operator,
    protocol: Protocol,
    name: str,
    password: str,
    *,
    offered: Sequence[str] | None = None,
    path: str | None = None,
) -> Raw:
    """Open a socket of a station that is known already; the caller closes it."""
    wanted = [SUBPROTOCOLS[protocol]] if offered is None else offered
    socket = await connect(
        f"{operator.stack.ocpp()}/{path or name}",
        subprotocols=[Subprotocol(one) for one in wanted] or None,
        additional_headers=basic(name, password),
        compression=None,
    )
    return Raw(socket, name, protocol)


@asynccontextmanager
async def socket_of(
    operator: Operator, protocol: Protocol, name: str, password: str, **rest: Any
) -> AsyncIterator[Raw]:
    """The same, closed afterwards."""
    raw = await open_by_hand(operator, protocol, name, password, **rest)
    try:
        yield raw
    finally:
        await raw.socket.close()


@asynccontextmanager
async def by_hand(
    operator: Operator, protocol: Protocol, *, boot: bool = True
) -> AsyncIterator[Raw]:
    """A socket of a station of its own, booted unless told otherwise."""
    name, password = await operator.station()
    async with socket_of(operator, protocol, name, password) as raw:
        if boot:
            assert (await raw.boot())[2]["status"] == "Accepted"
        yield raw

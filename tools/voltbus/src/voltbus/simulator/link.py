"""A simulated station's connection: opening, losing and regaining it, and the calls on it.

It knows the OCPP-J envelope and the station's habits on the network, nothing of charging;
``Station`` builds on it.
"""

from __future__ import annotations

import abc
import asyncio
import json
from collections import deque
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from voltbus.simulator.errors import (
    AnswerTimeoutError,
    ConnectionLostError,
    NoSubprotocolError,
    RefusedError,
    SimulatorError,
    UnreachableError,
)
from voltbus.simulator.opening import Address, open_socket
from voltbus.simulator.options import Options, Protocol, Surroundings
from voltbus.simulator.wire import Answering, Payload, Wire

if TYPE_CHECKING:
    import ssl as tls
    from collections.abc import Awaitable, Callable, Iterable

    from websockets.asyncio.client import ClientConnection

PATIENCE_S = 60.0  # how long to wait for what is to come, unless another deadline is given


@dataclass(frozen=True, slots=True)
class Sent:
    """A call the station made, kept so that it can be made again."""

    action: str
    payload: Payload = field(repr=False)
    message_id: str


class Link(abc.ABC):
    """One station on at most one socket."""

    def __init__(
        self,
        protocol: Protocol,
        options: Options | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        self.protocol: Protocol = protocol
        self.options = options or Options()
        self.around = surroundings or Surroundings()
        self.station_id = ""
        # What the central system asked, in order, and what this station asked.
        self.received: list[tuple[str, Payload]] = []
        self.sent: deque[Sent] = deque(maxlen=1000)
        # A test's own answer per action: a payload, None for silence; may raise an OCPPError.
        self.answers: dict[str, Callable[[Payload], Payload | None]] = {}
        # What went wrong where nobody was waiting: reconnection, follow-ups, replay.
        self.mishaps: list[SimulatorError] = []
        self.close_code: int | None = None
        self._address: Address | None = None
        self._socket: ClientConnection | None = None
        self._wire: Wire | None = None
        self._reader: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._afterwards: list[Callable[[], Awaitable[object]]] = []
        self._changed = asyncio.Event()
        self._taken: dict[str, int] = {}
        self._closing = False

    @property
    @abc.abstractmethod
    def answering(self) -> Answering:
        """Answers a call of the central system as a real station of this version does."""

    @abc.abstractmethod
    async def come_online(self) -> None:
        """Do what the station does after it reconnected by itself."""

    # ---- the socket -------------------------------------------------------------------

    @property
    def online(self) -> bool:
        """Whether the station has an open socket."""
        return self._wire is not None

    async def connect(
        self,
        url: str,
        station_id: str,
        password: str | bytes | None = None,
        *,
        ssl: tls.SSLContext | None = None,
    ) -> None:
        """Connect to ``url/station_id`` with Basic authentication where there is a password.

        A 1.6 password given as bytes goes out as it is (security white paper A00.FR.205).
        Raises RefusedError, NoSubprotocolError, UnreachableError.
        """
        self.station_id = station_id
        self._address = Address(url, password, ssl)
        self._closing = False
        await self._open()

    async def _open(self) -> None:
        """Open the socket of the kept address and begin to read it."""
        address = self._address
        if address is None:
            raise ConnectionLostError("this station was never connected")
        opened = await open_socket(address, self.station_id, self.protocol, self.options)
        self._socket = opened
        self._wire = Wire(
            opened,
            self.protocol,
            answering=self._answer,
            answered=self._act,
            timeout=self.options.timeout,
            validate=self.options.validate,
        )
        self._reader = asyncio.create_task(self._read(self._wire, opened))
        self._notice()

    async def _read(self, wire: Wire, read: ClientConnection) -> None:
        """Read one socket to its end; then, where the options say so, come back."""
        await wire.run()
        if self._wire is not wire:
            return
        self._wire, self._socket = None, None
        self.close_code = read.close_code
        self._notice()
        if self.options.reconnect and not self._closing:
            self._spawn(self._come_back)

    async def _come_back(self) -> None:
        """Reconnect with growing waits, then replay what was queued."""
        attempt = 0
        while not self._closing and not self.online:
            await asyncio.sleep(self.options.backoff.wait(attempt, self.around.rng))
            attempt += 1
            try:
                await self._open()
            except (RefusedError, UnreachableError, NoSubprotocolError) as failure:
                self.mishaps.append(failure)
                self._notice()
        if self.online:
            await self.come_online()

    async def close(self) -> None:
        """Close the socket and end everything the station was doing."""
        self._closing = True
        doing = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in doing:
            task.cancel()
        await asyncio.gather(*doing, return_exceptions=True)
        await self._shut()

    async def _shut(self) -> None:
        if self._socket is not None:
            await self._socket.close()
        if self._reader is not None:
            await self._reader

    async def drop(self) -> None:
        """Lose the TCP connection without a close frame, as a power cut does."""
        if self._socket is not None and self._reader is not None:
            reader = self._reader
            self._socket.transport.abort()
            await reader

    async def reconnect(self) -> None:
        """Close and connect again to the same address, without booting."""
        self._closing = True
        await self._shut()
        self._closing = False
        await self._open()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def take_password(self, password: str | bytes | None) -> None:
        """Use a new password from the next connection on (A01)."""
        if self._address is not None:
            self._address = replace(self._address, password=password)

    def move(self, url: str, ssl: tls.SSLContext | None = None) -> None:
        """Connect to another address from the next connection on (A05)."""
        if self._address is not None:
            self._address = replace(self._address, url=url, ssl=ssl)

    # ---- waiting ----------------------------------------------------------------------

    def _notice(self) -> None:
        """Wake whoever waits for a change of the station."""
        self._changed.set()
        self._changed = asyncio.Event()

    async def wait_until(
        self, condition: Callable[[], object], deadline: float = PATIENCE_S
    ) -> None:
        """Return as soon as ``condition()`` is true; checked whenever the station changes."""
        try:
            async with asyncio.timeout(deadline):
                while not condition():
                    await self._changed.wait()
        except TimeoutError:
            raise AnswerTimeoutError(f"the condition did not come true in {deadline:g} s") from None

    async def wait_for(self, action: str, deadline: float = PATIENCE_S) -> Payload:
        """Return the next call named ``action`` from the central system, each call once."""
        found: Payload = {}

        def arrived() -> bool:
            nonlocal found
            for place in range(self._taken.get(action, 0), len(self.received)):
                if self.received[place][0] == action:
                    self._taken[action] = place + 1
                    found = self.received[place][1]
                    return True
            return False

        try:
            await self.wait_until(arrived, deadline)
        except AnswerTimeoutError:
            raise AnswerTimeoutError(f"no {action} came within {deadline:g} s") from None
        return found

    async def wait_online(self, deadline: float = PATIENCE_S) -> None:
        """Return when the station is connected."""
        await self.wait_until(lambda: self.online, deadline)

    async def wait_offline(self, deadline: float = PATIENCE_S) -> int | None:
        """Return the close code when the connection has ended."""
        await self.wait_until(lambda: not self.online, deadline)
        return self.close_code

    # ---- calls out --------------------------------------------------------------------

    def _open_wire(self) -> Wire:
        if self._wire is None:
            raise ConnectionLostError("the station is offline", self.close_code)
        return self._wire

    async def call(
        self,
        action: str,
        payload: Payload,
        *,
        message_id: str | None = None,
        overlap: bool = False,
        validate: bool | None = None,
    ) -> Payload:
        """Make any call and return the whole payload of its answer.

        Raises CallFailedError (for a CALLERROR), InvalidAnswerError, AnswerTimeoutError,
        ConnectionLostError.
        """
        sent = Sent(action, payload, message_id or self.around.new_id())
        self.sent.append(sent)
        return await self._open_wire().ask(
            action, payload, sent.message_id, overlap=overlap, validate=validate
        )

    async def resend(self, sent: Sent | None = None, *, same_id: bool = False) -> Payload:
        """Make an earlier call (default: the latest) again, by default under a new message id."""
        again = sent or self.sent[-1]
        return await self.call(
            again.action, again.payload, message_id=again.message_id if same_id else None
        )

    async def calls(self, action: str, payloads: Iterable[Payload]) -> None:
        """Make several calls of one kind, one after the other."""
        for payload in payloads:
            await self.call(action, payload)

    async def send_unanswered(self, action: str, payload: Payload) -> None:
        """Send a SEND, which is never answered (only 2.1 has it, P4 §4.2.3)."""
        await self.send_raw(json.dumps([6, self.around.new_id(), action, payload]))

    async def send_raw(self, text: str) -> None:
        """Send any text, however wrong."""
        await self._open_wire().send_text(text)

    async def receive_raw(self, deadline: float = PATIENCE_S) -> str:
        """Return the next frame that answers no call of ours."""
        return await self._open_wire().receive_text(deadline)

    def set_manual(self, *, on: bool) -> None:
        """Hand every frame to ``receive_raw`` and answer nothing, or stop doing so."""
        self._open_wire().manual = on

    # ---- calls in ---------------------------------------------------------------------

    def _answer(self, action: str, payload: Payload) -> Payload | None:
        self.received.append((action, payload))
        own = self.answers.get(action)
        answer = own(payload) if own else self.answering(action, payload)
        self._notice()
        return answer

    def afterwards(self, doing: Callable[[], Awaitable[object]]) -> None:
        """Do something once the answer to the present call has gone out."""
        if self.options.carry_out:
            self._afterwards.append(doing)

    def _act(self) -> None:
        doings, self._afterwards = self._afterwards, []
        for doing in doings:
            self._spawn(doing)

    def _spawn(self, doing: Callable[[], Awaitable[object]]) -> None:
        async def run() -> None:
            try:
                await doing()
            except SimulatorError as failure:
                self.mishaps.append(failure)
            self._notice()

        task = asyncio.create_task(run())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

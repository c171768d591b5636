"""The simulated station: what all OCPP versions have in common.

A station is driven from outside (``boot``, ``authorize``, ``start`` ...) and answers the
central system by itself. ``Station16`` and ``Station2`` add what differs; ``make_station``
chooses.
"""

from __future__ import annotations

import abc
import asyncio
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voltbus.simulator.certificates import Certificates
from voltbus.simulator.charging import Profiles
from voltbus.simulator.errors import AnswerTimeoutError, CallFailedError, ConnectionLostError
from voltbus.simulator.link import Link
from voltbus.simulator.options import Options, Protocol, Surroundings, timestamp
from voltbus.simulator.transactions import LocalList, Transaction, Undelivered

if TYPE_CHECKING:
    from voltbus.simulator.wire import Payload


@dataclass(frozen=True, slots=True)
class Boot:
    """The answer to BootNotification; ``interval`` in seconds."""

    status: str
    interval: int
    answer: Payload


@dataclass(frozen=True, slots=True)
class Authorized:
    """The answer to Authorize."""

    status: str
    answer: Payload


class Station(Link):
    """A station that charges. Build it with ``make_station``."""

    def __init__(
        self,
        protocol: Protocol,
        options: Options | None = None,
        surroundings: Surroundings | None = None,
    ) -> None:
        super().__init__(protocol, options, surroundings)
        self.connectors = dict.fromkeys(range(1, self.options.connectors + 1), "Available")
        self.operative = dict.fromkeys(range(self.options.connectors + 1), True)
        self.scheduled_availability: dict[int, bool] = {}
        self.profiles = Profiles()
        self.local_list = LocalList()
        self.certificates = Certificates()
        self.transactions: dict[int, Transaction] = {}
        self.outbox: deque[Undelivered] = deque()
        self.reset_when_idle = False
        self._flushing = asyncio.Lock()

    async def come_online(self) -> None:
        """Boot where the options say so (most stations don't), then replay what was queued."""
        if self.options.boot_on_reconnect:
            await self.boot()
        await self.flush()

    async def heartbeat(self) -> str:
        """Return the central system's time."""
        return str((await self.call("Heartbeat", {}))["currentTime"])

    # ---- transaction messages ---------------------------------------------------------

    async def deliver(self, message: Undelivered) -> None:
        """Send a transaction message; offline it is queued, if this station queues."""
        if not self.options.queue_offline:
            message.on_answer(await self.call(message.action, message.payload()))
            return
        self.outbox.append(message)
        self._notice()
        await self.flush()

    async def flush(self) -> None:
        """Send the queued transaction messages in order, until one can't be delivered.

        A message the central system answers with CALLERROR is tried ``most_attempts`` times
        (1.6 TransactionMessageAttempts), then given up and its error kept in ``mishaps``.
        """
        async with self._flushing:
            while self.outbox and self.online:
                message = self.outbox[0]
                message.attempts += 1
                if not (self.options.same_id_on_retry and message.message_id):
                    message.message_id = self.around.new_id()
                try:
                    answer = await self.call(
                        message.action, message.payload(), message_id=message.message_id
                    )
                except CallFailedError as failure:
                    if message.attempts < self.options.most_attempts:
                        continue
                    self.mishaps.append(failure)
                except (ConnectionLostError, AnswerTimeoutError) as failure:
                    self.mishaps.append(failure)
                    return
                else:
                    message.on_answer(answer)
                self.outbox.popleft()
                self._notice()

    # ---- what a station does by itself ------------------------------------------------

    def now(self) -> str:
        """Return the station's time as it stands in messages."""
        return timestamp(self.around.now())

    async def set_state(self, connector: int, state: str) -> None:
        """Change a connector's state and notify it, if it is a change."""
        if self.connectors.get(connector) != state:
            await self.status(connector, state)

    async def charge_remotely(
        self,
        id_token: str,
        connector: int,
        *,
        profile: Payload | None = None,
        authorize: bool = False,
        token_type: str = "ISO14443",  # noqa: S107 - a type, no password
        remote_start_id: int | None = None,
    ) -> None:
        """Do what a remote start asks for: authorize where configured, then start."""
        if authorize and (await self.authorize(id_token, token_type)).status != "Accepted":
            return
        await self.set_state(connector, "Preparing")
        transaction = await self.start(
            id_token, connector, token_type=token_type, remote_start_id=remote_start_id
        )
        if profile is not None:
            self.profiles.install(connector, profile, charging=True)
        if transaction.status in (None, "Accepted"):
            await self.set_state(connector, "Charging")
        else:
            await self.finish(transaction, transaction.meter_wh, "DeAuthorized")

    async def finish(self, transaction: Transaction, meter_wh: int, reason: str) -> None:
        """Stop a transaction, free its connector, and do what waited for that."""
        await self.stop(transaction, meter_wh, reason)
        self.profiles.clear(evse=transaction.connector, purpose="TxProfile")
        await self.freed(transaction.connector)
        if self.reset_when_idle and not self.transactions:
            self.reset_when_idle = False
            await self.restart("Reboot")

    async def restart(self, stop_reason: str) -> None:
        """Reboot: end the transactions, close, connect again, boot, notify every connector."""
        for transaction in list(self.transactions.values()):
            await self.stop(transaction, transaction.meter_wh, stop_reason)
        await self.reconnect()
        await self.boot()
        for connector, state in self.connectors.items():
            await self.status(connector, state)

    def change_availability(self, connector: int, *, operative: bool) -> str:
        """Take a connector (0: the station) in or out of service; Scheduled while it is busy."""
        if connector not in self.operative:
            return "Rejected"
        touched = [connector] if connector else list(self.connectors)
        if not connector:
            self.operative[0] = operative
        busy = [one for one in touched if one in self.transactions]
        for one in touched:
            if one in busy:
                self.scheduled_availability[one] = operative
            else:
                self._set_operative(one, operative=operative)
        return "Scheduled" if busy else "Accepted"

    def _set_operative(self, connector: int, *, operative: bool) -> None:
        self.operative[connector] = operative
        # An order that changes nothing changes no state: a connector may be reserved or preparing.
        if operative != (self.connectors[connector] != "Unavailable"):
            state = "Available" if operative else "Unavailable"
            self.afterwards(lambda: self.set_state(connector, state))

    async def freed(self, connector: int) -> None:
        """Apply what was scheduled for the time after a transaction, and notify the state."""
        if connector in self.scheduled_availability:
            self.operative[connector] = self.scheduled_availability.pop(connector)
        await self.set_state(connector, "Available" if self.operative[connector] else "Unavailable")

    # ---- what differs by version ------------------------------------------------------

    @property
    @abc.abstractmethod
    def settings(self) -> dict[str, Any]:
        """What the central system has set: keys, charging profiles, availability, list."""

    @abc.abstractmethod
    async def boot(self, reason: str = "PowerUp") -> Boot:
        """Send BootNotification."""

    @abc.abstractmethod
    async def status(self, connector: int, state: str) -> None:
        """Send StatusNotification. States by 1.6's names; 2.x shows the busy ones as Occupied."""

    @abc.abstractmethod
    async def authorize(self, id_token: str, token_type: str = "ISO14443") -> Authorized:  # noqa: S107 - a type, no password
        """Ask whether an id token may charge (1.6 knows no types)."""

    @abc.abstractmethod
    async def start(
        self,
        id_token: str,
        connector: int = 1,
        meter_wh: int = 0,
        *,
        token_type: str = "ISO14443",  # noqa: S107 - a type, no password
        remote_start_id: int | None = None,
    ) -> Transaction:
        """Begin a transaction on a connector (2.x: on the EVSE of that number)."""

    @abc.abstractmethod
    async def meter(self, transaction: Transaction, wh: int) -> None:
        """Report a transaction's meter register, in Wh."""

    @abc.abstractmethod
    async def stop(
        self, transaction: Transaction, meter_wh: int, reason: str = "Local"
    ) -> Transaction:
        """End a transaction."""

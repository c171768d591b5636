"""One WebSocket of a station, on the ``ocpp`` library's charge point.

The library brings the message classes, the schemas and the receive loop; this module adds
what a simulator needs on top: payloads as plain dictionaries in OCPP's own spelling, answers
matched by message id (so that calls may overlap, as real stations do), and every frame that
answers nothing of ours handed out raw.

The library's loop is serial, which is harmless here: a CALL of the central system is answered
inside the loop, synchronously, even while a call of ours waits; what the station does
afterwards runs as a task of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ocpp.charge_point import ChargePoint
from ocpp.exceptions import FormatViolationError, InternalError, NotSupportedError, OCPPError
from ocpp.messages import Call, CallError, CallResult, unpack, validate_payload
from ocpp.v16.enums import Action as Action16
from ocpp.v21.enums import Action as Action21
from ocpp.v201.enums import Action as Action201
from websockets.exceptions import ConnectionClosed

from voltbus.simulator.errors import (
    AnswerTimeoutError,
    CallFailedError,
    ConnectionLostError,
    InvalidAnswerError,
    InvalidCallError,
)

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

Payload = dict[str, Any]
# Answers a CALL: the payload, or None to stay silent; raises OCPPError for a CALLERROR.
Answering = Callable[[str, Payload], Payload | None]

ACTIONS: dict[str, frozenset[str]] = {
    version: frozenset(str(action.value) for action in actions)
    for version, actions in (("1.6", Action16), ("2.0.1", Action201), ("2.1", Action21))
}

# The library logs whole messages, tokens included: its log goes nowhere.
_SILENT = logging.getLogger("voltbus.simulator.wire")
_SILENT.addHandler(logging.NullHandler())
_SILENT.propagate = False


class Wire(ChargePoint):  # type: ignore[misc]  # the library publishes no types
    """A connected socket: calls out, answers in, calls in, answers out."""

    def __init__(
        self,
        connection: ClientConnection,
        version: str,
        *,
        answering: Answering,
        answered: Callable[[], None],
        timeout: float,
        validate: bool,
    ) -> None:
        super().__init__("", connection, response_timeout=timeout, logger=_SILENT)
        self._ocpp_version = version
        self._socket = connection
        self._answering = answering
        self._answered = answered
        self._validate = validate
        self._waiting: dict[str, asyncio.Future[CallResult | CallError]] = {}
        self.unmatched: asyncio.Queue[str] = asyncio.Queue()
        self.manual = False

    async def run(self) -> None:
        """Read until the socket closes, then let everything that waits know."""
        with contextlib.suppress(ConnectionClosed):
            await self.start()
        lost = self._lost()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(lost)

    def _lost(self) -> ConnectionLostError:
        code = self._socket.close_code
        return ConnectionLostError(f"the connection closed ({code or 'no close code'})", code)

    async def send_text(self, text: str) -> None:
        """Send any text; raises ConnectionLostError."""
        try:
            await self._socket.send(text)
        except ConnectionClosed as closed:
            raise self._lost() from closed

    async def route_message(self, raw_msg: str | bytes) -> None:
        """Take one received frame where it belongs (overrides the library's)."""
        text = raw_msg if isinstance(raw_msg, str) else raw_msg.decode("utf-8", "replace")
        try:
            message = None if self.manual else unpack(text)
        except OCPPError:
            message = None
        if isinstance(message, Call):
            await self._take_call(message)
            return
        future = None if message is None else self._waiting.get(str(message.unique_id))
        if future is None or future.done():
            self.unmatched.put_nowait(text)
        else:
            future.set_result(message)

    async def _take_call(self, message: Call) -> None:
        """Answer a CALL of the central system; a closed socket ends it quietly."""
        try:
            reply = await self._reply_to(message)
        except OCPPError as error:
            reply = message.create_call_error(error)
            reply.error_details = {}  # the library puts the whole message here
        if reply is not None:
            with contextlib.suppress(ConnectionClosed):
                await self._socket.send(reply.to_json())
        self._answered()

    async def _reply_to(self, message: Call) -> CallResult | None:
        if message.action not in ACTIONS[self._ocpp_version]:
            raise NotSupportedError
        if not isinstance(message.payload, dict):
            raise FormatViolationError
        payload = json.loads(json.dumps(message.payload))  # validation may turn floats to Decimal
        if self._validate:
            await validate_payload(message, self._ocpp_version)
        try:
            answer = self._answering(message.action, payload)
        except OCPPError:
            raise
        except Exception as bug:
            raise InternalError from bug
        return None if answer is None else message.create_call_result(answer)

    async def ask(
        self,
        action: str,
        payload: Payload,
        message_id: str,
        *,
        overlap: bool = False,
        validate: bool | None = None,
    ) -> Payload:
        """Send a CALL and return the payload of its answer.

        With ``overlap`` the call goes out even if another one is still open (pipelining);
        else it waits its turn, as OCPP asks. Raises InvalidCallError, CallFailedError,
        InvalidAnswerError, AnswerTimeoutError, ConnectionLostError.
        """
        checked = self._validate if validate is None else validate
        call = Call(message_id, action, payload)
        if checked:
            await self._check_call(call)
        if overlap:
            answer = await self._round_trip(call)
        else:
            async with self._call_lock:
                answer = await self._round_trip(call)
        if isinstance(answer, CallError):
            raise CallFailedError(
                action,
                str(answer.error_code),
                str(answer.error_description or ""),
                answer.error_details,
            )
        whole: Payload = json.loads(json.dumps(answer.payload))
        if checked:
            answer.action = action
            try:
                await validate_payload(answer, self._ocpp_version)
            except OCPPError as error:
                if self._ocpp_version == "2.1":  # CALLRESULTERROR (2.1 P4 §4.2.4)
                    complaint = [5, message_id, error.code, "the answer breaks its schema", {}]
                    await self.send_text(json.dumps(complaint))
                raise InvalidAnswerError(action, error.code) from None
        return whole

    async def _check_call(self, call: Call) -> None:
        try:
            await validate_payload(call, self._ocpp_version)
        except OCPPError as error:
            raise InvalidCallError(call.action, error.code) from None

    async def _round_trip(self, call: Call) -> CallResult | CallError:
        future = asyncio.get_running_loop().create_future()
        self._waiting[call.unique_id] = future
        try:
            await self.send_text(call.to_json())
            async with asyncio.timeout(self._response_timeout):
                return await future
        except TimeoutError:
            raise AnswerTimeoutError(
                f"{call.action} was not answered within {self._response_timeout:g} s"
            ) from None
        finally:
            del self._waiting[call.unique_id]
            if future.done() and not future.cancelled():
                future.exception()  # taken here, so that asyncio never warns about it

    async def receive_text(self, deadline: float) -> str:
        """Return the next frame that answered no call of ours, within ``deadline`` seconds."""
        try:
            async with asyncio.timeout(deadline):
                return await self.unmatched.get()
        except TimeoutError:
            raise AnswerTimeoutError(f"no frame within {deadline:g} s") from None

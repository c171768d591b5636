"""The OCPP-J frames: JSON arrays to typed messages and back (OCPP-J 1.6 §4, 2.x Part 4 §4).

``decode`` raises ``FrameError``, which carries the CALLERROR that the other side is owed, if any.
Choices where the versions are silent:

- A message id that is no string is refused: both versions say string[36], and stations that count
  send numeric *strings*. 1.6 gets the number back as text, so that its maker can see which call
  failed; 2.x gets "-1", its word for "unreadable".
- 1.6 names no answer to a text whose id can't be read; we use 2.x's "-1" with FormationViolation:
  a station drops an id it doesn't know, and its maker sees why nothing happened.
- Answers (CALLRESULT, CALLERROR) are never answered, except that 2.1 has CALLRESULTERROR.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec
import orjson

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.wire.errors import DESCRIPTION_LIMIT, ErrorCode, OcppError

Payload = dict[str, Any]

ID_LIMIT = 36
UNREADABLE_ID = "-1"
# A code or id of the other side that we only report: long enough for any real one.
REPORTED_LIMIT = 64

# How an answer begins, as far as its id. Ours are made of letters, digits and "-".
_ANSWER_HEAD = re.compile(r'\s*\[\s*[34]\s*,\s*"([A-Za-z0-9-]{1,36})"')
_HEAD = 128

_CALL = 2
_CALL_RESULT = 3
_CALL_ERROR = 4
_CALL_RESULT_ERROR = 5
_SEND = 6

_CALL_BEGINS = re.compile(rb'[ \t\r\n]*\[[ \t\r\n]*2[ \t\r\n]*,[ \t\r\n]*"[^"\\]{1,36}"[ \t\r\n]*,')


class Call(msgspec.Struct, frozen=True):
    """A request: ``[2, id, action, payload]``."""

    id: str
    action: str
    payload: Payload

    def __repr__(self) -> str:
        """Leave the payload out: it may hold an id token."""
        return f"Call(id={self.id!r}, action={self.action!r})"


class Send(msgspec.Struct, frozen=True):
    """A message that is never answered (2.1): ``[6, id, action, payload]``."""

    id: str
    action: str
    payload: Payload

    def __repr__(self) -> str:
        """Leave the payload out."""
        return f"Send(id={self.id!r}, action={self.action!r})"


class CallResult(msgspec.Struct, frozen=True):
    """The answer to a call: ``[3, id, payload]``."""

    id: str
    payload: Payload

    def __repr__(self) -> str:
        """Leave the payload out."""
        return f"CallResult(id={self.id!r})"


class CallError(msgspec.Struct, frozen=True):
    """A call failed: ``[4, id, code, description, details]``. ``code`` as it is spelled."""

    id: str
    code: str
    description: str = ""


class CallResultError(msgspec.Struct, frozen=True):
    """A result could not be read (2.1): ``[5, id, code, description, details]``."""

    id: str
    code: str
    description: str = ""


Frame = Call | CallResult | CallError | CallResultError | Send


class FrameError(OcppError):
    """A text that is no OCPP-J message.

    ``answer`` is the CALLERROR that the other side is owed, or None when it must be ignored.
    ``answered_id`` is the id of our call when what was broken is its answer.
    """

    def __init__(
        self, reason: str, answer: CallError | None = None, answered_id: str | None = None
    ) -> None:
        super().__init__(reason)
        self.reason = reason
        self.answer = answer
        self.answered_id = answered_id


def may_wait(data: bytes) -> bool:
    """Whether it begins as a call with a sound id: then it needs no look before its turn."""
    return _CALL_BEGINS.match(data) is not None


def decode(data: str | bytes, protocol: Protocol) -> Frame:
    """Read one WebSocket message.

    Raises:
        FrameError: it is no message of this version.
    """
    try:
        parts = orjson.loads(data)
    except orjson.JSONDecodeError:
        raise _refuse_no_json(data, protocol) from None
    if type(parts) is list and len(parts) == 4 and parts[0] == _CALL:  # noqa: PLR2004 - [type, id, action, payload]
        _, id_, action, payload = parts
        if type(id_) is str and len(id_) <= ID_LIMIT and type(action) is str:
            if type(payload) is dict:
                return Call(id_, action, payload)
            raise _refuse(protocol, "The payload is no object", id_, ErrorCode.FORMAT_VIOLATION)
    return _decode_others(parts, protocol)


def _refuse_no_json(data: str | bytes, protocol: Protocol) -> FrameError:
    """An answer whose end is broken still says which call it answers: nobody has to wait on."""
    head = data[:_HEAD] if isinstance(data, str) else data[:_HEAD].decode("utf-8", "replace")
    answered = _ANSWER_HEAD.match(head)
    reason = "The message is no JSON"
    if answered is not None:
        return FrameError(reason, answered_id=answered[1])
    return _refuse(protocol, reason, None)


def _decode_others(parts: Any, protocol: Protocol) -> Frame:
    if type(parts) is not list or not parts:
        raise _refuse(protocol, "The message is no array with elements", None)
    kind = parts[0]
    id_ = parts[1] if len(parts) > 1 else None
    if type(kind) is not int:
        raise _refuse(protocol, "The message type is no number", id_)
    if kind == _CALL:
        raise _refuse_call(parts, id_, protocol)
    if kind == _CALL_RESULT:
        return _decode_result(parts, id_)
    if kind == _CALL_ERROR:
        return CallError(*_error_parts(parts, id_))
    if protocol is Protocol.OCPP21:
        if kind == _CALL_RESULT_ERROR:
            return CallResultError(*_error_parts(parts, id_))
        if kind == _SEND:
            return _decode_send(parts)
    if protocol is Protocol.OCPP201:
        raise _refuse(protocol, "Unknown message type", id_, ErrorCode.MESSAGE_TYPE_NOT_SUPPORTED)
    # 1.6 §4.1.3 and 2.1 Part 4: a message of an unknown type is ignored.
    raise FrameError("Unknown message type")


def _refuse_call(parts: list[Any], id_: Any, protocol: Protocol) -> FrameError:
    if type(id_) is not str or len(id_) > ID_LIMIT:
        return _refuse(protocol, "The message id is no string of at most 36 characters", id_)
    if len(parts) != 4:  # noqa: PLR2004 - [type, id, action, payload]
        return _refuse(protocol, "A call has four elements", id_)
    return _refuse(protocol, "The action is no string", id_)


def _decode_result(parts: list[Any], id_: Any) -> CallResult:
    if type(id_) is not str:
        raise FrameError("An answer without a message id")
    if len(parts) != 3 or type(parts[2]) is not dict:  # noqa: PLR2004 - [type, id, payload]
        raise FrameError("An answer whose payload is no object", answered_id=id_)
    return CallResult(id_, parts[2])


def _decode_send(parts: list[Any]) -> Send:
    # Never answered, not even when it is broken (2.1 Part 4 §4.2.4).
    match parts:
        case [_, str(id_), str(action), dict(payload)]:
            return Send(id_, action, payload)
        case _:
            raise FrameError("A SEND that is no [6, id, action, payload]")


def _error_parts(parts: list[Any], id_: Any) -> tuple[str, str, str]:
    # Lenient: even if the rest is unreadable, the station reports that the call failed.
    if type(id_) is not str:
        raise FrameError("An error without a message id")
    code = parts[2] if len(parts) > 2 else None  # noqa: PLR2004 - [type, id, code, ...]
    description = parts[3] if len(parts) > 3 else None  # noqa: PLR2004 - as above
    return (
        id_,
        code[:REPORTED_LIMIT] if type(code) is str and code else ErrorCode.GENERIC_ERROR.value,
        description[:DESCRIPTION_LIMIT] if type(description) is str else "",
    )


def _refuse(
    protocol: Protocol,
    reason: str,
    id_: Any,
    code: ErrorCode = ErrorCode.RPC_FRAMEWORK_ERROR,
) -> FrameError:
    return FrameError(
        reason, CallError(_make_answerable(id_, protocol), code.spell(protocol), reason)
    )


def _make_answerable(id_: Any, protocol: Protocol) -> str:
    if type(id_) is str and len(id_) <= ID_LIMIT:
        return id_
    if protocol is Protocol.OCPP16:
        if type(id_) is str and len(id_) <= DESCRIPTION_LIMIT:
            return id_
        if type(id_) is int:
            return str(id_)
    return UNREADABLE_ID


def encode_call(id_: str, action: str, payload: Payload) -> bytes:
    """A CALL, as UTF-8 text."""
    return orjson.dumps((_CALL, id_, action, payload))


def encode_result(id_: str, payload: Payload) -> bytes:
    """A CALLRESULT, as UTF-8 text."""
    return orjson.dumps((_CALL_RESULT, id_, payload))


def encode_error(id_: str, code: ErrorCode, description: str, protocol: Protocol) -> bytes:
    """A CALLERROR in the version's spelling, as UTF-8 text."""
    return orjson.dumps(
        (_CALL_ERROR, id_, code.spell(protocol), description[:DESCRIPTION_LIMIT], {})
    )


def encode_refusal(answer: CallError) -> bytes:
    """The CALLERROR that a ``FrameError`` carries."""
    return orjson.dumps((_CALL_ERROR, answer.id, answer.code, answer.description, {}))


def encode_result_error(id_: str, code: ErrorCode, description: str) -> bytes:
    """A CALLRESULTERROR (2.1): the answer that came could not be read."""
    return orjson.dumps((_CALL_RESULT_ERROR, id_, code.value, description[:DESCRIPTION_LIMIT], {}))

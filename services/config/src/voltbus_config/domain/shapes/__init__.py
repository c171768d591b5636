"""Commands that read the same for every OCPP version: ``remote_start``, ``reset``, ...

A command whose action is one of ``SHAPES`` carries a payload of ours; it becomes an OCPP call when
it is sent, since only then it is certain which version the station speaks. Pure. Each shape knows
its call in 1.6 and in 2.x; ``number`` is the command's own, for requests that need an id.
"""

import re
import zlib
from typing import Any

import msgspec

from voltbus_backbone.contract.values import Protocol
from voltbus_backbone.values import actions, storable
from voltbus_config.domain.commands import Command
from voltbus_config.domain.compile import Unsupported
from voltbus_config.domain.mistake import Mistake
from voltbus_config.domain.reservations import CANCEL, RESERVE
from voltbus_config.domain.shapes.control import (
    UNREGISTERED,
    CancelReservation,
    ChangeAvailability,
    ClearCache,
    RemoteStart,
    RemoteStop,
    Reserve,
    Reset,
    SetPassword,
    Trigger,
    Unlock,
)
from voltbus_config.domain.shapes.files import GetLog, UpdateFirmware
from voltbus_config.domain.shapes.shape import Call, Shape

__all__ = [
    "REMOTE_START",
    "SHAPES",
    "UNREGISTERED",
    "build_call",
    "find_problem",
    "find_reservation_problem",
]

REMOTE_START = "remote_start"
SHAPES: dict[str, type[Shape]] = {
    REMOTE_START: RemoteStart,
    "remote_stop": RemoteStop,
    "reset": Reset,
    "unlock": Unlock,
    "change_availability": ChangeAvailability,
    "trigger": Trigger,
    "get_log": GetLog,
    "update_firmware": UpdateFirmware,
    "clear_cache": ClearCache,
    "set_password": SetPassword,
}

# Behind resources of their own; nobody asks for them by name.
_INTERNAL: dict[str, type[Shape]] = {RESERVE: Reserve, CANCEL: CancelReservation}


class OutOfRangeError(Unsupported):
    """A value of the right type that no call can carry."""


# msgspec quotes the value that is no member of an enumeration.
# A member of a shape, an index; "..." stands for a key that came with the request.
_PLACE = re.compile(r"(\.[a-z_0-9]+|\[[0-9]+\]|\[\.\.\.\])*")
_QUOTED = re.compile(r" '.*'(?= - at |$)", re.DOTALL)


def find_problem(action: str, payload: dict[str, Any]) -> Mistake | None:
    """Return what is wrong with a command as it was asked for, or None.

    The payloads of OCPP's own actions (CamelCase) are checked by the gateway, which has their
    schemas.
    """
    try:
        storable.check(payload)
    except storable.NotStorableError as error:
        return Mistake("payload", str(error))
    shape = SHAPES.get(action)
    return _check_ocpp_action(action) if shape is None else _find_misfit(payload, shape)


def find_reservation_problem(payload: dict[str, Any]) -> Mistake | None:
    """Return what of a reservation can be sent to no station, or None."""
    try:
        storable.check(payload)
    except storable.NotStorableError as error:
        return Mistake("payload", str(error))
    return _find_misfit(payload, Reserve)


def _find_misfit(payload: dict[str, Any], shape: type[Shape]) -> Mistake | None:
    try:
        wanted = msgspec.convert(payload, shape)
    except msgspec.ValidationError as error:
        return _describe_misfit(error)
    for protocol in Protocol:
        try:
            _build(wanted, protocol, 0)
        except OutOfRangeError as error:
            return Mistake("payload", str(error))
        except Unsupported:
            continue  # refused later, when the station's version is certain
    return None


def _check_ocpp_action(action: str) -> Mistake | None:
    if actions.can_be_sent(action):
        return None
    if action[:1].isupper():
        return Mistake("action", "no version of OCPP has such a call to a charging station")
    names = ", ".join(SHAPES)
    return Mistake("action", f"no such action; ours are {names}, OCPP's begin with a capital")


def _describe_misfit(error: msgspec.ValidationError) -> Mistake:
    """Read msgspec's sentence, without what it quotes, and the member that it names at its end."""
    message, _, place = _QUOTED.sub("", str(error)).partition(" - at `$")
    place = place.rstrip("`")
    return Mistake(f"payload{place}" if _PLACE.fullmatch(place) else "payload", message)


def build_call(command: Command, protocol: Protocol) -> Call:
    """Build the OCPP action and payload of a command, in the station's version.

    Raises:
        Unsupported: this version can't do it, or what was stored makes no call.
    """
    payload = command.payload or {}
    kind = SHAPES.get(command.action) or _INTERNAL.get(command.action)
    if kind is None:
        return command.action, payload
    number = zlib.crc32(command.id.encode()) & 0x7FFFFFFF
    try:
        return _build(msgspec.convert(payload, kind), protocol, number)
    except msgspec.ValidationError:
        raise Unsupported("the stored payload is not this command's") from None


def _build(shape: Shape, protocol: Protocol, number: int) -> Call:
    """Build the call of a shape.

    A number of thousands of digits, or a moment before the year 1 in UTC, has a type that fits:
    it must end this command, and not what is behind it in the station's queue.

    Raises:
        Unsupported: this version can't do it. OutOfRangeError: no version can.
    """
    try:
        return shape.call(protocol, number)
    except (ValueError, OverflowError):
        raise OutOfRangeError("a number or a time is out of range") from None

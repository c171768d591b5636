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
from voltbus_config.domain.commands import Command
from voltbus_config.domain.shapes.control import (
    ChangeAvailability,
    ClearCache,
    RemoteStart,
    RemoteStop,
    Reset,
    SetPassword,
    Trigger,
    Unlock,
)
from voltbus_config.domain.shapes.files import GetLog, UpdateFirmware
from voltbus_config.domain.shapes.shape import Call, Shape

__all__ = ["SHAPES", "as_call", "problem"]

SHAPES: dict[str, type[Shape]] = {
    "remote_start": RemoteStart,
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


# msgspec quotes the value that is no member of an enumeration.
_QUOTED = re.compile(r" '.*'(?= - at |$)", re.DOTALL)


def problem(action: str, payload: dict[str, Any]) -> str | None:
    """What is wrong with a command as it was asked for, or None.

    OCPP's own actions (CamelCase) are checked by the gateway, which has their schemas.
    """
    shape = SHAPES.get(action)
    if shape is None:
        if action[:1].isupper():
            return None
        return f"no such action; ours are {', '.join(SHAPES)}, OCPP's begin with a capital"
    try:
        msgspec.convert(payload, shape)
    except msgspec.ValidationError as error:
        return _QUOTED.sub("", str(error))
    return None


def as_call(command: Command, protocol: Protocol) -> Call:
    """The OCPP action and payload of a command, in the station's version.

    Raises:
        Unsupported: this version can't do it.
    """
    payload = command.payload or {}
    kind = SHAPES.get(command.action)
    if kind is None:
        return command.action, payload
    number = zlib.crc32(command.id.encode()) & 0x7FFFFFFF
    return msgspec.convert(payload, kind).call(protocol, number)

"""Commands that read the same for every OCPP version: ``remote_start``, ``reset``, ...

A command whose action is one of ``SHAPES`` carries a payload of ours; it becomes an OCPP call when
it is sent, since only then it is certain which version the station speaks. Pure. Each shape knows
its call in 1.6 and in 2.x; ``number`` is the command's own, for requests that need an id.
"""

import re
import zlib
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain.commands import Command
from voltbus_config.domain.compile.forms import Unsupported

Call = tuple[str, dict[str, Any]]


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the shapes have in common: unknown members are mistakes."""

    def call(self, protocol: Protocol, number: int) -> Call:
        """The OCPP call in this version, with its empty optionals left out (ocpp-rules A18).

        Raises:
            Unsupported: this version can't do it.
        """
        made = self._v16 if protocol is Protocol.OCPP16 else self._v2
        action, payload = made(number)
        return action, _without_nones(payload)

    def _v16(self, number: int) -> Call:
        raise NotImplementedError

    def _v2(self, number: int) -> Call:
        raise NotImplementedError


class RemoteStart(Shape, frozen=True, kw_only=True):
    """Start charging for this token. ``type`` is OCPP 2.x's kind of token."""

    id_token: str
    type: str = "Central"
    evse_id: int | None = None
    connector_id: int | None = None
    remote_start_id: int | None = None

    def _v16(self, _number: int) -> Call:
        place = self.evse_id if self.connector_id is None else self.connector_id
        return "RemoteStartTransaction", {"idTag": self.id_token, "connectorId": place}

    def _v2(self, number: int) -> Call:
        return "RequestStartTransaction", {
            "idToken": {"idToken": self.id_token, "type": self.type},
            "remoteStartId": number if self.remote_start_id is None else self.remote_start_id,
            "evseId": self.evse_id,
        }


class RemoteStop(Shape, frozen=True, kw_only=True):
    """Stop this transaction; the id is the one that the station knows."""

    transaction_id: str | int

    def _v16(self, _number: int) -> Call:
        if not str(self.transaction_id).isdigit():
            raise Unsupported("transaction ids of OCPP 1.6 are whole numbers")
        return "RemoteStopTransaction", {"transactionId": int(self.transaction_id)}

    def _v2(self, _number: int) -> Call:
        return "RequestStopTransaction", {"transactionId": str(self.transaction_id)}


class Reset(Shape, frozen=True, kw_only=True):
    """Restart the station, or in 2.x one of its EVSEs: at once, or when nobody charges."""

    type: Literal["immediate", "on_idle"] = "on_idle"
    evse_id: int | None = None

    def _v16(self, _number: int) -> Call:
        if self.evse_id is not None:
            raise Unsupported("OCPP 1.6 resets whole stations only")
        return "Reset", {"type": "Hard" if self.type == "immediate" else "Soft"}

    def _v2(self, _number: int) -> Call:
        kind = "Immediate" if self.type == "immediate" else "OnIdle"
        return "Reset", {"type": kind, "evseId": self.evse_id}


class Unlock(Shape, frozen=True, kw_only=True):
    """Release the cable. 1.6 counts connectors through the whole station: there, give only one."""

    evse_id: int | None = None
    connector_id: int = 1

    def _v16(self, _number: int) -> Call:
        place = self.connector_id if self.evse_id is None else self.evse_id
        return "UnlockConnector", {"connectorId": place}

    def _v2(self, _number: int) -> Call:
        evse = 1 if self.evse_id is None else self.evse_id
        return "UnlockConnector", {"evseId": evse, "connectorId": self.connector_id}


class ChangeAvailability(Shape, frozen=True, kw_only=True):
    """Take the station, an EVSE or a connector in or out of use."""

    operative: bool
    evse_id: int | None = None
    connector_id: int | None = None

    def _v16(self, _number: int) -> Call:
        place = self.evse_id if self.connector_id is None else self.connector_id
        return "ChangeAvailability", {"connectorId": place or 0, "type": self._word()}

    def _v2(self, _number: int) -> Call:
        place = _evse(self.evse_id, self.connector_id)
        return "ChangeAvailability", {"operationalStatus": self._word(), "evse": place}

    def _word(self) -> str:
        return "Operative" if self.operative else "Inoperative"


_TRIGGERS = {
    "boot": "BootNotification",
    "heartbeat": "Heartbeat",
    "status": "StatusNotification",
    "meter_values": "MeterValues",
    "firmware_status": "FirmwareStatusNotification",
}


class Trigger(Shape, frozen=True, kw_only=True):
    """Make the station send a message now."""

    message: Literal[
        "boot",
        "heartbeat",
        "status",
        "meter_values",
        "firmware_status",
        "log_status",
        "sign_certificate",
    ]
    evse_id: int | None = None
    connector_id: int | None = None

    def _v16(self, _number: int) -> Call:
        if self.message == "sign_certificate":  # only the security extension can ask for it
            return "ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}
        wanted = _TRIGGERS.get(self.message, "DiagnosticsStatusNotification")
        place = self.evse_id if self.connector_id is None else self.connector_id
        return "TriggerMessage", {"requestedMessage": wanted, "connectorId": place}

    def _v2(self, _number: int) -> Call:
        others = {
            "log_status": "LogStatusNotification",
            "sign_certificate": "SignChargingStationCertificate",
        }
        return "TriggerMessage", {
            "requestedMessage": {**_TRIGGERS, **others}[self.message],
            "evse": _evse(self.evse_id, self.connector_id),
        }


class GetLog(Shape, frozen=True, kw_only=True):
    """Upload diagnostics, or the security log, to a location (a URL)."""

    location: str
    kind: Literal["diagnostics", "security"] = "diagnostics"
    since: datetime | None = None
    until: datetime | None = None
    retries: int | None = None
    retry_interval_s: int | None = None

    def _v16(self, number: int) -> Call:
        if self.kind == "security":
            return self._v2(number)  # the security extension has 2.x's message
        return "GetDiagnostics", {
            "location": self.location,
            "startTime": _time(self.since),
            "stopTime": _time(self.until),
            "retries": self.retries,
            "retryInterval": self.retry_interval_s,
        }

    def _v2(self, number: int) -> Call:
        return "GetLog", {
            "logType": "SecurityLog" if self.kind == "security" else "DiagnosticsLog",
            "requestId": number,
            "log": {
                "remoteLocation": self.location,
                "oldestTimestamp": _time(self.since),
                "latestTimestamp": _time(self.until),
            },
            "retries": self.retries,
            "retryInterval": self.retry_interval_s,
        }


class UpdateFirmware(Shape, frozen=True, kw_only=True):
    """Fetch firmware from a location (a URL) and install it; signed when a signature is given."""

    location: str
    retrieve_at: datetime
    install_at: datetime | None = None
    signature: str | None = None
    signing_certificate: str | None = None
    retries: int | None = None
    retry_interval_s: int | None = None

    def _v16(self, number: int) -> Call:
        if self.signature is not None:
            return "SignedUpdateFirmware", self._signed(number)
        return "UpdateFirmware", {
            "location": self.location,
            "retrieveDate": _time(self.retrieve_at),
            "retries": self.retries,
            "retryInterval": self.retry_interval_s,
        }

    def _v2(self, number: int) -> Call:
        return "UpdateFirmware", self._signed(number)

    def _signed(self, number: int) -> dict[str, Any]:
        return {
            "requestId": number,
            "firmware": {
                "location": self.location,
                "retrieveDateTime": _time(self.retrieve_at),
                "installDateTime": _time(self.install_at),
                "signature": self.signature,
                "signingCertificate": self.signing_certificate,
            },
            "retries": self.retries,
            "retryInterval": self.retry_interval_s,
        }


class ClearCache(Shape, frozen=True, kw_only=True):
    """Forget the authorization cache."""

    def _v16(self, _number: int) -> Call:
        return "ClearCache", {}

    _v2 = _v16


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


def _evse(evse_id: int | None, connector_id: int | None) -> dict[str, Any] | None:
    return None if evse_id is None else {"id": evse_id, "connectorId": connector_id}


def _time(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _without_nones(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nones(each) for key, each in value.items() if each is not None}
    return value

"""Start, stop, reset, unlock, availability, trigger, cache, password."""

from datetime import datetime
from typing import Annotated, Any, Literal

from msgspec import Meta

from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain.compile.forms import Unsupported
from voltbus_config.domain.shapes.profile import ChargingProfile
from voltbus_config.domain.shapes.shape import Call, Shape, moment

# What a token is in OCPP 2.x that nobody registered: one that we made (2.x C05).
UNREGISTERED = "Central"


class RemoteStart(Shape, frozen=True, kw_only=True):
    """Start charging for this token. ``type`` is OCPP 2.x's kind of token.

    Without ``type`` it is that of the registered token with this value, as in 1.6, which has none.
    2.x starts at an EVSE: its connector is the driver's choice. ``charging_profile``: how fast;
    ``ocpp_charging_profile``: the same in the station's own words, ChargingProfile of its version.
    """

    id_token: str
    type: str | None = None
    evse_id: int | None = None
    connector_id: int | None = None
    remote_start_id: int | None = None
    charging_profile: ChargingProfile | None = None
    ocpp_charging_profile: dict[str, Any] | None = None

    def __post_init__(self) -> None:
        """There is one profile, and it is of this transaction (1.6 §5.11, 2.0.1 F01.FR.08)."""
        own = self.ocpp_charging_profile
        if own is None:
            return
        if self.charging_profile is not None:
            raise ValueError("give charging_profile or ocpp_charging_profile, not both")
        if own.get("chargingProfilePurpose") != "TxProfile" or "transactionId" in own:
            raise ValueError(
                "ocpp_charging_profile: chargingProfilePurpose is TxProfile, with no transactionId"
            )

    def _v16(self, number: int) -> Call:
        place = _connector(self.evse_id, self.connector_id)
        return "RemoteStartTransaction", {
            "idTag": self.id_token,
            "connectorId": place,
            "chargingProfile": self._profile(Protocol.OCPP16, number),
        }

    def _v2(self, number: int) -> Call:
        _evse(self.evse_id, self.connector_id)
        return "RequestStartTransaction", {
            "idToken": {"idToken": self.id_token, "type": self.type or UNREGISTERED},
            "remoteStartId": number if self.remote_start_id is None else self.remote_start_id,
            "evseId": self.evse_id,
            "chargingProfile": self._profile(Protocol.OCPP201, number),
        }

    def _profile(self, protocol: Protocol, number: int) -> dict[str, Any] | None:
        if self.charging_profile is None:
            return self.ocpp_charging_profile
        return self.charging_profile.ocpp(protocol, number)


class Reserve(Shape, frozen=True, kw_only=True):
    """Keep a place for this token: any at the station where none is named (1.6 connector 0)."""

    id_token: str
    number: int
    expires_at: datetime
    type: str | None = None
    evse_id: int | None = None
    connector_id: int | None = None

    def _v16(self, _number: int) -> Call:
        place = _connector(self.evse_id, self.connector_id)
        return "ReserveNow", {
            "connectorId": 0 if place is None else place,
            "expiryDate": moment(self.expires_at),
            "idTag": self.id_token,
            "reservationId": self.number,
        }

    def _v2(self, _number: int) -> Call:
        _evse(self.evse_id, self.connector_id)
        return "ReserveNow", {
            "id": self.number,
            "expiryDateTime": moment(self.expires_at),
            "idToken": {"idToken": self.id_token, "type": self.type or UNREGISTERED},
            "evseId": self.evse_id,
        }


class CancelReservation(Shape, frozen=True, kw_only=True):
    """Give a reserved place back."""

    number: int

    def _v16(self, _number: int) -> Call:
        return "CancelReservation", {"reservationId": self.number}

    def _v2(self, _number: int) -> Call:
        return "CancelReservation", {"reservationId": self.number}


class RemoteStop(Shape, frozen=True, kw_only=True):
    """Stop this transaction; the id is the one that the station knows."""

    transaction_id: str | int

    def _v16(self, _number: int) -> Call:
        text = str(self.transaction_id)
        if not (text.isascii() and text.isdigit()):
            raise Unsupported("transaction ids of OCPP 1.6 are whole numbers")
        return "RemoteStopTransaction", {"transactionId": int(text)}

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
    """Release the cable; of the first connector where neither is given."""

    evse_id: int | None = None
    connector_id: int | None = None

    def _v16(self, _number: int) -> Call:
        place = _connector(self.evse_id, self.connector_id)
        return "UnlockConnector", {"connectorId": 1 if place is None else place}

    def _v2(self, _number: int) -> Call:
        place = _evse(self.evse_id, self.connector_id) or {"id": 1}
        connector = place.get("connectorId")
        return "UnlockConnector", {
            "evseId": place["id"],
            "connectorId": 1 if connector is None else connector,
        }


class ChangeAvailability(Shape, frozen=True, kw_only=True):
    """Take the station, an EVSE or a connector in or out of use."""

    operative: bool
    evse_id: int | None = None
    connector_id: int | None = None

    def _v16(self, _number: int) -> Call:
        place = _connector(self.evse_id, self.connector_id)
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
        place = _connector(self.evse_id, self.connector_id)
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


class ClearCache(Shape, frozen=True, kw_only=True):
    """Forget the authorization cache."""

    def _v16(self, _number: int) -> Call:
        return "ClearCache", {}

    def _v2(self, _number: int) -> Call:
        return "ClearCache", {}


class SetPassword(Shape, frozen=True, kw_only=True):
    """Give the station another password: 16 to 20 bytes as hex digits, which suits all versions."""

    password: Annotated[str, Meta(pattern="^([0-9a-f]{2}){16,20}$")]

    def _v16(self, _number: int) -> Call:
        return "ChangeConfiguration", {"key": "AuthorizationKey", "value": self.password}

    def _v2(self, _number: int) -> Call:
        place = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
        return "SetVariables", {"setVariableData": [{**place, "attributeValue": self.password}]}


def _connector(evse_id: int | None, connector_id: int | None) -> int | None:
    """1.6's connectorId, which counts through the whole station; None: none was given.

    An EVSE's first or only connector goes by the EVSE's number, as most stations count.

    Raises:
        Unsupported: which of the station's connectors the two mean is not to be known.
    """
    if evse_id is None or connector_id in {evse_id, None}:
        return evse_id if connector_id is None else connector_id
    if connector_id == 1:
        return evse_id
    raise Unsupported("OCPP 1.6 has no EVSEs: give connector_id alone")


def _evse(evse_id: int | None, connector_id: int | None) -> dict[str, Any] | None:
    """2.x's EVSEType; None: the whole station.

    Raises:
        Unsupported: a connector without its EVSE would mean the whole station, or any EVSE.
    """
    if evse_id is not None:
        return {"id": evse_id, "connectorId": connector_id}
    if connector_id is not None:
        raise Unsupported("OCPP 2.x counts connectors per EVSE: give evse_id too")
    return None

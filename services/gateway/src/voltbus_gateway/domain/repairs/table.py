"""Which messages of a station are facts that are read leniently, and the rules of their fields.

What is not named here is a side field: converted where it can be understood, otherwise left out.
Authorize and all other questions are not here: what is asked is refused when it can't be read.
"""

from __future__ import annotations

from typing import Final

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.repairs.fields import Rule, Rules

# What a connector is in when its station uses a word that no version has: never a stale Available.
UNKNOWN: Final = "Unknown"
# 2.1's longest signed value; a signature over a part is worth nothing.
_LONGEST_SIGNED: Final = 32_768

_CORE = Rule(core=True)
_CORE_ID = Rule(core=True, identifier=True)
_ID = Rule(identifier=True)
_OPTIONAL = Rule(optional=True)
_NAME = Rule(optional=True, identifier=True)
_REGISTER = Rule(rounded=True, optional=True)
_STATUS = Rule(word=True, other=UNKNOWN, filled=UNKNOWN)
_REASON = Rule(other="Other")
_WORD = Rule(word=True)
# A sample of which this can't be understood says something else than it seems to.
_DECIDES = Rule(word=True, vital=True)
_SIGNED = Rule(identifier=True, longest=_LONGEST_SIGNED)
_BLANK = Rule(filled="", identifier=True, longest=_LONGEST_SIGNED)

_SAMPLE: Final = {
    "timestamp": _OPTIONAL,
    "sampledValue.measurand": _DECIDES,
    "sampledValue.phase": _DECIDES,
    "sampledValue.location": _DECIDES,
    "sampledValue.unit": _DECIDES,
    "sampledValue.context": _WORD,
    "sampledValue.unitOfMeasure": Rule(vital=True),
    "sampledValue.unitOfMeasure.unit": _DECIDES,
    "sampledValue.unitOfMeasure.multiplier": Rule(vital=True),
    "sampledValue.signedMeterValue.signedMeterData": _SIGNED,
    "sampledValue.signedMeterValue.signingMethod": _BLANK,
    "sampledValue.signedMeterValue.encodingMethod": _BLANK,
    "sampledValue.signedMeterValue.publicKey": _BLANK,
}


def _sample_rules(place: str) -> dict[str, Rule]:
    """The rules of meter values that stand at this place."""
    return {place: _OPTIONAL, **{f"{place}.{name}": rule for name, rule in _SAMPLE.items()}}


# A status may say which request it is about, and more.
_PROGRESS: Final = {
    "status": Rule(word=True, other=UNKNOWN, filled=UNKNOWN),
    "requestId": _OPTIONAL,
    "timestamp": _OPTIONAL,
}
_SECURITY: Final = {"type": _CORE, "timestamp": _OPTIONAL}

_V16: Final = {
    "StartTransaction": {
        "connectorId": _CORE,
        "idTag": _CORE_ID,
        "meterStart": _REGISTER,
        "timestamp": _OPTIONAL,
    },
    # 1.6 §4.10: a stop is confirmed whatever else it says.
    "StopTransaction": {
        "transactionId": _CORE,
        "meterStop": _REGISTER,
        "timestamp": _OPTIONAL,
        "idTag": _ID,
        "reason": _REASON,
        **_sample_rules("transactionData"),
    },
    "MeterValues": {"connectorId": _CORE, **_sample_rules("meterValue")},
    "StatusNotification": {
        "connectorId": _CORE,
        "status": _STATUS,
        "errorCode": Rule(optional=True, other="OtherError"),
    },
    "BootNotification": {
        "chargePointVendor": _NAME,
        "chargePointModel": _NAME,
        "chargePointSerialNumber": _ID,
        "chargeBoxSerialNumber": _ID,
        "meterSerialNumber": _ID,
        "iccid": _ID,
        "imsi": _ID,
    },
    "DiagnosticsStatusNotification": _PROGRESS,
    "FirmwareStatusNotification": _PROGRESS,
    "LogStatusNotification": _PROGRESS,
    "SignedFirmwareStatusNotification": _PROGRESS,
    "SecurityEventNotification": _SECURITY,
}

_V2: Final = {
    "TransactionEvent": {
        "eventType": _CORE,
        "timestamp": _OPTIONAL,
        "triggerReason": _OPTIONAL,
        "seqNo": _OPTIONAL,
        "transactionInfo": _CORE,
        "transactionInfo.transactionId": _CORE_ID,
        "transactionInfo.stoppedReason": _REASON,
        "idToken.idToken": _ID,
        "idToken.type": Rule(word=True, filled=""),
        "idToken.additionalInfo.additionalIdToken": _ID,
        **_sample_rules("meterValue"),
    },
    "MeterValues": {"evseId": _CORE, **_sample_rules("meterValue")},
    "StatusNotification": {
        "evseId": _CORE,
        "connectorId": _CORE,
        "connectorStatus": _STATUS,
        "timestamp": _OPTIONAL,
    },
    "BootNotification": {
        "reason": Rule(other="Unknown", filled="Unknown"),
        "chargingStation": _OPTIONAL,
        "chargingStation.vendorName": _NAME,
        "chargingStation.model": _NAME,
        "chargingStation.serialNumber": _ID,
        "chargingStation.modem.iccid": _ID,
        "chargingStation.modem.imsi": _ID,
    },
    "FirmwareStatusNotification": _PROGRESS,
    "LogStatusNotification": _PROGRESS,
    "SecurityEventNotification": _SECURITY,
}

_FACTS: Final = {Protocol.OCPP16: _V16, Protocol.OCPP201: _V2, Protocol.OCPP21: _V2}

# An answer belongs to the service that asked: everything readable in it is kept.
ANSWERS: Final = Rules(
    default=Rule(optional=True, word=True, longest=1 << 20),
    extras=True,
)


def find_fact_rules(protocol: Protocol, action: str) -> Rules | None:
    """Return the rules of a fact; None for a message that is refused when it does not fit."""
    fields = _FACTS[protocol].get(action)
    return None if fields is None else Rules(fields)

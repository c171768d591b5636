"""The calls towards stations: which actions each version has, and their check before sending."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.schemas import actions, check_request

if TYPE_CHECKING:
    from voltbus_gateway.domain.frames import Payload

# Either side may send these.
BOTH_WAYS = frozenset({"DataTransfer"})

_FROM_STATIONS_16 = frozenset(
    {
        "Authorize",
        "BootNotification",
        "DiagnosticsStatusNotification",
        "FirmwareStatusNotification",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "SecurityEventNotification",
        "SignCertificate",
        "SignedFirmwareStatusNotification",
        "StartTransaction",
        "StatusNotification",
        "StopTransaction",
    }
)
_FROM_STATIONS_201 = frozenset(
    {
        "Authorize",
        "BootNotification",
        "ClearedChargingLimit",
        "FirmwareStatusNotification",
        "Get15118EVCertificate",
        "GetCertificateStatus",
        "Heartbeat",
        "LogStatusNotification",
        "MeterValues",
        "NotifyChargingLimit",
        "NotifyCustomerInformation",
        "NotifyDisplayMessages",
        "NotifyEVChargingNeeds",
        "NotifyEVChargingSchedule",
        "NotifyEvent",
        "NotifyMonitoringReport",
        "NotifyReport",
        "PublishFirmwareStatusNotification",
        "ReportChargingProfiles",
        "ReservationStatusUpdate",
        "SecurityEventNotification",
        "SignCertificate",
        "StatusNotification",
        "TransactionEvent",
    }
)
_FROM_STATIONS_21 = _FROM_STATIONS_201 | {
    "BatterySwap",
    "ClosePeriodicEventStream",
    "GetCertificateChainStatus",
    "NotifyDERAlarm",
    "NotifyDERStartStop",
    "NotifyPeriodicEventStream",
    "NotifyPriorityCharging",
    "NotifySettlement",
    "OpenPeriodicEventStream",
    "PullDynamicScheduleUpdate",
    "ReportDERControl",
    "VatNumberValidation",
}
_FROM_STATIONS = {
    Protocol.OCPP16: _FROM_STATIONS_16,
    Protocol.OCPP201: _FROM_STATIONS_201,
    Protocol.OCPP21: _FROM_STATIONS_21,
}


def from_stations(protocol: Protocol) -> frozenset[str]:
    """The actions that a station of this version may send us."""
    return _FROM_STATIONS[protocol] | BOTH_WAYS


@cache
def to_stations(protocol: Protocol) -> frozenset[str]:
    """The actions that we may send a station of this version."""
    return actions(protocol) - _FROM_STATIONS[protocol]


def check_call(protocol: Protocol, action: str, payload: Payload) -> None:
    """Check a call before it leaves; unknown properties are always refused here.

    Raises:
        CallFailed: NotImplemented for an action that the version doesn't send to stations,
            otherwise what the schema says.
    """
    if action not in to_stations(protocol):
        raise CallFailed(
            ErrorCode.NOT_IMPLEMENTED, f"{protocol} has no such call to a charging station"
        )
    check_request(protocol, action, payload)

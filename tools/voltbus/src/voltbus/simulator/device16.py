"""The configuration keys of a simulated OCPP 1.6 station (1.6 §9, security extension)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable

Kind = Literal["text", "integer", "boolean", "hex"]


@dataclass(slots=True)
class Key:
    """One key: its value, and what the station lets the central system do with it."""

    value: str
    kind: Kind = "text"
    readonly: bool = False
    hidden: bool = False
    reboot: bool = False

    def fits(self, value: str) -> bool:
        """Say whether ``value`` is of the key's kind."""
        if self.kind == "integer":
            return value.lstrip("-").isdigit() and int(value) >= 0
        if self.kind == "boolean":
            return value.lower() in {"true", "false"}
        if self.kind == "hex":
            return 32 <= len(value) <= 40 and len(value) % 2 == 0 and _is_hex(value)  # noqa: PLR2004 - 16 to 20 bytes
        return len(value) <= 500  # noqa: PLR2004 - CiString500Type


def _is_hex(value: str) -> bool:
    try:
        bytes.fromhex(value)
    except ValueError:
        return False
    return True


def standard_keys(connectors: int) -> dict[str, Key]:
    """Return the keys a station leaves the factory with."""
    integers = {
        "ClockAlignedDataInterval": "0",
        "ConnectionTimeOut": "60",
        "HeartbeatInterval": "300",
        "LocalAuthListMaxLength!": "1000",
        "SendLocalListMaxLength!": "100",
        "MeterValueSampleInterval": "60",
        "MinimumStatusDuration": "0",
        "NumberOfConnectors!": str(connectors),
        "GetConfigurationMaxKeys!": "100",
        "ResetRetries": "1",
        "TransactionMessageAttempts": "3",
        "TransactionMessageRetryInterval": "60",
        "WebSocketPingInterval": "30",
        "ChargeProfileMaxStackLevel!": "8",
        "ChargingScheduleMaxPeriods!": "24",
        "MaxChargingProfilesInstalled!": "16",
        "SecurityProfile": "1",
        "AdditionalRootCertificateCheck!": "0",
    }
    booleans = {
        "AllowOfflineTxForUnknownId": "false",
        "AuthorizationCacheEnabled": "true",
        "AuthorizeRemoteTxRequests": "false",
        "LocalAuthListEnabled": "true",
        "LocalAuthorizeOffline": "true",
        "LocalPreAuthorize": "false",
        "StopTransactionOnEVSideDisconnect": "true",
        "StopTransactionOnInvalidId": "true",
        "UnlockConnectorOnEVSideDisconnect": "true",
    }
    texts = {
        "ConnectorPhaseRotation": "NotApplicable",
        "CpoName": "",
        "MeterValuesAlignedData": "Energy.Active.Import.Register",
        "MeterValuesSampledData": "Energy.Active.Import.Register",
        "StopTxnAlignedData": "",
        "StopTxnSampledData": "",
        "ChargingScheduleAllowedChargingRateUnit!": "Current,Power",
        "SupportedFeatureProfiles!": (
            "Core,FirmwareManagement,LocalAuthListManagement,Reservation,RemoteTrigger,SmartCharging"
        ),
    }
    keys: dict[str, Key] = {}
    kinds: tuple[tuple[Kind, dict[str, str]], ...] = (
        ("integer", integers),
        ("boolean", booleans),
        ("text", texts),
    )
    for kind, given in kinds:
        for name, value in given.items():
            keys[name.rstrip("!")] = Key(value, kind, readonly=name.endswith("!"))
    keys["AuthorizationKey"] = Key("", "hex", hidden=True)
    keys["SecurityProfile"].reboot = True
    return keys


@dataclass(slots=True)
class Configuration:
    """All keys of a station; a test may add a vendor's own."""

    connectors: int = 2
    keys: dict[str, Key] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = {**standard_keys(self.connectors), **self.keys}

    def change(self, name: str, value: str) -> str:
        """Set a key and return the status of ChangeConfiguration (1.6 §5.3)."""
        key = self.keys.get(name)
        if key is None:
            return "NotSupported"
        if key.readonly or not key.fits(value):
            return "Rejected"
        key.value = value
        return "RebootRequired" if key.reboot else "Accepted"

    def get(self, names: Iterable[str]) -> dict[str, object]:
        """Return the payload of GetConfiguration; no names: all keys (1.6 §5.8)."""
        wanted = list(names) or sorted(self.keys)
        known = [name for name in wanted if name in self.keys]
        unknown = [name for name in wanted if name not in self.keys]
        most = int(self.keys["GetConfigurationMaxKeys"].value)
        answer: dict[str, object] = {
            "configurationKey": [self._shown(name) for name in known[:most]],
        }
        if unknown:
            answer["unknownKey"] = unknown
        return answer

    def _shown(self, name: str) -> dict[str, object]:
        key = self.keys[name]
        shown: dict[str, object] = {"key": name, "readonly": key.readonly}
        if not key.hidden:  # a password can be written, never read back
            shown["value"] = key.value
        return shown

    def values(self) -> dict[str, str]:
        """Return every readable key with its value."""
        return {name: key.value for name, key in self.keys.items() if not key.hidden}

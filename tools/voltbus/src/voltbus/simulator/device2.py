"""The device model of a simulated OCPP 2.x station: components, variables, attributes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

Mutability = Literal["ReadOnly", "WriteOnly", "ReadWrite"]
Kind = Literal["string", "integer", "decimal", "boolean", "OptionList", "MemberList"]
# A variable's place: component, its instance, EVSE (0: none), variable, its instance.
Place = tuple[str, str, int, str, str]

BASE_REPORTS = ("ConfigurationInventory", "FullInventory", "SummaryInventory")


@dataclass(slots=True)
class Variable:
    """One variable with its actual value."""

    component: str
    name: str
    value: str
    kind: Kind = "string"
    mutability: Mutability = "ReadWrite"
    unit: str = ""
    values_list: str = ""
    reboot: bool = False
    evse: int = 0
    instance: str = ""
    component_instance: str = ""
    max_limit: int | None = None

    @property
    def place(self) -> Place:
        """Where the variable lives; names are case-insensitive (P1 §4.4)."""
        return (
            self.component.lower(),
            self.component_instance.lower(),
            self.evse,
            self.name.lower(),
            self.instance.lower(),
        )

    def fits(self, value: str) -> bool:
        """Say whether ``value`` is of the variable's kind and among its listed values."""
        listed = self.values_list.split(",") if self.values_list else None
        if self.kind == "integer":
            return value.lstrip("-").isdigit()
        if self.kind == "decimal":
            return value.replace(".", "", 1).lstrip("-").isdigit()
        if self.kind == "boolean":
            return value.lower() in {"true", "false"}
        if listed is not None:
            return all(part in listed for part in value.split(","))
        return len(value) <= 1000  # noqa: PLR2004 - SetVariableData.attributeValue

    def report(self) -> dict[str, Any]:
        """Return the variable as an element of NotifyReport.reportData."""
        attribute: dict[str, Any] = {"type": "Actual", "mutability": self.mutability}
        if self.mutability != "WriteOnly" and self.value:
            attribute["value"] = self.value
        characteristics: dict[str, Any] = {"dataType": self.kind, "supportsMonitoring": False}
        if self.unit:
            characteristics["unit"] = self.unit
        if self.values_list:
            characteristics["valuesList"] = self.values_list
        if self.max_limit is not None:
            characteristics["maxLimit"] = self.max_limit
        component: dict[str, Any] = {"name": self.component}
        if self.component_instance:
            component["instance"] = self.component_instance
        if self.evse:
            component["evse"] = {"id": self.evse}
        variable = {"name": self.name}
        if self.instance:
            variable["instance"] = self.instance
        return {
            "component": component,
            "variable": variable,
            "variableAttribute": [attribute],
            "variableCharacteristics": characteristics,
        }


def standard_variables(evses: int, *, payments: bool) -> list[Variable]:
    """Return what a station leaves the factory with; ``payments``: 2.1's controllers too."""
    found = [
        Variable("OCPPCommCtrlr", "HeartbeatInterval", "300", "integer", unit="s"),
        Variable(
            "OCPPCommCtrlr", "NetworkConfigurationPriority", "1", values_list="1,2,3", reboot=True
        ),
        Variable("OCPPCommCtrlr", "NetworkProfileConnectionAttempts", "3", "integer"),
        Variable("OCPPCommCtrlr", "OfflineThreshold", "60", "integer", unit="s"),
        Variable("OCPPCommCtrlr", "WebSocketPingInterval", "30", "integer", unit="s"),
        Variable("OCPPCommCtrlr", "ResetRetries", "1", "integer"),
        Variable(
            "OCPPCommCtrlr", "MessageTimeout", "30", "integer", "ReadOnly", "s", instance="Default"
        ),
        Variable("SecurityCtrlr", "SecurityProfile", "1", "integer", "ReadOnly"),
        Variable("SecurityCtrlr", "BasicAuthPassword", "", mutability="WriteOnly"),
        Variable("SecurityCtrlr", "OrganizationName", "Voltbus"),
        Variable("SecurityCtrlr", "CertificateEntries", "0", "integer", "ReadOnly"),
        Variable("AuthCtrlr", "Enabled", "true", "boolean"),
        Variable("AuthCtrlr", "AuthorizeRemoteStart", "false", "boolean"),
        Variable("AuthCtrlr", "LocalPreAuthorize", "false", "boolean"),
        Variable("AuthCtrlr", "LocalAuthorizeOffline", "true", "boolean"),
        Variable("AuthCacheCtrlr", "Enabled", "true", "boolean"),
        Variable("LocalAuthListCtrlr", "Enabled", "true", "boolean"),
        Variable("LocalAuthListCtrlr", "Entries", "0", "integer", "ReadOnly", max_limit=1000),
        Variable("LocalAuthListCtrlr", "BytesPerMessage", "20000", "integer", "ReadOnly"),
        Variable("LocalAuthListCtrlr", "ItemsPerMessage", "100", "integer", "ReadOnly"),
        Variable("TxCtrlr", "EVConnectionTimeOut", "60", "integer", unit="s"),
        Variable("TxCtrlr", "StopTxOnInvalidId", "true", "boolean"),
        Variable("TxCtrlr", "StopTxOnEVSideDisconnect", "true", "boolean"),
        Variable("TxCtrlr", "TxStartPoint", "PowerPathClosed", "OptionList"),
        Variable("SampledDataCtrlr", "TxUpdatedInterval", "60", "integer", unit="s"),
        Variable("SampledDataCtrlr", "TxUpdatedMeasurands", "Energy.Active.Import.Register"),
        Variable("SmartChargingCtrlr", "Enabled", "true", "boolean"),
        Variable("SmartChargingCtrlr", "ProfileStackLevel", "8", "integer", "ReadOnly"),
        Variable("SmartChargingCtrlr", "RateUnit", "A,W", "MemberList", "ReadOnly"),
        Variable("SmartChargingCtrlr", "PeriodsPerSchedule", "24", "integer", "ReadOnly"),
        *(
            Variable(
                "DeviceDataCtrlr", "ItemsPerMessage", "20", "integer", "ReadOnly", instance=one
            )
            for one in ("GetVariables", "SetVariables")
        ),
        Variable("ChargingStation", "AvailabilityState", "Available", mutability="ReadOnly"),
        Variable("ClockCtrlr", "TimeZone", "Etc/UTC"),
    ]
    found += [
        Variable("EVSE", "Power", "22000", "decimal", "ReadOnly", "W", evse=evse)
        for evse in range(1, evses + 1)
    ]
    return found + (_payment_variables() if payments else [])


def _payment_variables() -> list[Variable]:
    """Return 2.1's controllers for paying at the station."""
    tokens = "Central,eMAID,ISO14443,ISO15693,KeyCode,Local,MacAddress,NoAuthorization"
    return [
        Variable("AuthCtrlr", "SupportedIdTokenType", "ISO14443,Central", "MemberList",
                 values_list=tokens + ",DirectPayment,EVCCID,VIN"),
        Variable("PaymentCtrlr", "Enabled", "false", "boolean"),
        Variable("PaymentCtrlr", "AuthorizeDirectPayment", "false", "boolean"),
        Variable("PaymentCtrlr", "AuthorizationAmount", "50", "decimal"),
        Variable("PaymentCtrlr", "SettlementByCSMS", "false", "boolean"),
        Variable("PaymentCtrlr", "ReceiptByCSMS", "false", "boolean"),
        Variable("WebPaymentsCtrlr", "URLTemplate", ""),
        Variable("WebPaymentsCtrlr", "TOTPVersion", "v1"),
        Variable("WebPaymentsCtrlr", "SharedSecret", "", mutability="WriteOnly"),
    ]  # fmt: skip


@dataclass(slots=True)
class DeviceModel:
    """All variables of a station; a test may add more."""

    variables: dict[Place, Variable] = field(default_factory=dict)

    def add(self, *variables: Variable) -> None:
        """Add or replace variables."""
        self.variables |= {variable.place: variable for variable in variables}

    def value(self, component: str, name: str) -> str:
        """Return a station-wide variable's value; raises KeyError."""
        return self.variables[component.lower(), "", 0, name.lower(), ""].value

    def find(self, item: dict[str, Any]) -> tuple[str, Variable | None]:
        """Return Accepted and the variable an item names, or the status that says why not."""
        component, variable = item["component"], item["variable"]
        place = (
            component["name"].lower(),
            component.get("instance", "").lower(),
            int(component.get("evse", {}).get("id", 0)),
            variable["name"].lower(),
            variable.get("instance", "").lower(),
        )
        if not any(known[:3] == place[:3] for known in self.variables):
            return "UnknownComponent", None
        if place not in self.variables:
            return "UnknownVariable", None
        if item.get("attributeType", "Actual") != "Actual":
            return "NotSupportedAttributeType", None
        return "Accepted", self.variables[place]

    def set(self, item: dict[str, Any]) -> dict[str, Any]:
        """Set one variable and return its element of SetVariables' answer (B05)."""
        status, variable = self.find(item)
        if variable is not None:
            value = str(item["attributeValue"])
            if variable.mutability == "ReadOnly" or not variable.fits(value):
                status = "Rejected"
            else:
                variable.value = value
                status = "RebootRequired" if variable.reboot else "Accepted"
        return self._answer(item, status)

    def get(self, item: dict[str, Any]) -> dict[str, Any]:
        """Read one variable and return its element of GetVariables' answer (B06)."""
        status, variable = self.find(item)
        if variable is not None and variable.mutability == "WriteOnly":
            status = "Rejected"  # B06.FR.09
        answer = self._answer(item, status)
        if variable is not None and status == "Accepted":
            answer["attributeValue"] = variable.value
        return answer

    @staticmethod
    def _answer(item: dict[str, Any], status: str) -> dict[str, Any]:
        answer = {
            "attributeStatus": status,
            "component": item["component"],
            "variable": item["variable"],
        }
        if "attributeType" in item:
            answer["attributeType"] = item["attributeType"]
        return answer

    def report(self, which: str) -> list[dict[str, Any]]:
        """Return the report data of a base report (B07)."""
        return [
            variable.report()
            for variable in self.variables.values()
            if which != "ConfigurationInventory" or variable.mutability != "ReadOnly"
        ]

    def values(self) -> dict[str, str]:
        """Return every readable value, by ``Component[EVSE].Variable[instance]``."""
        shown: dict[str, str] = {}
        for one in self.variables.values():
            if one.mutability == "WriteOnly":
                continue
            evse = f"[{one.evse}]" if one.evse else ""
            instance = f"[{one.instance}]" if one.instance else ""
            shown[f"{one.component}{evse}.{one.name}{instance}"] = one.value
        return shown

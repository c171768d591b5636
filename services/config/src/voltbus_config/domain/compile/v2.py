"""Settings in OCPP 2.0.1 and 2.1, which differ only in the payment variables."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from voltbus_backbone.bounds import COMMAND_BYTES
from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain.compile.forms import (
    CompileOptions,
    SettingCall,
    SettingTarget,
    Unsupported,
    Verdict,
    judge_status,
)
from voltbus_config.domain.compile.v16 import drop_zero_fraction, format_rfc3339
from voltbus_config.domain.desired import SettingState
from voltbus_config.domain.layers import (
    CHARGING_SPEED,
    KEY_PREFIX,
    OPENING_HOURS,
    PAYMENT_METHODS,
)
from voltbus_config.domain.sizes import json_bytes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_KEY = re.compile(
    r"(?P<component>[^./:]{1,50})(?:/(?P<instance>[^./:]{1,50}))?(?::(?P<evse>\d{1,9}))?"
    r"\.(?P<variable>[^./:]{1,50})(?:/(?P<variable_instance>[^./:]{1,50}))?"
)
_BYTES = COMMAND_BYTES - 1024  # what stands around the variables of a call
_LONGEST_VALUE = {Protocol.OCPP201: 1000, Protocol.OCPP21: 2500}

# SetVariableStatusEnumType; 2.x B05.
_VARIABLE_STATES = {
    "Accepted": SettingState.IN_SYNC,
    "RebootRequired": SettingState.REBOOT_REQUIRED,
    "UnknownComponent": SettingState.UNSUPPORTED,
    "UnknownVariable": SettingState.UNSUPPORTED,
    "NotSupportedAttributeType": SettingState.UNSUPPORTED,
}
_STATES: dict[str, dict[str, SettingState]] = {
    "SetChargingProfile": {"Accepted": SettingState.IN_SYNC},
    "ClearChargingProfile": {"Accepted": SettingState.IN_SYNC, "Unknown": SettingState.IN_SYNC},
    # Scheduled: busy now, changes when the transaction ends (2.x G03.FR.05).
    "ChangeAvailability": {"Accepted": SettingState.IN_SYNC, "Scheduled": SettingState.IN_SYNC},
}

# The operator's word for a way to pay → OCPP 2.1's IdTokenEnumStringType.
_TOKEN_TYPES = {
    "rfid": ("ISO14443", "ISO15693"),
    "app": ("Central",),
    "plug_and_charge": ("eMAID",),
    "autocharge": ("MacAddress",),
    "key_code": ("KeyCode",),
    "card": ("DirectPayment",),
    "web": ("DirectPayment",),
    "free": ("NoAuthorization",),
}


@dataclass(frozen=True)
class Write:
    """One variable to be set for one setting. ``off``: not having the variable is as good."""

    setting: str
    component: dict[str, Any]
    variable: dict[str, Any]
    value: str
    off: bool = False

    @property
    def place(self) -> str:
        """Return what may stand only once in a request (B05.FR.13); names are case-insensitive."""
        return repr((sorted(self.component.items()), sorted(self.variable.items()))).casefold()


def compile_setting(
    target: SettingTarget, protocol: Protocol, options: CompileOptions
) -> Sequence[SettingCall | Write]:
    """Compile one setting into calls, or into variables to be written.

    Raises:
        Unsupported: this version can't have it.
    """
    match target.key:
        case "charging_speed":
            return [_compile_charging_speed(target, options)]
        case "opening_hours":
            payload = {"operationalStatus": target.value or "Operative"}
            return [SettingCall("ChangeAvailability", payload, (OPENING_HOURS,))]
        case "payment_methods":
            return _compile_payment_methods(target.value or [], protocol)
        case _:
            return [_compile_variable(target, protocol)]


def batch_writes(writes: Iterable[Write], most: int) -> list[SettingCall]:
    """SetVariables with at most ``most`` variables each and none of them twice (B05.FR.11, .13).

    The variables of one setting stay together, so that one answer decides it. However many may go
    in one call, it fits a record and a frame (ADR 0011).
    """
    calls: list[list[Write]] = []
    for _, group in itertools.groupby(writes, key=lambda write: write.setting):
        together = list(group)
        places = {write.place for write in together}
        for call in calls:
            fits = len(call) + len(together) <= most and _size(call) + _size(together) <= _BYTES
            if fits and not any(other.place in places for other in call):
                call.extend(together)
                break
        else:
            calls.append(together)
    return [_set_variables(call) for call in calls]


def judge_answer(
    action: str, keys: Sequence[str], payload: dict[str, Any], notes: Any
) -> dict[str, Verdict]:
    """Judge each setting by the answer; of several variables the worst counts."""
    if action != "SetVariables":
        table = _STATES.get(action, {"Accepted": SettingState.IN_SYNC})
        return dict.fromkeys(keys, judge_status(payload.get("status"), table))
    results = payload.get("setVariableResult")
    found: dict[str, Any] = {}
    for result in results if isinstance(results, list) else ():
        if isinstance(result, dict):
            place = Write("", _strip(result.get("component")), _strip(result.get("variable")), "")
            found[place.place] = result.get("attributeStatus")
    verdicts: dict[str, Verdict] = {}
    for setting, place, off in notes or ():
        verdict = judge_status(found.get(place), _VARIABLE_STATES)
        if off and verdict.state is SettingState.UNSUPPORTED:
            verdict = Verdict(SettingState.IN_SYNC)
        if setting not in verdicts or _gravity(verdict) > _gravity(verdicts[setting]):
            verdicts[setting] = verdict
    return verdicts


def _size(writes: Sequence[Write]) -> int:
    return sum(json_bytes(_variable_data(write)) + 1 for write in writes)


def _gravity(verdict: Verdict) -> int:
    order = [
        SettingState.IN_SYNC,
        SettingState.REBOOT_REQUIRED,
        SettingState.UNSUPPORTED,
        SettingState.REJECTED,
    ]
    return order.index(verdict.state)


def _strip(value: Any) -> dict[str, Any]:
    known = ("name", "instance", "evse")
    return {key: value[key] for key in known if key in value} if isinstance(value, dict) else {}


def _compile_charging_speed(target: SettingTarget, options: CompileOptions) -> SettingCall:
    if target.value is None:
        payload: dict[str, Any] = {"chargingProfileId": options.profile_id}
        return SettingCall("ClearChargingProfile", payload, (CHARGING_SPEED,))
    schedule = {
        "id": options.profile_id,
        "startSchedule": format_rfc3339(target.since),
        "chargingRateUnit": target.value.get("unit", "W"),
        "chargingSchedulePeriod": [
            {"startPeriod": 0, "limit": drop_zero_fraction(round(float(target.value["limit"]), 1))}
        ],
    }
    profile = {
        "id": options.profile_id,
        "stackLevel": options.stack_level,
        # Only for EVSE 0, and never Relative (K01.FR.03, K01.FR.38).
        "chargingProfilePurpose": "ChargingStationMaxProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": [schedule],
    }
    payload = {"evseId": 0, "chargingProfile": profile}
    return SettingCall("SetChargingProfile", payload, (CHARGING_SPEED,))


def _compile_payment_methods(methods: Sequence[str], protocol: Protocol) -> list[Write]:
    unknown = [method for method in methods if method not in _TOKEN_TYPES]
    if unknown:
        raise Unsupported(f"OCPP 2.x has no word for {', '.join(unknown)[:100]}")
    paid = "card" in methods or "web" in methods
    if protocol is Protocol.OCPP201:
        if paid:
            raise Unsupported("payment at the station needs OCPP 2.1")
        return [
            _compile_payment_variable("AuthCtrlr", "Enabled", on=list(methods) != ["free"]),
            _compile_payment_variable(
                "ISO15118Ctrlr", "PnCEnabled", on="plug_and_charge" in methods
            ),
        ]
    types = [word for method in methods for word in _TOKEN_TYPES[method]]
    accepted = ",".join(dict.fromkeys(types))
    return [
        Write(PAYMENT_METHODS, {"name": "AuthCtrlr"}, {"name": "SupportedIdTokenType"}, accepted),
        _compile_payment_variable("ISO15118Ctrlr", "PnCEnabled", on="plug_and_charge" in methods),
        _compile_payment_variable("PaymentCtrlr", "Enabled", on="card" in methods),
        _compile_payment_variable("WebPaymentsCtrlr", "Enabled", on="web" in methods),
    ]


def _compile_payment_variable(component: str, variable: str, *, on: bool) -> Write:
    value = "true" if on else "false"
    return Write(PAYMENT_METHODS, {"name": component}, {"name": variable}, value, off=not on)


def _compile_variable(target: SettingTarget, protocol: Protocol) -> Write:
    parts = _KEY.fullmatch(target.key.removeprefix(KEY_PREFIX))
    if parts is None:
        raise Unsupported(
            "OCPP 2.x keys are written Component.Variable or Component/instance.Variable"
        )
    longest = _LONGEST_VALUE[protocol]
    if len(target.value) > longest:
        raise Unsupported(f"{protocol} takes values of at most {longest} characters")
    component: dict[str, Any] = {"name": parts["component"]}
    if parts["instance"] is not None:
        component["instance"] = parts["instance"]
    if parts["evse"] is not None:
        component["evse"] = {"id": int(parts["evse"])}
    variable = {"name": parts["variable"]}
    if parts["variable_instance"] is not None:
        variable["instance"] = parts["variable_instance"]
    return Write(target.key, component, variable, target.value)


def _set_variables(writes: Sequence[Write]) -> SettingCall:
    data = [_variable_data(write) for write in writes]
    keys = tuple(dict.fromkeys(write.setting for write in writes))
    notes = tuple([write.setting, write.place, write.off] for write in writes)
    return SettingCall("SetVariables", {"setVariableData": data}, keys, notes)


def _variable_data(write: Write) -> dict[str, Any]:
    return {
        "attributeValue": write.value,
        "component": write.component,
        "variable": write.variable,
    }

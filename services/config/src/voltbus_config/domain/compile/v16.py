"""Settings in OCPP 1.6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_config.domain.compile.forms import (
    CompileOptions,
    SettingCall,
    SettingTarget,
    Unsupported,
    Verdict,
    judge_status,
)
from voltbus_config.domain.desired import SettingState
from voltbus_config.domain.layers import (
    CHARGING_SPEED,
    KEY_PREFIX,
    OPENING_HOURS,
    PAYMENT_METHODS,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from voltbus_backbone.contract.values import Protocol

_LONGEST_KEY = 50
_LONGEST_VALUE = 500

# OCPP 1.6 §5.3, §5.16, §5.2, §5.5 (their response tables).
_STATES: dict[str, dict[str, SettingState]] = {
    "ChangeConfiguration": {
        "Accepted": SettingState.IN_SYNC,
        "RebootRequired": SettingState.REBOOT_REQUIRED,
        "NotSupported": SettingState.UNSUPPORTED,
    },
    "SetChargingProfile": {
        "Accepted": SettingState.IN_SYNC,
        "NotSupported": SettingState.UNSUPPORTED,
    },
    "ClearChargingProfile": {"Accepted": SettingState.IN_SYNC, "Unknown": SettingState.IN_SYNC},
    # Scheduled: busy now, changes when the transaction ends.
    "ChangeAvailability": {"Accepted": SettingState.IN_SYNC, "Scheduled": SettingState.IN_SYNC},
}


def compile_setting(
    target: SettingTarget, _protocol: Protocol, options: CompileOptions
) -> list[SettingCall]:
    """Compile one setting into calls.

    Raises:
        Unsupported: 1.6, or this station, can't have it.
    """
    match target.key:
        case "charging_speed":
            return [_compile_charging_speed(target, options)]
        case "opening_hours":
            payload = {"connectorId": 0, "type": target.value or "Operative"}
            return [SettingCall("ChangeAvailability", payload, (OPENING_HOURS,))]
        case "payment_methods":
            key = options.payment_keys.get(options.vendor) or options.payment_keys.get("*")
            if key is None:
                raise Unsupported("OCPP 1.6 has no setting for payment methods")
            return [_compile_key(PAYMENT_METHODS, key, ",".join(target.value or ()))]
        case _:
            key = target.key.removeprefix(KEY_PREFIX)
            return [_compile_key(target.key, key, target.value)]


def _compile_charging_speed(target: SettingTarget, options: CompileOptions) -> SettingCall:
    if target.value is None:
        return SettingCall("ClearChargingProfile", {"id": options.profile_id}, (CHARGING_SPEED,))
    limit = round(float(target.value["limit"]), 1)  # 1.6 allows one decimal
    profile = {
        "chargingProfileId": options.profile_id,
        "stackLevel": options.stack_level,
        "chargingProfilePurpose": "ChargePointMaxProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "startSchedule": format_rfc3339(target.since),
            "chargingRateUnit": target.value.get("unit", "W"),
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": drop_zero_fraction(limit)}],
        },
    }
    # A ChargePointMaxProfile is for connector 0 only (1.6 §3.13.1).
    payload = {"connectorId": 0, "csChargingProfiles": profile}
    return SettingCall("SetChargingProfile", payload, (CHARGING_SPEED,))


def _compile_key(setting: str, key: str, value: str) -> SettingCall:
    if len(key) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
        raise Unsupported("OCPP 1.6 keys have at most 50 characters and their values 500")
    return SettingCall("ChangeConfiguration", {"key": key, "value": value}, (setting,))


def judge_answer(
    action: str, keys: Sequence[str], payload: dict[str, Any], _notes: Any
) -> dict[str, Verdict]:
    """Judge all settings of a call by its one status."""
    verdict = judge_status(
        payload.get("status"), _STATES.get(action, {"Accepted": SettingState.IN_SYNC})
    )
    return dict.fromkeys(keys, verdict)


def format_rfc3339(time: datetime) -> str:
    """Format a time as RFC 3339 in UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def drop_zero_fraction(number: float) -> float:
    """Return an integer for a whole number: some stations refuse "11000.0"."""
    return int(number) if number == int(number) else number

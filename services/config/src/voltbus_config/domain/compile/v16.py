"""Settings in OCPP 1.6."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_config.domain.compile.forms import (
    Call,
    Options,
    Target,
    Unsupported,
    Verdict,
    of_status,
)
from voltbus_config.domain.desired import State
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
_STATES: dict[str, dict[str, State]] = {
    "ChangeConfiguration": {
        "Accepted": State.IN_SYNC,
        "RebootRequired": State.REBOOT_REQUIRED,
        "NotSupported": State.UNSUPPORTED,
    },
    "SetChargingProfile": {"Accepted": State.IN_SYNC, "NotSupported": State.UNSUPPORTED},
    "ClearChargingProfile": {"Accepted": State.IN_SYNC, "Unknown": State.IN_SYNC},
    # Scheduled: busy now, changes when the transaction ends.
    "ChangeAvailability": {"Accepted": State.IN_SYNC, "Scheduled": State.IN_SYNC},
}


def compiled(target: Target, _protocol: Protocol, options: Options) -> list[Call]:
    """The calls for one setting.

    Raises:
        Unsupported: 1.6, or this station, can't have it.
    """
    match target.key:
        case "charging_speed":
            return [_charging_speed(target, options)]
        case "opening_hours":
            payload = {"connectorId": 0, "type": target.value or "Operative"}
            return [Call("ChangeAvailability", payload, (OPENING_HOURS,))]
        case "payment_methods":
            key = options.payment_keys.get(options.vendor) or options.payment_keys.get("*")
            if key is None:
                raise Unsupported("OCPP 1.6 has no setting for payment methods")
            return [_configuration(PAYMENT_METHODS, key, ",".join(target.value or ()))]
        case _:
            key = target.key.removeprefix(KEY_PREFIX)
            return [_configuration(target.key, key, target.value)]


def _charging_speed(target: Target, options: Options) -> Call:
    if target.value is None:
        return Call("ClearChargingProfile", {"id": options.profile_id}, (CHARGING_SPEED,))
    limit = round(float(target.value["limit"]), 1)  # 1.6 allows one decimal
    profile = {
        "chargingProfileId": options.profile_id,
        "stackLevel": options.stack_level,
        "chargingProfilePurpose": "ChargePointMaxProfile",
        "chargingProfileKind": "Absolute",
        "chargingSchedule": {
            "startSchedule": rfc3339(target.since),
            "chargingRateUnit": target.value.get("unit", "W"),
            "chargingSchedulePeriod": [{"startPeriod": 0, "limit": whole(limit)}],
        },
    }
    # A ChargePointMaxProfile is for connector 0 only (1.6 §3.13.1).
    payload = {"connectorId": 0, "csChargingProfiles": profile}
    return Call("SetChargingProfile", payload, (CHARGING_SPEED,))


def _configuration(setting: str, key: str, value: str) -> Call:
    if len(key) > _LONGEST_KEY or len(value) > _LONGEST_VALUE:
        raise Unsupported("OCPP 1.6 keys have at most 50 characters and their values 500")
    return Call("ChangeConfiguration", {"key": key, "value": value}, (setting,))


def judged(
    action: str, keys: Sequence[str], payload: dict[str, Any], _notes: Any
) -> dict[str, Verdict]:
    """One status for the whole call."""
    verdict = of_status(payload.get("status"), _STATES.get(action, {"Accepted": State.IN_SYNC}))
    return dict.fromkeys(keys, verdict)


def rfc3339(time: datetime) -> str:
    """UTC, whole seconds."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")


def whole(number: float) -> float:
    """An integer where it is one: some stations refuse "11000.0"."""
    return int(number) if number == int(number) else number

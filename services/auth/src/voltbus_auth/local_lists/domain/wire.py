"""Local lists in OCPP's words: infos, SendLocalList, what limits a station tells."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC
from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from voltbus_backbone.contract.auth import Decision

Payload = dict[str, Any]

LAST_VERSION = 2**31 - 1
# However much a station takes: one message holds up its other calls, and one record Kafka's.
MOST_ITEMS = 500
MOST_BYTES = 100_000
MOST_ENTRIES = 10_000

_ID_TAG_LIMIT = 20
_TOKEN_LIMIT = {Protocol.OCPP201: 36, Protocol.OCPP21: 255}
_LANGUAGE_LIMIT = 8
_MESSAGE_LIMIT = 512
_NOBODY = "NoAuthorization"
# IdTokenEnumType of 2.0.1 is closed; 2.1 takes any type.
_TYPES_OF_201 = frozenset(
    {"Central", "eMAID", "ISO14443", "ISO15693", "KeyCode", "Local", "MacAddress"}
)
_FRAME_BYTES = 80  # message type, id and action around the payload


@dataclass(frozen=True, slots=True)
class Limits:
    """What a station holds and takes at once. ``bytes``: of one message, None: it did not say."""

    entries: int | None = None
    items: int | None = None
    bytes: int | None = None


# For a station that does not tell its limits.
ASSUMED_ENTRIES = 500
ASSUMED_ITEMS = 50


@dataclass(frozen=True, slots=True)
class Item:
    """A line to be sent; without ``info`` it takes the token off the list."""

    value: str
    type: str
    info: Payload | None


def fits(kind: str, length: int | None, protocol: Protocol) -> bool:
    """Whether a token of this type and length can be written in this version."""
    if kind == _NOBODY:
        return False
    if protocol is Protocol.OCPP201 and kind not in _TYPES_OF_201:
        return False
    return length is None or length <= _TOKEN_LIMIT.get(protocol, _ID_TAG_LIMIT)


def info(decision: Decision, expiry: datetime | None, protocol: Protocol) -> Payload:
    """An accepted token's IdTagInfo (1.6) or IdTokenInfoType (2.x)."""
    found: Payload = {"status": "Accepted"}
    group = decision.group.value if decision.group is not None else ""
    if protocol is Protocol.OCPP16:
        if expiry is not None:
            found["expiryDate"] = _time(expiry)
        if 0 < len(group) <= _ID_TAG_LIMIT:
            found["parentIdTag"] = group
        return found
    if expiry is not None:
        found["cacheExpiryDateTime"] = _time(expiry)
    if decision.charging_priority is not None:
        found["chargingPriority"] = decision.charging_priority
    if decision.language and len(decision.language) <= _LANGUAGE_LIMIT:
        found["language1"] = decision.language
    if decision.evse_ids:
        found["evseId"] = list(decision.evse_ids)
    if group:
        # A group's identifier is of type Central (OCPP 2.0.1 C09.FR.13).
        found["groupIdToken"] = {"idToken": group, "type": "Central"}
    if decision.personal_message:
        text = decision.personal_message[:_MESSAGE_LIMIT]
        found["personalMessage"] = {"format": "UTF8", "content": text}
    return found


def blocked_info() -> Payload:
    """Of a token that is blocked, in every version."""
    return {"status": "Blocked"}


def send_local_list(
    protocol: Protocol, version: int, items: Iterable[Item], *, full: bool
) -> Payload:
    """SendLocalList; without entries the list of them is left out (A18)."""
    lines = [line(one, protocol) for one in items]
    name = "listVersion" if protocol is Protocol.OCPP16 else "versionNumber"
    payload: Payload = {name: version, "updateType": "Full" if full else "Differential"}
    if lines:
        payload["localAuthorizationList"] = lines
    return payload


def line(item: Item, protocol: Protocol) -> Payload:
    """AuthorizationData."""
    if protocol is Protocol.OCPP16:
        found: Payload = {"idTag": item.value}
        named = "idTagInfo"
    else:
        found = {"idToken": {"idToken": item.value, "type": item.type}}
        named = "idTokenInfo"
    if item.info is not None:
        found[named] = item.info
    return found


def how_many(items: list[Item], protocol: Protocol, most_bytes: int) -> int:
    """How many of these one message takes, at least one."""
    size = _FRAME_BYTES + _size(send_local_list(protocol, LAST_VERSION, (), full=False))
    for count, item in enumerate(items):
        size += _size(line(item, protocol)) + 1
        if size > most_bytes:
            return max(count, 1)
    return len(items)


def ask_limits(protocol: Protocol) -> tuple[str, Payload]:
    """The call that asks for the limits: its action and payload (1.6 §9.2, LocalAuthListCtrlr)."""
    if protocol is Protocol.OCPP16:
        return "GetConfiguration", {"key": ["LocalAuthListMaxLength", "SendLocalListMaxLength"]}
    asked = (("ItemsPerMessage", None), ("BytesPerMessage", None), ("Entries", "MaxSet"))
    return "GetVariables", {
        "getVariableData": [
            {
                "component": {"name": _COMPONENT},
                "variable": {"name": name},
                **({"attributeType": attribute} if attribute else {}),
            }
            for name, attribute in asked
        ]
    }


def ask_report(request_id: int) -> tuple[str, Payload]:
    """The call whose report tells how many entries a 2.x station holds: Entries.maxLimit."""
    wanted = {"component": {"name": _COMPONENT}, "variable": {"name": "Entries"}}
    return "GetReport", {"requestId": request_id, "componentVariable": [wanted]}


def limits_told(told: Mapping[str, int]) -> Limits:
    """What config repeats of the answer to ``ask_limits``."""
    return Limits(
        entries=told.get("LocalAuthListMaxLength", told.get(f"{_COMPONENT}.Entries.MaxSet")),
        items=told.get("SendLocalListMaxLength", told.get(f"{_COMPONENT}.ItemsPerMessage")),
        bytes=told.get(f"{_COMPONENT}.BytesPerMessage"),
    )


def version_told(told: Mapping[str, int]) -> int | None:
    """The version in what config repeats of GetLocalListVersion's answer."""
    return told.get("listVersion", told.get("versionNumber"))


def most_entries_reported(payload: Payload) -> int | None:
    """Entries.maxLimit of the local list, where a NotifyReport has it."""
    for one in payload.get("reportData") or ():
        component, variable = one["component"]["name"], one["variable"]["name"]
        if component.casefold() == _COMPONENT.casefold() and variable.casefold() == "entries":
            limit = (one.get("variableCharacteristics") or {}).get("maxLimit")
            return int(limit) if limit is not None and limit >= 0 else None
    return None


_COMPONENT = "LocalAuthListCtrlr"


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


def _size(payload: Payload) -> int:
    return len(json.dumps(payload, ensure_ascii=False).encode())

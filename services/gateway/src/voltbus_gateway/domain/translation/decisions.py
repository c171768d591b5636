"""A decision about a token, in the words of each version (rules B)."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_backbone.contract.values import AuthorizationStatus, Protocol
from voltbus_gateway.domain.wire.times import format_time

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.auth import Decision
    from voltbus_backbone.contract.values import IdToken
    from voltbus_gateway.domain.wire.frames import Payload

_ID_TAG_LIMIT = 20
_SAME_WORD = {
    AuthorizationStatus.ACCEPTED: "Accepted",
    AuthorizationStatus.BLOCKED: "Blocked",
    AuthorizationStatus.EXPIRED: "Expired",
    AuthorizationStatus.INVALID: "Invalid",
}
# How far in the past the expiry of a translated "Invalid" lies: no cache may keep it.
_ALREADY_PAST = timedelta(seconds=1)

_PRIORITY = 9
_LANGUAGE_LIMIT = 8
_TOKEN_LIMIT = {Protocol.OCPP201: 36, Protocol.OCPP21: 255}
_TYPE_LIMIT = 20
_MESSAGE_LIMIT = {Protocol.OCPP201: 512, Protocol.OCPP21: 1024}
_CLOSED_TYPES = frozenset(
    {
        "Central",
        "eMAID",
        "ISO14443",
        "ISO15693",
        "KeyCode",
        "Local",
        "MacAddress",
        "NoAuthorization",
    }
)


def id_tag_info(decision: Decision, now: datetime, *, starting: bool = False) -> Payload:
    """The decision in 1.6's five words.

    ConcurrentTx is a word for StartTransaction only (1.6 §7.2). What 1.6 can't say becomes Invalid
    with an expiry already past, so that a station's cache doesn't keep it [P].
    """
    word = _SAME_WORD.get(decision.status)
    if word is None and starting and decision.status is AuthorizationStatus.CONCURRENT_TX:
        word = "ConcurrentTx"
    expiry = decision.cache_expiry
    if word is None:
        word, expiry = "Invalid", now - _ALREADY_PAST
    info: Payload = {"status": word}
    if expiry is not None:
        info["expiryDate"] = format_time(expiry)
    if decision.group is not None and 0 < len(decision.group.value) <= _ID_TAG_LIMIT:
        info["parentIdTag"] = decision.group.value
    return info


def id_token_info(decision: Decision, protocol: Protocol) -> Payload:
    """IdTokenInfoType; empty optionals are left out (A18)."""
    info: Payload = {"status": decision.status.value}
    if decision.cache_expiry is not None:
        info["cacheExpiryDateTime"] = format_time(decision.cache_expiry)
    if decision.charging_priority is not None:
        info["chargingPriority"] = _priority(decision.charging_priority)
    if decision.language and len(decision.language) <= _LANGUAGE_LIMIT:
        info["language1"] = decision.language
    if decision.evse_ids:
        info["evseId"] = list(decision.evse_ids)
    if decision.group is not None and 0 < len(decision.group.value) <= _TOKEN_LIMIT[protocol]:
        info["groupIdToken"] = _group(decision.group, protocol)
    if decision.personal_message:
        info["personalMessage"] = _message(decision.personal_message, protocol)
    return info


def _priority(priority: int) -> int:
    return max(-_PRIORITY, min(_PRIORITY, priority))


def _group(group: IdToken, protocol: Protocol) -> Payload:
    # C09.FR.13: a group is Central; 2.0.1 has a closed list of types.
    known = group.type in _CLOSED_TYPES or (
        protocol is Protocol.OCPP21 and 0 < len(group.type) <= _TYPE_LIMIT
    )
    return {"idToken": group.value, "type": group.type if known else "Central"}


def _message(text: str, protocol: Protocol) -> Payload:
    return {"format": "UTF8", "content": text[: _MESSAGE_LIMIT[protocol]]}

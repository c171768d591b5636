"""A higher security profile for a station (ocpp-rules A10; OCPP 2.0.1 A05, 1.6 Whitepaper A05).

Success is the station at a listener of that profile; only then is the minimum raised, so that lower
ones are refused (A05.FR.07, A00.FR.002). Whatever else happens, nothing is raised.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from voltbus_auth.credentials.domain.changes.change import (
    Change,
    HigherProfile,
    Kind,
    State,
    Wanted,
    ended,
    moved,
    started,
)
from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.config import CommandChanged
    from voltbus_backbone.contract.stations import StationConnected

_VERSIONS = {Protocol.OCPP201: "OCPP20", Protocol.OCPP21: "OCPP21"}
# What lets the next step begin; the first is the plain word for it.
_GOOD = frozenset({"Accepted", "RebootRequired", "Scheduled"})
_UNANSWERED = frozenset({CommandStatus.TIMED_OUT})


def begin(
    change_id: str,
    station_id: str,
    profile: HigherProfile,
    now: datetime,
    *,
    wait_s: float,
    timeout_s: float,
) -> Change:
    """An upgrade at its first step."""
    change = Change(
        id=change_id,
        kind=Kind.UPGRADE,
        station_id=station_id,
        state=State.STARTING,
        created_at=now,
        since=now,
        wait_s=wait_s,
        timeout_s=timeout_s,
        revision=0,
        profile=profile,
    )
    return started(change, 0, now)


def steps(profile: HigherProfile) -> list[Wanted]:
    """The commands, each asked for when the one before was accepted."""
    restart = Wanted("reset", {"type": "on_idle"})
    if profile.protocol is Protocol.OCPP16:
        value = str(profile.security_profile)
        return [Wanted("ChangeConfiguration", {"key": "SecurityProfile", "value": value}), restart]
    slots = (profile.configuration_slot, *profile.fallback_slots)
    priority: dict[str, Any] = {
        "component": {"name": "OCPPCommCtrlr"},
        "variable": {"name": "NetworkConfigurationPriority"},
        "attributeValue": ",".join(str(slot) for slot in dict.fromkeys(slots)),
    }
    return [
        Wanted("SetNetworkProfile", _network_profile(profile)),
        Wanted("SetVariables", {"setVariableData": [priority]}),
        restart,
    ]


def _network_profile(profile: HigherProfile) -> dict[str, Any]:
    return {
        "configurationSlot": profile.configuration_slot,
        "connectionData": {
            "ocppVersion": _VERSIONS[profile.protocol],
            "ocppTransport": "JSON",
            "ocppCsmsUrl": profile.url,
            "messageTimeout": profile.message_timeout_s,
            "securityProfile": profile.security_profile,
            "ocppInterface": profile.interface,
        },
    }


def wanted(change: Change) -> Wanted | None:
    """The present step's command."""
    return None if change.profile is None else steps(change.profile)[change.step]


def heard(change: Change, event: CommandChanged) -> Change | None:
    """The upgrade after the final event of its present step's command."""
    if change.profile is None or change.state not in {State.STARTING, State.COMMANDED}:
        return None
    last = len(steps(change.profile)) - 1
    # A 1.6 station that accepts reconnects by itself; it may do so before its answer is out.
    by_itself = change.profile.protocol is Protocol.OCPP16
    goes = by_itself or change.step == last
    if event.status in _UNANSWERED and goes:
        return _waiting(change, event.at)
    if event.status is not CommandStatus.ANSWERED or event.answer_status not in _GOOD:
        said = event.answer_status or event.error_code or event.status.value
        words = f"{event.action} ended with {said}; the profile stays as it was"
        return ended(change, State.FAILED, event.at, words)
    if change.step == last or (by_itself and event.answer_status == "Accepted"):
        return _waiting(change, event.at)
    return started(change, change.step + 1, event.at)


def _waiting(change: Change, at: datetime) -> Change:
    window = timedelta(seconds=change.profile.window_s if change.profile is not None else 0.0)
    # It may have been told of its coming back before the end of the command that it followed.
    detail = change.detail or "the station is to come back with the higher profile"
    return moved(change, State.WAITING, at, due_at=at + window, detail=detail)


def connected(change: Change, event: StationConnected) -> Change | None:
    """The upgrade after a log-in: with the higher profile it has succeeded."""
    # A log-in of before says nothing, however late it is told.
    if change.profile is None or event.at <= change.created_at:
        return None
    if event.security_profile >= change.profile.security_profile:
        words = f"the station connected with security profile {event.security_profile}"
        return ended(change, State.SUCCEEDED, event.at, words)
    if event.at <= change.since:
        return None
    detail = f"the station came back with security profile {event.security_profile}"
    if detail == change.detail:
        return None
    return moved(change, change.state, change.since, detail=detail)


def overdue(change: Change, now: datetime) -> Change | None:
    """The upgrade whose time is over."""
    if change.state is State.WAITING:
        words = f"{change.detail}; it did not in time, and the profile stays as it was"
    else:
        words = "nothing was heard of the command; the profile stays as it was"
    return ended(change, State.FAILED, now, words)

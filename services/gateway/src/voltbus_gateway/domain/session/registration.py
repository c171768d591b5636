"""Who may speak before a station is accepted (A21; 2.x B01-B03, recommended in 1.6)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode

if TYPE_CHECKING:
    from collections.abc import Container

    from voltbus_gateway.domain.wire.frames import Payload

ACCEPTED = "Accepted"
PENDING = "Pending"
REJECTED = "Rejected"

_REPORTS = {
    "GetBaseReport": "NotifyReport",
    "GetReport": "NotifyReport",
    "GetMonitoringReport": "NotifyMonitoringReport",
}
# B02.FR.05 and 1.6 §4.2: no transaction is started or stopped from afar before acceptance.
_NOT_WHILE_PENDING = frozenset(
    {
        "RemoteStartTransaction",
        "RemoteStopTransaction",
        "RequestStartTransaction",
        "RequestStopTransaction",
    }
)


def check_call(action: str, registration: str | None, asked_for: Container[str] = ()) -> None:
    """Check that a station's call is allowed in its registration state.

    ``registration`` is Accepted, Pending, Rejected, or None while nobody has decided.
    ``asked_for`` are the actions that we asked this station for (``find_requested_action``).

    Raises:
        CallFailed: SecurityError (B02.FR.09, B03.FR.07), or InternalError while nothing is known:
            then the station tries again instead of taking it for a refusal [P].
    """
    if registration == ACCEPTED or action == "BootNotification":
        return
    if registration is None:
        raise CallFailed(ErrorCode.INTERNAL_ERROR, "The registration is not known yet, try again")
    if registration == PENDING and action in asked_for:
        return
    raise CallFailed(
        ErrorCode.SECURITY_ERROR, f"Registration is {registration}: send BootNotification first"
    )


def find_requested_action(action: str, payload: Payload) -> str | None:
    """Return the action that our command makes a pending station send (B02.FR.09)."""
    if action in {"TriggerMessage", "ExtendedTriggerMessage"}:
        wanted = payload.get("requestedMessage")
        return _TRIGGERED.get(wanted, wanted) if isinstance(wanted, str) else None
    return _REPORTS.get(action)


# What TriggerMessage calls by another name than the action.
_TRIGGERED = {
    "SignChargePointCertificate": "SignCertificate",
    "SignChargingStationCertificate": "SignCertificate",
    "SignV2GCertificate": "SignCertificate",
    "SignV2G20Certificate": "SignCertificate",
    "SignCombinedCertificate": "SignCertificate",
}


def may_send(action: str, registration: str | None) -> bool:
    """Return whether a command may go to a station: nothing when rejected (B03.FR.03)."""
    if registration == ACCEPTED:
        return True
    return registration == PENDING and action not in _NOT_WHILE_PENDING

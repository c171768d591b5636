"""Who may speak before a station is accepted (A21, B02, B03)."""

from __future__ import annotations

import pytest

from voltbus_gateway.domain.session.registration import check_call, find_requested_action, may_send
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode


@pytest.mark.parametrize("registration", ["Accepted", "Pending", "Rejected", None])
def test_a_boot_notification_is_always_let_through(registration: str | None) -> None:
    """It is how a station gets out of any of these."""
    check_call("BootNotification", registration)


def test_an_accepted_station_says_what_it_likes() -> None:
    """Also without a BootNotification on this connection (A20): the registration is what counts."""
    check_call("StopTransaction", "Accepted")


@pytest.mark.parametrize("registration", ["Pending", "Rejected"])
def test_others_get_a_security_error(registration: str) -> None:
    """B02.FR.09, B03.FR.07."""
    with pytest.raises(CallFailed) as caught:
        check_call("Heartbeat", registration)
    assert caught.value.code is ErrorCode.SECURITY_ERROR


def test_a_pending_station_may_send_what_it_was_asked_for() -> None:
    """B02.FR.09: messages that we triggered; not those of a rejected station (B03)."""
    asked = {"StatusNotification"}
    check_call("StatusNotification", "Pending", asked)
    for action, registration in (("Heartbeat", "Pending"), ("StatusNotification", "Rejected")):
        with pytest.raises(CallFailed):
            check_call(action, registration, asked)


def test_an_undecided_registration_is_no_refusal() -> None:
    """[P] InternalError makes a station try again; SecurityError would be an accusation."""
    with pytest.raises(CallFailed) as caught:
        check_call("StopTransaction", None)
    assert caught.value.code is ErrorCode.INTERNAL_ERROR


@pytest.mark.parametrize(
    ("action", "payload", "asked"),
    [
        ("TriggerMessage", {"requestedMessage": "Heartbeat"}, "Heartbeat"),
        ("ExtendedTriggerMessage", {"requestedMessage": "FirmwareStatusNotification"}, "Firmware"),
        (
            "TriggerMessage",
            {"requestedMessage": "SignChargingStationCertificate"},
            "SignCertificate",
        ),
        ("ExtendedTriggerMessage", {"requestedMessage": "SignChargePointCertificate"}, "SignCert"),
        ("GetBaseReport", {"requestId": 1, "reportBase": "FullInventory"}, "NotifyReport"),
        ("GetReport", {"requestId": 1}, "NotifyReport"),
        ("GetMonitoringReport", {"requestId": 1}, "NotifyMonitoringReport"),
    ],
)
def test_what_a_command_asks_for(action: str, payload: dict[str, object], asked: str) -> None:
    """The names of TriggerMessage are not all names of actions."""
    found = find_requested_action(action, payload)
    assert found is not None
    assert found.startswith(asked)


@pytest.mark.parametrize("payload", [{}, {"requestedMessage": 5}])
def test_a_command_that_asks_for_nothing(payload: dict[str, object]) -> None:
    """Not every command triggers a message, and a broken one triggers none."""
    assert find_requested_action("TriggerMessage", payload) is None
    assert find_requested_action("Reset", payload) is None


def test_which_commands_may_go_out() -> None:
    """B02.FR.05: no remote start while pending; B03.FR.03: nothing while rejected."""
    assert may_send("RequestStartTransaction", "Accepted")
    assert may_send("SetVariables", "Pending")
    for action in ("RemoteStartTransaction", "RequestStopTransaction"):
        assert not may_send(action, "Pending")
    assert not may_send("SetVariables", "Rejected")
    assert not may_send("SetVariables", None)

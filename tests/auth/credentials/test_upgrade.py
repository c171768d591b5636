"""An upgrade's steps: nothing is raised before the station has come with the higher profile."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import NOW, STATION, command_changed, connected
from voltbus_auth.credentials.api.rotating import UpgradeRequest, address
from voltbus_auth.credentials.domain.changes import change as states
from voltbus_auth.credentials.domain.changes import following, upgrade
from voltbus_auth.credentials.domain.changes.change import Change, HigherProfile, State
from voltbus_auth.credentials.domain.credentials import Credentials
from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from datetime import datetime

SECOND = timedelta(seconds=1)
V2 = (Protocol.OCPP201, Protocol.OCPP21)


def begun(protocol: Protocol) -> Change:
    profile = HigherProfile(
        security_profile=2,
        protocol=protocol,
        window_s=600,
        url="wss://csms.example/ocpp",
        configuration_slot=2,
        fallback_slots=(1,),
    )
    return upgrade.begin("u-1", STATION, profile, NOW, wait_s=60, timeout_s=30)


def told(
    change: Change,
    answer: str | None,
    status: CommandStatus = CommandStatus.ANSWERED,
    at: datetime = NOW,
) -> Change:
    wanted = upgrade.wanted(change)
    assert wanted is not None
    event = command_changed(
        wanted.action,
        status,
        answer,
        command_id=f"cmd-{change.step}",
        at=at,
        cause=states.cause(change),
    )
    return following.heard(change, event) or change


def came(change: Change, security_profile: int, at: datetime) -> Change:
    event = connected(at, security_profile=security_profile)
    return following.connected(change, event) or change


def minimum(change: Change) -> int:
    known = Credentials(station_id=STATION, minimum_profile=1, verifiers=())
    return states.settled(known, change).minimum_profile


@pytest.mark.parametrize("protocol", V2)
def test_profile_then_priority_then_reset(protocol: Protocol) -> None:
    """2.x: each command only after the one before was accepted, the new slot first (A05, B09)."""
    change = begun(protocol)
    actions = []
    for answer in ("Accepted", "RebootRequired", "Scheduled"):
        wanted = upgrade.wanted(change)
        assert wanted is not None
        actions.append(wanted.action)
        assert change.state is State.STARTING
        change = told(change, answer)
    assert actions == ["SetNetworkProfile", "SetVariables", "reset"]
    assert change.state is State.WAITING
    up = came(change, 2, NOW + SECOND)
    assert (up.state, minimum(up)) == (State.SUCCEEDED, 2)


@pytest.mark.parametrize(
    ("protocol", "version"), [(Protocol.OCPP201, "OCPP20"), (Protocol.OCPP21, "OCPP21")]
)
def test_the_network_profile_is_of_the_stations_version(protocol: Protocol, version: str) -> None:
    """The slot, where to, and the profile (2.0.1 B09.FR.01; the version's own enumeration)."""
    wanted = begun(protocol).profile
    assert wanted is not None
    profile, priority, _ = upgrade.steps(wanted)
    data = profile.payload["connectionData"]
    assert (data["ocppVersion"], data["securityProfile"]) == (version, 2)
    assert data["ocppCsmsUrl"] == "wss://csms.example/ocpp"
    (variable,) = priority.payload["setVariableData"]
    assert variable["attributeValue"] == "2,1"


@pytest.mark.parametrize("step", range(3))
def test_a_refused_step_ends_it(step: int) -> None:
    """The next one is not asked for, and the profile stays (A05.FR.02)."""
    change = begun(Protocol.OCPP201)
    for _ in range(step):
        change = told(change, "Accepted")
    over = told(change, "Rejected")
    assert (over.state, minimum(over)) == (State.FAILED, 1)
    assert "Rejected" in over.detail


def test_16_reconnects_by_itself_or_after_a_restart() -> None:
    """1.6: Accepted, and the station comes; RebootRequired, and it is reset first."""
    change = begun(Protocol.OCPP16)
    assert told(change, "Accepted").state is State.WAITING
    second = told(change, "RebootRequired")
    assert second.state is State.STARTING
    wanted = upgrade.wanted(second)
    assert wanted is not None
    assert wanted.action == "reset"
    assert told(second, "Accepted").state is State.WAITING


def test_a_station_that_went_before_its_answer_was_out_may_still_come() -> None:
    """The last command timed out: perhaps it restarted. An earlier one: it is over."""
    assert told(begun(Protocol.OCPP16), None, CommandStatus.TIMED_OUT).state is State.WAITING
    assert told(begun(Protocol.OCPP21), None, CommandStatus.TIMED_OUT).state is State.FAILED


def test_a_station_that_comes_back_as_it_was_fails_after_the_window() -> None:
    """Said in words, and nothing is raised; within the window it may try again."""
    waiting = told(begun(Protocol.OCPP16), "Accepted")
    back = came(waiting, 1, NOW + SECOND)
    assert back.state is State.WAITING
    assert following.overdue(back, NOW + timedelta(seconds=599)) is None
    over = following.overdue(back, NOW + timedelta(seconds=600))
    assert over is not None
    assert (over.state, minimum(over)) == (State.FAILED, 1)
    assert "came back with security profile 1" in over.detail
    assert came(back, 2, NOW + 2 * SECOND).state is State.SUCCEEDED


def test_a_log_in_of_before_is_no_success() -> None:
    """A station that was at the higher profile once, told late or again: nothing is raised."""
    change = begun(Protocol.OCPP16)
    assert came(change, 2, NOW - SECOND) == change
    assert came(told(change, "Accepted"), 3, NOW).state is State.WAITING


def test_coming_back_may_be_told_before_the_command_that_it_followed() -> None:
    """Two topics are not ordered against each other: the words are the same either way."""
    change = begun(Protocol.OCPP16)
    early = told(came(change, 1, NOW + SECOND), "Accepted", at=NOW + 2 * SECOND)
    assert early.state is State.WAITING
    assert "came back with security profile 1" in early.detail


def test_an_earlier_steps_event_again_moves_nothing() -> None:
    """The events of a step's command name the step: a redelivered one is not taken for the next."""
    first = begun(Protocol.OCPP201)
    second = told(first, "Accepted")
    event = command_changed(
        "SetNetworkProfile", answer="Accepted", command_id="cmd-0", cause=states.cause(first)
    )
    assert following.heard(second, event) is None


@pytest.mark.parametrize("url", ["wss://csms.example", "wss://csms.example/"])
@pytest.mark.parametrize("path", ["", "ocpp", "ocpp/"])
def test_the_address_ends_without_a_slash(url: str, path: str) -> None:
    """The station appends "/" and its identity (2.x Part 4 §3.1.1): two would be a 404."""
    joined = f"{url.rstrip('/')}/{path}" if path else url
    wanted = UpgradeRequest.model_validate({"security_profile": 2, "url": joined})
    assert address(wanted) in {"wss://csms.example", "wss://csms.example/ocpp"}

"""Settings as OCPP calls, held against OCPP's schemas, and the answers' meaning (ocpp-rules C)."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from config.config_examples import EVERY_PROTOCOL, NOW, assert_valid
from voltbus_backbone.bounds import COMMAND_BYTES
from voltbus_backbone.contract.values import Protocol
from voltbus_config.domain.compile import (
    CompileOptions,
    SettingTarget,
    compile_calls,
    judge_answer,
    judge_error,
)
from voltbus_config.domain.desired import SettingState

OCPP2 = [Protocol.OCPP201, Protocol.OCPP21]
METHODS = ["rfid", "app", "plug_and_charge", "autocharge", "key_code", "card", "web", "free"]


def compiled(
    protocol: Protocol, wanted: dict[str, Any], **options: Any
) -> tuple[list[tuple[str, dict[str, Any]]], dict[str, str]]:
    """The calls, each valid in its version, and what is unsupported."""
    targets = [SettingTarget(key, value, NOW) for key, value in wanted.items()]
    made, unsupported = compile_calls(protocol, targets, CompileOptions(**options))
    for call in made:
        assert_valid(protocol, call.action, call.payload)
    brought = [key for call in made for key in call.keys]
    assert sorted({*brought, *unsupported}) == sorted(wanted)
    return [(call.action, call.payload) for call in made], unsupported


# Charging speed.


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
@given(limit=st.floats(0, 1_000_000, allow_nan=False), unit=st.sampled_from(["W", "A"]))
def test_any_charging_speed_is_a_valid_profile(protocol: Protocol, limit: float, unit: str) -> None:
    """1.6 wants multiples of 0.1; the same target always makes the same profile."""
    wanted = {"charging_speed": {"limit": limit, "unit": unit}}
    first, _ = compiled(protocol, wanted)
    assert compiled(protocol, wanted)[0] == first


def test_a_1_6_charging_speed_is_the_maximum_of_the_whole_charge_point() -> None:
    """ChargePointMaxProfile is for connector 0 (1.6 §3.13.1)."""
    [(action, payload)], _ = compiled(
        Protocol.OCPP16, {"charging_speed": {"limit": 11000.0, "unit": "W"}}
    )
    assert action == "SetChargingProfile"
    assert payload["connectorId"] == 0
    profile = payload["csChargingProfiles"]
    assert profile["chargingProfilePurpose"] == "ChargePointMaxProfile"
    assert profile["chargingSchedule"] == {
        "startSchedule": "2026-06-01T12:00:00Z",
        "chargingRateUnit": "W",
        "chargingSchedulePeriod": [{"startPeriod": 0, "limit": 11000}],
    }


@pytest.mark.parametrize("protocol", OCPP2)
def test_a_2_x_charging_speed_is_never_relative(protocol: Protocol) -> None:
    """ChargingStationMaxProfile is for EVSE 0 and must not be Relative (K01.FR.03, K01.FR.38)."""
    [(_, payload)], _ = compiled(protocol, {"charging_speed": {"limit": 32, "unit": "A"}})
    assert payload["evseId"] == 0
    assert payload["chargingProfile"]["chargingProfilePurpose"] == "ChargingStationMaxProfile"
    assert payload["chargingProfile"]["chargingProfileKind"] == "Absolute"
    assert len(payload["chargingProfile"]["chargingSchedule"]) == 1


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
def test_a_charging_speed_taken_away_is_cleared(protocol: Protocol) -> None:
    """By the id that the profile was set with."""
    [(action, payload)], _ = compiled(protocol, {"charging_speed": None})
    assert action == "ClearChargingProfile"
    assert list(payload.values()) == [CompileOptions().profile_id]


# Opening hours.


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
@pytest.mark.parametrize("word", ["Operative", "Inoperative"])
def test_availability_is_the_whole_station_s(protocol: Protocol, word: str) -> None:
    """Opening hours are ChangeAvailability of the station (rules C)."""
    [(action, payload)], _ = compiled(protocol, {"opening_hours": word})
    assert action == "ChangeAvailability"
    assert word in payload.values()
    assert payload.get("connectorId", 0) == 0
    assert "evse" not in payload


# Payment methods.


def test_1_6_payment_methods_need_a_vendor_s_key() -> None:
    """Without one: unsupported; with one: a list with commas (rules C)."""
    _, unsupported = compiled(Protocol.OCPP16, {"payment_methods": ["app"]}, vendor="Acme")
    assert "payment_methods" in unsupported
    made, _ = compiled(
        Protocol.OCPP16,
        {"payment_methods": ["app", "rfid"]},
        vendor="Acme",
        payment_keys={"Acme": "Methods"},
    )
    assert made == [("ChangeConfiguration", {"key": "Methods", "value": "app,rfid"})]


@given(st.sets(st.sampled_from(METHODS)))
def test_any_payment_methods_are_valid_variables_in_2_1(methods: set[str]) -> None:
    """AuthCtrlr, ISO15118Ctrlr, PaymentCtrlr and WebPaymentsCtrlr, each variable once (B05)."""
    [(_, payload)], _ = compiled(Protocol.OCPP21, {"payment_methods": sorted(methods)})
    values = {
        f"{each['component']['name']}.{each['variable']['name']}": each["attributeValue"]
        for each in payload["setVariableData"]
    }
    assert len(values) == len(payload["setVariableData"])
    assert values["PaymentCtrlr.Enabled"] == str("card" in methods).lower()
    assert values["WebPaymentsCtrlr.Enabled"] == str("web" in methods).lower()
    assert ("eMAID" in values["AuthCtrlr.SupportedIdTokenType"]) == ("plug_and_charge" in methods)


def test_payment_at_the_station_needs_2_1() -> None:
    """2.0.1 has no payment terminal (C20 and following are 2.1)."""
    _, unsupported = compiled(Protocol.OCPP201, {"payment_methods": ["rfid", "card"]})
    assert "2.1" in unsupported["payment_methods"]


def test_free_charging_switches_authorization_off_in_2_0_1() -> None:
    """AuthCtrlr.Enabled false is charging without a token (C02)."""
    [(_, payload)], _ = compiled(Protocol.OCPP201, {"payment_methods": ["free"]})
    assert payload["setVariableData"][0]["attributeValue"] == "false"


def test_what_is_switched_off_need_not_exist() -> None:
    """A station without ISO 15118 satisfies "no plug and charge"; one that should have it, not."""
    for methods, expected in (
        (["rfid"], SettingState.IN_SYNC),
        (["plug_and_charge"], SettingState.UNSUPPORTED),
    ):
        [call], _ = compile_calls(
            Protocol.OCPP201, [SettingTarget("payment_methods", methods, NOW)], CompileOptions()
        )
        results = [
            {
                "attributeStatus": "UnknownComponent"
                if each["component"]["name"] == "ISO15118Ctrlr"
                else "Accepted",
                "component": each["component"],
                "variable": each["variable"],
            }
            for each in call.payload["setVariableData"]
        ]
        verdicts = judge_answer(
            Protocol.OCPP201,
            call.action,
            call.keys,
            {"setVariableResult": results},
            [list(note) for note in call.notes],
        )
        assert verdicts["payment_methods"].state is expected


# Keys.


@pytest.mark.parametrize(
    ("key", "component", "variable"),
    [
        ("OCPPCommCtrlr.HeartbeatInterval", {"name": "OCPPCommCtrlr"}, "HeartbeatInterval"),
        ("Connector/left.Available", {"name": "Connector", "instance": "left"}, "Available"),
        ("EVSE:2.Power", {"name": "EVSE", "evse": {"id": 2}}, "Power"),
    ],
)
def test_a_2_x_key_names_a_component_and_a_variable(
    key: str, component: dict[str, Any], variable: str
) -> None:
    """Component.Variable, with an instance or an EVSE where there are several."""
    [(_, payload)], _ = compiled(Protocol.OCPP201, {f"keys.{key}": "1"})
    [data] = payload["setVariableData"]
    assert data["component"] == component
    assert data["variable"] == {"name": variable}


@pytest.mark.parametrize("protocol", OCPP2)
@pytest.mark.parametrize("key", ["HeartbeatInterval", "A.B.C", "A/.B", "A:x.B", f"{'A' * 51}.B"])
def test_a_key_that_names_no_variable_is_unsupported(protocol: Protocol, key: str) -> None:
    """A 1.6 key at a 2.x station is said to be one, not sent."""
    made, unsupported = compiled(protocol, {f"keys.{key}": "1"})
    assert made == []
    assert "Component.Variable" in unsupported[f"keys.{key}"]


@pytest.mark.parametrize(
    ("protocol", "longest"),
    [(Protocol.OCPP16, 500), (Protocol.OCPP201, 1000), (Protocol.OCPP21, 2500)],
)
def test_a_value_is_as_long_as_its_version_allows(protocol: Protocol, longest: int) -> None:
    """500 characters in 1.6, 1000 in 2.0.1, 2500 in 2.1."""
    made, _ = compiled(protocol, {"keys.A.B": "x" * longest})
    assert len(made) == 1
    _, unsupported = compiled(protocol, {"keys.A.B": "x" * (longest + 1)})
    assert unsupported


def test_however_many_variables_may_go_together_a_call_fits_a_record() -> None:
    """500 long values and no bound on their number: several calls, none larger than a command."""
    wanted = {f"keys.Component{n}.Variable": "\x01" * 2500 for n in range(500)}
    made, _ = compiled(Protocol.OCPP21, wanted, variables_per_call=500)
    assert len(made) > 1
    assert all(len(msgspec.json.encode(payload)) <= COMMAND_BYTES for _, payload in made)


@given(st.integers(1, 40), st.integers(1, 12))
def test_variables_are_sent_in_batches(count: int, most: int) -> None:
    """At most so many per SetVariables (B05.FR.11), each variable once (B05.FR.13)."""
    wanted = {f"keys.Ctrlr.V{number}": "1" for number in range(count)}
    made, _ = compiled(Protocol.OCPP21, wanted, variables_per_call=most)
    sizes = [len(payload["setVariableData"]) for _, payload in made]
    assert sum(sizes) == count
    assert max(sizes) <= most
    assert len(sizes) == -(-count // most)


def test_the_same_variable_never_stands_twice_in_a_request() -> None:
    """Names are case-insensitive, so two spellings go in two requests (B05.FR.13)."""
    made, _ = compiled(
        Protocol.OCPP21, {"keys.AuthCtrlr.Enabled": "true", "keys.authctrlr.enabled": "false"}
    )
    assert len(made) == 2


def test_the_variables_of_one_setting_travel_together() -> None:
    """One answer decides the payment methods, whatever else is written beside them."""
    wanted = {"keys.AuthCtrlr.Enabled": "true", "payment_methods": ["rfid"], "keys.A.B": "1"}
    calls_made, _ = compile_calls(
        Protocol.OCPP201,
        [SettingTarget(key, value, NOW) for key, value in wanted.items()],
        CompileOptions(variables_per_call=4),
    )
    brought = [key for call in calls_made for key in call.keys]
    assert sorted(brought) == sorted(wanted)


# Answers.


def test_an_answer_that_leaves_a_variable_out_refuses_it() -> None:
    """What the station does not mention it did not do."""
    [call], _ = compile_calls(
        Protocol.OCPP201, [SettingTarget("keys.A.B", "1", NOW)], CompileOptions()
    )
    answers: list[dict[str, Any]] = [
        {},
        {"setVariableResult": []},
        {"setVariableResult": ["nonsense"]},
    ]
    for payload in answers:
        verdicts = judge_answer(Protocol.OCPP201, call.action, call.keys, payload, call.notes)
        assert verdicts["keys.A.B"].state is SettingState.REJECTED


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("NotImplemented", SettingState.UNSUPPORTED),
        ("NotSupported", SettingState.UNSUPPORTED),
        ("SecurityError", SettingState.REJECTED),
        ("FormationViolation", SettingState.REJECTED),
        ("InvalidPayload", SettingState.REJECTED),
        ("InternalError", None),
        ("GenericError", None),
        (None, None),
    ],
)
def test_a_callerror_refuses_or_asks_for_another_try(
    code: str | None, expected: SettingState | None
) -> None:
    """A station's own trouble is no refusal: the setting is tried again."""
    verdict = judge_error(code)
    assert (None if verdict is None else verdict.state) is expected

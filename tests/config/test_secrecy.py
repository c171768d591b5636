"""What config keeps of answers to calls that carried a password, or asked for one (pure)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from config.config_examples import NOW
from config.test_commands import CONNECTION, MARGIN, end, queued
from voltbus_backbone.contract.config import CallOutcome
from voltbus_config.domain import commands as command_rules
from voltbus_config.domain import secrecy

PASSWORD = "0f1e2d3c4b5a69788796"
PLACE = {"component": {"name": "SecurityCtrlr"}, "variable": {"name": "BasicAuthPassword"}}
OTHER = {"component": {"name": "OCPPCommCtrlr"}, "variable": {"name": "HeartbeatInterval"}}
BY_16: dict[str, Any] = {"key": "AuthorizationKey", "value": PASSWORD}
BY_2: dict[str, Any] = {
    "setVariableData": [{**PLACE, "attributeValue": PASSWORD}, {**OTHER, "attributeValue": "60"}]
}
BY_PROFILE: dict[str, Any] = {
    "configurationSlot": 1,
    "connectionData": {"basicAuthPassword": PASSWORD, "ocppCsmsUrl": "wss://csms.example"},
}


@pytest.mark.parametrize(
    ("action", "payload", "expected"),
    [
        ("ChangeConfiguration", BY_16, True),
        ("ChangeConfiguration", {"key": "authorizationKEY", "value": PASSWORD}, True),
        ("ChangeConfiguration", {"key": "HeartbeatInterval", "value": "60"}, False),
        ("SetVariables", BY_2, True),
        ("SetVariables", {"setVariableData": [{**OTHER, "attributeValue": "60"}]}, False),
        ("SetNetworkProfile", BY_PROFILE, True),
        ("SetNetworkProfile", {"connectionData": {"apn": {"apnPassword": PASSWORD}}}, True),
        ("GetConfiguration", {"key": ["AuthorizationKey"]}, False),
        ("ClearCache", None, False),
    ],
)
def test_a_call_with_a_secret_is_known_by_its_names(
    action: str,
    payload: dict[str, Any] | None,
    expected: bool,  # noqa: FBT001 - a table
) -> None:
    """Passwords under every name and place that OCPP has for them (A01, B09)."""
    assert secrecy.carries_secret(action, payload) is expected


@pytest.mark.parametrize(
    ("action", "payload", "answer"),
    [
        ("ChangeConfiguration", BY_16, {"status": "Rejected", "info": PASSWORD}),
        (
            "SetVariables",
            BY_2,
            {
                "setVariableResult": [
                    {
                        **PLACE,
                        "attributeStatus": "Rejected",
                        "attributeStatusInfo": {
                            "reasonCode": "Weak",
                            "additionalInfo": f"{PASSWORD} is weak",
                        },
                    },
                    {**OTHER, "attributeStatus": "Accepted"},
                ]
            },
        ),
        (
            "SetNetworkProfile",
            BY_PROFILE,
            {"status": "Failed", "statusInfo": {"reasonCode": "X", "additionalInfo": PASSWORD}},
        ),
    ],
)
def test_a_station_that_repeats_the_password_does_not_get_it_stored(
    action: str, payload: dict[str, Any], answer: dict[str, Any]
) -> None:
    """Neither in the answer nor in the words of a CALLERROR; what became of it stays (A6)."""
    out = command_rules.mark_sent(queued(action=action, payload=payload), CONNECTION, NOW, MARGIN)
    answered = msgspec.structs.replace(end(CallOutcome.ANSWERED), payload=answer)
    refused = msgspec.structs.replace(
        end(CallOutcome.REJECTED), error_code="InternalError", error_description=PASSWORD
    )
    after = [
        command_rules.apply_result(out, heard, NOW + timedelta(seconds=1))
        for heard in (answered, refused)
    ]
    assert PASSWORD not in repr(after)
    assert after[0] is not None
    assert after[0].answer is not None
    assert "Rejected" in str(after[0].answer) or after[0].answer == {"status": "Failed"}
    assert after[1] is not None
    assert after[1].error_code == "InternalError"


def test_a_station_that_tells_its_key_when_asked_does_not_get_it_stored() -> None:
    """GetConfiguration and GetVariables answers keep everything but the values of secrets."""
    answer = {
        "configurationKey": [
            {"key": "AuthorizationKey", "readonly": False, "value": PASSWORD},
            {"key": "HeartbeatInterval", "readonly": False, "value": "60"},
        ],
        "getVariableResult": [
            {**PLACE, "attributeStatus": "Accepted", "attributeValue": PASSWORD},
            {**OTHER, "attributeStatus": "Accepted", "attributeValue": "60"},
        ],
    }
    found = secrecy.redact_answer(answer, secret=False)
    assert found is not None
    assert PASSWORD not in str(found)
    assert [each["value"] for each in found["configurationKey"]] == [secrecy.HIDDEN, "60"]
    assert found["getVariableResult"][1]["attributeValue"] == "60"


@pytest.mark.parametrize("name", ["Token", "VehicleId", "VpnKey"])
def test_who_stands_there_is_not_kept(name: str) -> None:
    """A reader's token and a vehicle's id in an answer are not stored (ocpp-rules A6)."""
    result = {
        "attributeStatus": "Accepted",
        "component": {"name": "TokenReader"},
        "variable": {"name": name},
        "attributeValue": "04A1B2C3D4E5F6",
    }
    stored = secrecy.redact_answer({"getVariableResult": [result]}, secret=False)
    assert "04A1B2C3D4E5F6" not in str(stored)


def test_an_answer_beyond_its_schema_tells_no_secret_either() -> None:
    """What fits no schema is kept too, so a secret may stand under any name (A6, ADR 12)."""
    answer = {
        "configurationKey": [
            {"key": "AuthorizationKey", "readonly": False, "currentValue": PASSWORD},
            {"key": "HeartbeatInterval", "readonly": False, "currentValue": "60"},
        ],
        "getVariableResult": [{**PLACE, "attributeStatus": "Accepted", "mutability": PASSWORD}],
        "basicAuthPassword": PASSWORD,
        "uptime": 12,
    }
    found = secrecy.redact_answer(answer, secret=False)
    assert found is not None
    assert PASSWORD not in str(found)
    assert found["configurationKey"][1]["currentValue"] == "60"
    assert found["uptime"] == 12


def test_a_status_that_is_the_password_is_not_kept() -> None:
    """A station may put anything where a status belongs; a word of letters is one."""
    for payload, answer in (
        (BY_16, {"status": PASSWORD}),
        (BY_2, {"setVariableResult": [{**PLACE, "attributeStatus": PASSWORD}]}),
    ):
        out = command_rules.mark_sent(queued(action="X", payload=payload), CONNECTION, NOW, MARGIN)
        answered = msgspec.structs.replace(end(CallOutcome.ANSWERED), payload=answer)
        after = command_rules.apply_result(out, answered, NOW)
        assert after is not None
        assert PASSWORD not in repr(after)

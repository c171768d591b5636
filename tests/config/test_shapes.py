"""Commands that read the same for every version, as OCPP calls."""

from __future__ import annotations

import json
from typing import Any

import jsonschema_rs
import pytest

from config.config_examples import EVERY_PROTOCOL, NOW, assert_valid
from voltbus_backbone.contract.config import CommandStatus
from voltbus_backbone.contract.values import Protocol
from voltbus_config.api.bodies import NewCommand
from voltbus_config.domain.commands import Command, Purpose
from voltbus_config.domain.compile import Unsupported
from voltbus_config.domain.shapes import SHAPES, build_call, find_problem

AT = "2026-06-01T12:00:00+02:00"
PERIOD = {"start_s": 0, "limit": 1}
LATER = {"start_s": 60, "limit": 1}
OWN_PROFILE = {"ocpp_charging_profile": {"chargingProfilePurpose": "TxProfile", "note": "as it is"}}
EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("remote_start", {"id_token": "ABC"}),
    ("remote_start", {"id_token": "ABC", "type": "ISO14443", "evse_id": 2, "remote_start_id": 7}),
    ("remote_start", {"id_token": "ABC", "charging_profile": {"limit": 11_000}}),
    (
        "remote_start",
        {
            "id_token": "ABC",
            "evse_id": 1,
            "charging_profile": {
                "unit": "A",
                "periods": [{"start_s": 0, "limit": 16.14}, {"start_s": 600, "limit": 6}],
                "phases": 3,
                "duration_s": 3600,
                "stack_level": 2,
            },
        },
    ),
    ("remote_stop", {"transaction_id": "42"}),
    ("remote_stop", {"transaction_id": 42}),
    ("reset", {}),
    ("reset", {"type": "immediate"}),
    ("unlock", {}),
    ("unlock", {"evse_id": 2}),
    ("change_availability", {"operative": False}),
    ("change_availability", {"operative": True, "evse_id": 1, "connector_id": 1}),
    *(
        ("trigger", {"message": message})
        for message in (
            "boot",
            "heartbeat",
            "status",
            "meter_values",
            "firmware_status",
            "log_status",
            "sign_certificate",
        )
    ),
    ("trigger", {"message": "status", "evse_id": 1, "connector_id": 1}),
    ("get_log", {"location": "https://example.test/logs"}),
    ("get_log", {"location": "https://example.test/logs", "since": AT, "until": AT, "retries": 2}),
    ("get_log", {"location": "https://example.test/logs", "kind": "security"}),
    ("update_firmware", {"location": "https://example.test/fw", "retrieve_at": AT}),
    (
        "update_firmware",
        {
            "location": "https://example.test/fw",
            "retrieve_at": AT,
            "install_at": AT,
            "signature": "c2ln",
            "signing_certificate": "-----BEGIN CERTIFICATE-----",
            "retries": 3,
            "retry_interval_s": 60,
        },
    ),
    ("clear_cache", {}),
    ("set_password", {"password": "0f" * 20}),
]


def command(action: str, payload: dict[str, Any]) -> Command:
    return Command(
        id="cmd-1",
        station_id="CS-1",
        action=action,
        status=CommandStatus.QUEUED,
        purpose=Purpose.OPERATOR,
        created_at=NOW,
        payload=payload,
    )


def test_every_shape_has_an_example() -> None:
    """What is offered is tested."""
    assert {action for action, _ in EXAMPLES} == set(SHAPES)


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
@pytest.mark.parametrize(("action", "payload"), EXAMPLES)
def test_a_shape_is_a_valid_call_in_every_version(
    action: str, payload: dict[str, Any], protocol: Protocol
) -> None:
    """The payload holds against the version's own schema, with no empty optional (A18)."""
    assert find_problem(action, payload) is None
    name, made = build_call(command(action, payload), protocol)
    assert_valid(protocol, name, made)
    assert None not in made.values()


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
def test_a_station_s_own_profile_goes_out_as_it_is(protocol: Protocol) -> None:
    """What the convenience shape lacks is said in the version's words; the gateway checks them."""
    _, made = build_call(command("remote_start", {"id_token": "A"} | OWN_PROFILE), protocol)
    assert made["chargingProfile"] == OWN_PROFILE["ocpp_charging_profile"]


def test_a_remote_start_is_told_by_its_command() -> None:
    """2.x needs a remoteStartId; the same command has the same one, whenever it is sent."""
    first = build_call(command("remote_start", {"id_token": "A"}), Protocol.OCPP201)
    again = build_call(command("remote_start", {"id_token": "A"}), Protocol.OCPP201)
    assert first == again


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("reset", {"evse_id": 1}),
        ("remote_stop", {"transaction_id": "abc"}),
        ("remote_stop", {"transaction_id": "\u00b2"}),  # a digit, but no number
        ("remote_stop", {"transaction_id": -1}),
        ("unlock", {"evse_id": 2, "connector_id": 3}),
        ("change_availability", {"operative": True, "evse_id": 1, "connector_id": 2}),
        ("update_firmware", {"location": "x", "retrieve_at": AT, "install_at": AT}),
    ],
)
def test_what_1_6_can_not_do_is_unsupported(action: str, payload: dict[str, Any]) -> None:
    """A whole-station reset only, and transaction ids that are numbers (1.6 §5.14, §5.12)."""
    assert find_problem(action, payload) is None
    with pytest.raises(Unsupported):
        build_call(command(action, payload), Protocol.OCPP16)


@pytest.mark.parametrize(
    ("place", "connector"),
    [
        ({"connector_id": 2}, 2),
        ({"evse_id": 2}, 2),
        ({"evse_id": 2, "connector_id": 1}, 2),
        ({"evse_id": 2, "connector_id": 2}, 2),
    ],
)
@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("remote_start", {"id_token": "A"}),
        ("unlock", {}),
        ("change_availability", {"operative": False}),
        ("trigger", {"message": "status"}),
    ],
)
def test_every_shape_means_the_same_connector_in_1_6(
    action: str, payload: dict[str, Any], place: dict[str, int], connector: int
) -> None:
    """1.6 counts connectors through the station; an EVSE's first one goes by the EVSE's number."""
    _, made = build_call(command(action, payload | place), Protocol.OCPP16)
    assert made["connectorId"] == connector


@pytest.mark.parametrize("protocol", [Protocol.OCPP201, Protocol.OCPP21])
@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("remote_start", {"id_token": "A"}),
        ("unlock", {}),
        ("change_availability", {"operative": False}),
        ("trigger", {"message": "status"}),
    ],
)
def test_a_connector_without_its_evse_is_nothing_in_2x(
    action: str, payload: dict[str, Any], protocol: Protocol
) -> None:
    """2.x counts connectors per EVSE: left out, the call would concern the whole station."""
    wanted = payload | {"connector_id": 2}
    assert find_problem(action, wanted) is None
    build_call(command(action, wanted), Protocol.OCPP16)
    with pytest.raises(Unsupported, match="evse_id"):
        build_call(command(action, wanted), protocol)


@pytest.mark.parametrize(
    ("action", "payload"),
    [
        ("remote_start", {}),
        ("remote_start", {"id_token": "A", "colour": "red"}),
        ("remote_start", {"id_token": "A", "charging_profile": {}}),
        ("remote_start", {"id_token": "A", "charging_profile": {"limit": -1}}),
        ("remote_start", {"id_token": "A", "charging_profile": {"limit": 1, "periods": [PERIOD]}}),
        ("remote_start", {"id_token": "A", "charging_profile": {"periods": [PERIOD, PERIOD]}}),
        ("remote_start", {"id_token": "A", "charging_profile": {"periods": [LATER]}}),
        ("remote_start", {"id_token": "A", "charging_profile": {"limit": 1}} | OWN_PROFILE),
        ("remote_start", {"id_token": "A", "ocpp_charging_profile": {"id": 1}}),
        ("reset", {"type": "hard"}),
        ("trigger", {"message": "dance"}),
        ("update_firmware", {"location": "x", "retrieve_at": "tomorrow"}),
        ("update_firmware", {"location": "x", "retrieve_at": AT, "signature": "c2ln"}),
        ("update_firmware", {"location": "x", "retrieve_at": AT, "signing_certificate": "-"}),
        ("remote_strat", {"id_token": "A"}),
        ("remote_stop", {"transaction_id": "9" * 5000}),
        ("get_log", {"location": "x", "since": "0001-01-01T00:00:00+05:00"}),
        ("get_log", {"location": "x", "retries": 2**63}),
        ("DataTransfer", {"data": -(2**64)}),
        ("DataTransfer", {"a\0b": 1}),
    ],
)
def test_a_mistake_is_said_in_words_without_values(action: str, payload: dict[str, Any]) -> None:
    """The operator learns what is wrong; no value is repeated (it may be an id token)."""
    found = find_problem(action, payload)
    assert found is not None
    assert not any(str(value) in str(found) for value in payload.values())


def test_ocpp_s_own_actions_pass_as_they_are() -> None:
    """A CamelCase action is the version's own; the gateway checks it against its schema."""
    assert find_problem("SetNetworkProfile", {"anything": 1}) is None
    made = build_call(command("GetVariables", {"a": 1}), Protocol.OCPP21)
    assert made == ("GetVariables", {"a": 1})


@pytest.mark.parametrize("protocol", EVERY_PROTOCOL)
def test_what_was_stored_before_a_rule_came_does_not_stop_the_queue(protocol: Protocol) -> None:
    """A payload that makes no call ends its command (Unsupported), not the look at its station."""
    for payload in ({"transaction_id": [1]}, {"no_such": 1}):
        with pytest.raises(Unsupported):
            build_call(command("remote_stop", payload), protocol)


@pytest.mark.parametrize(("action", "payload"), EXAMPLES)
def test_the_openapi_document_has_every_shape_s_payload(
    action: str, payload: dict[str, Any]
) -> None:
    """A client made from the document sends what we take, and learns of a misspelt member."""
    schema = NewCommand.model_json_schema()
    validator = jsonschema_rs.validator_for(schema)
    assert validator.is_valid({"action": action, "payload": payload})
    assert not validator.is_valid({"action": action, "payload": payload | {"colour": "red"}})
    assert "$ref" not in json.dumps(schema)

"""Payload validation: what is wrong, where, and with which code."""

from __future__ import annotations

from importlib import resources
from typing import Any

import ocpp.messages
import orjson
import pytest

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.schemas import (
    UNANSWERED,
    Extras,
    Kind,
    _compile,
    actions,
    check_request,
    check_response,
    get_validator,
    preload,
)

V16, V201, V21 = Protocol.OCPP16, Protocol.OCPP201, Protocol.OCPP21
START = {"connectorId": 1, "idTag": "TAG", "meterStart": 0, "timestamp": "2026-03-01T12:00:00Z"}
EVENT: dict[str, Any] = {
    "eventType": "Updated",
    "timestamp": "2026-03-01T12:00:00Z",
    "triggerReason": "MeterValuePeriodic",
    "seqNo": 1,
    "transactionInfo": {"transactionId": "t"},
}


def failure(
    protocol: Protocol, action: str, payload: dict[str, Any], extras: Extras = Extras.REFUSE
) -> CallFailed:
    """The failure that this request must be."""
    with pytest.raises(CallFailed) as caught:
        check_request(protocol, action, payload, extras)
    return caught.value


@pytest.mark.parametrize("protocol", list(Protocol))
def test_every_schema_of_the_version_compiles(protocol: Protocol) -> None:
    """Each action has a request, and a response unless it is a SEND."""
    preload(protocol)
    for action in actions(protocol):
        assert get_validator(protocol, action, Kind.REQUEST) is not None
        answered = get_validator(protocol, action, Kind.RESPONSE) is not None
        assert answered == (action not in UNANSWERED)


def test_names_that_a_station_thinks_up_are_not_kept() -> None:
    """Unknown actions, however many, take no memory (A16)."""
    preload(V21)
    before = _compile.cache_info().currsize
    for number in range(50):
        assert failure(V21, f"Dance{number}", {}).code is ErrorCode.NOT_IMPLEMENTED
    assert _compile.cache_info().currsize == before


@pytest.mark.parametrize(
    ("change", "code", "description"),
    [
        (
            {"connectorId": "one"},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "connectorId: must be of type integer",
        ),
        (
            {"idTag": None},
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "idTag: must be of type string",
        ),
        (
            {"idTag": "SECRET" * 4},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "idTag: longer than 20 characters",
        ),
        (
            {"timestamp": "SECRET"},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "timestamp: no date-time",
        ),
        (
            {"vendorStuff": "SECRET"},
            ErrorCode.FORMAT_VIOLATION,
            "payload: unknown property: vendorStuff",
        ),
        (
            {"A4B2C3D4E5F6": 1},
            ErrorCode.FORMAT_VIOLATION,
            "payload: unknown property: (unreadable)",
        ),
        (
            {"S E C R E T": 1},
            ErrorCode.FORMAT_VIOLATION,
            "payload: unknown property: (unreadable)",
        ),
    ],
)
def test_what_is_wrong_and_where(change: dict[str, Any], code: ErrorCode, description: str) -> None:
    """The kind of violation gives the code; the description names the place, never the value."""
    caught = failure(V16, "StartTransaction", START | change)
    assert (caught.code, caught.description) == (code, description)
    assert "SECRET" not in str(caught)


def test_a_member_of_the_schema_s_own_is_named_whatever_digits_it_has() -> None:
    """OCPP's words are no identifiers: `iso15118CertificateHashData` is what an integrator seeks.

    A card's number in its place is still unreadable.
    """
    payload: dict[str, Any] = {
        "idToken": {"idToken": "A", "type": "eMAID"},
        "iso15118CertificateHashData": [{}],
    }
    caught = failure(V201, "Authorize", payload)
    assert caught.description.startswith("iso15118CertificateHashData[0]: a required property")
    payload = {"idToken": {"idToken": "A", "type": "eMAID"}, "iso15118Certificates": 1}
    caught = failure(V201, "Authorize", payload)
    assert "unknown property: (unreadable)" in caught.description


def test_a_missing_property() -> None:
    """A15: an occurrence constraint, in either spelling."""
    caught = failure(V16, "StartTransaction", {})
    assert caught.code is ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION
    assert caught.description == "payload: a required property is missing: connectorId"


@pytest.mark.parametrize(
    ("payload", "code", "description"),
    [
        (
            EVENT | {"meterValue": []},
            ErrorCode.OCCURRENCE_CONSTRAINT_VIOLATION,
            "meterValue: against minItems 1",
        ),
        (
            EVENT | {"numberOfPhasesUsed": 7},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "numberOfPhasesUsed: against maximum 3",
        ),
        (
            EVENT | {"eventType": "Begun"},
            ErrorCode.PROPERTY_CONSTRAINT_VIOLATION,
            "eventType: not one of the allowed values",
        ),
        (
            EVENT
            | {
                "meterValue": [
                    {"timestamp": "2026-03-01T12:00:00Z", "sampledValue": [{"value": "5"}]}
                ]
            },
            ErrorCode.TYPE_CONSTRAINT_VIOLATION,
            "meterValue[0].sampledValue[0].value: must be of type number",
        ),
    ],
)
def test_places_inside_lists(payload: dict[str, Any], code: ErrorCode, description: str) -> None:
    """The path names list positions, so that a maker finds the value."""
    caught = failure(V21, "TransactionEvent", payload)
    assert (caught.code, caught.description) == (code, description)


def test_unknown_properties_may_be_let_pass() -> None:
    """By policy they are only named, for the log; everything else is still refused."""
    payload = START | {"vendorStuff": 1}
    assert check_request(V16, "StartTransaction", payload, Extras.PASS) == (
        "payload: unknown property: vendorStuff",
    )
    assert check_request(V16, "StartTransaction", START, Extras.PASS) == ()
    caught = failure(V16, "StartTransaction", payload | {"meterStart": "0"}, Extras.PASS)
    assert caught.code is ErrorCode.TYPE_CONSTRAINT_VIOLATION


def test_custom_data_is_open_in_2x() -> None:
    """What is in customData may have any name; it is no unknown property."""
    payload = EVENT | {"customData": {"vendorId": "com.example", "anything": [1, {}]}}
    assert check_request(V201, "TransactionEvent", payload) == ()


def test_a_stop_needs_no_reason() -> None:
    """A18: 1.6 StopTransaction.reason is optional whatever the schema says."""
    stop = {"transactionId": 1, "timestamp": "2026-03-01T12:00:00Z", "meterStop": 1}
    assert check_request(V16, "StopTransaction", stop) == ()


@pytest.mark.parametrize("text", ["2026-03-01T12:00:00", "2026-03-01T12:00:00.123456789+01:00"])
def test_timestamps_are_read_as_stations_write_them(text: str) -> None:
    """Design 9: no zone and nanoseconds are no violation."""
    assert check_request(V16, "StartTransaction", START | {"timestamp": text}) == ()


@pytest.mark.parametrize("protocol", list(Protocol))
def test_an_unknown_action_is_not_implemented(protocol: Protocol) -> None:
    """Whether as request or as response; a name that looks like a path is just unknown."""
    for action in ("Dance", "", "../v21/schemas/Authorize", "AuthorizeResponse"):
        assert failure(protocol, action, {}).code is ErrorCode.NOT_IMPLEMENTED
        with pytest.raises(CallFailed):
            check_response(protocol, action, {})


def test_responses_are_checked_too() -> None:
    """Validation goes both ways."""
    assert check_response(V201, "Reset", {"status": "Accepted"}) == ()
    with pytest.raises(CallFailed, match="not one of the allowed values"):
        check_response(V201, "Reset", {"status": "Sure"})
    with pytest.raises(CallFailed, match="required property is missing"):
        check_response(V201, "Reset", {})


def test_limits_of_one_decimal_are_not_broken_by_binary_fractions() -> None:
    """1.6 asks for multiples of 0.1: 21.4 is one although no float is."""

    def profile(limit: float) -> dict[str, Any]:
        period = {"startPeriod": 0, "limit": limit}
        return {
            "connectorId": 0,
            "csChargingProfiles": {
                "chargingProfileId": 1,
                "stackLevel": 0,
                "chargingProfilePurpose": "ChargePointMaxProfile",
                "chargingProfileKind": "Absolute",
                "chargingSchedule": {"chargingRateUnit": "A", "chargingSchedulePeriod": [period]},
            },
        }

    for limit in (0.1, 0.3, 16, 21.4, 32.0, 0.7, 1.1, 11000.0):
        assert check_request(V16, "SetChargingProfile", profile(limit)) == ()
    assert (
        failure(V16, "SetChargingProfile", profile(4.11)).code
        is ErrorCode.PROPERTY_CONSTRAINT_VIOLATION
    )


@pytest.mark.parametrize("protocol", list(Protocol))
def test_the_schemas_are_the_independent_librarys(protocol: Protocol) -> None:
    """Every schema file of the `ocpp` package is known to us as one half of an action."""
    version = {V16: "1.6", V201: "2.0.1", V21: "2.1"}[protocol]
    folder = resources.files(ocpp) / f"v{version.replace('.', '')}" / "schemas"
    files = [entry for entry in folder.iterdir() if entry.name.endswith(".json")]
    ours = sum(
        get_validator(protocol, action, kind) is not None
        for action in actions(protocol)
        for kind in Kind
    )
    assert ours == len(files)
    assert all(orjson.loads(file.read_bytes())["type"] == "object" for file in files)
    assert ocpp.messages.get_validator(2, "Heartbeat", version)

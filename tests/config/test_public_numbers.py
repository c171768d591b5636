"""What the events of a command repeat of a station's answer: numbers that anyone may know."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from voltbus_config.domain.public_numbers import extract_numbers


def variable(name: str, value: str | None, kind: str | None = None, **more: Any) -> dict[str, Any]:
    """One element of getVariableResult."""
    item: dict[str, Any] = {
        "attributeStatus": "Accepted",
        "component": {"name": "LocalAuthListCtrlr"},
        "variable": {"name": name},
        **more,
    }
    if value is not None:
        item["attributeValue"] = value
    if kind is not None:
        item["attributeType"] = kind
    return item


def test_an_answer_that_leaves_names_out() -> None:
    """Answers are kept that do not fit their schema: what can't be read tells no number."""
    odd: list[dict[str, Any]] = [
        {},
        {"component": {}},
        {"component": {"name": "LocalAuthListCtrlr"}},
    ]
    assert extract_numbers("GetVariables", {"getVariableResult": odd}) == {}
    assert extract_numbers("GetConfiguration", {"configurationKey": [{}]}) == {}


def test_the_version_of_a_local_list() -> None:
    """1.6 and 2.x name it differently; -1 (1.6 5.10: not supported) is a number like others."""
    assert extract_numbers("GetLocalListVersion", {"listVersion": -1}) == {"listVersion": -1}
    assert extract_numbers("GetLocalListVersion", {"versionNumber": 7}) == {"versionNumber": 7}


def test_of_configuration_keys_only_the_limits() -> None:
    """GetConfiguration of everything tells two numbers and no password (1.6 9.2)."""
    keys = [
        {"key": "AuthorizationKey", "readonly": False, "value": "1234567890"},
        {"key": "LocalAuthListMaxLength", "readonly": True, "value": "500"},
        {"key": "SendLocalListMaxLength", "readonly": True, "value": " 20 "},
        {"key": "HeartbeatInterval", "readonly": False, "value": "300"},
    ]
    assert extract_numbers("GetConfiguration", {"configurationKey": keys}) == {
        "LocalAuthListMaxLength": 500,
        "SendLocalListMaxLength": 20,
    }


def test_of_variables_only_the_limits() -> None:
    """GetVariables: names in any case, and only of the local list's component."""
    result = [
        variable("ItemsPerMessage", "10"),
        variable("bytespermessage", "5000", "Actual"),
        variable("Entries", "3"),
        variable("Entries", "200", "MaxSet"),
        variable("Entries", None, "MinSet"),
        variable("ItemsPerMessage", "99", component={"name": "DeviceDataCtrlr"}),
        variable("BasicAuthPassword", "12345678", component={"name": "SecurityCtrlr"}),
    ]
    assert extract_numbers("GetVariables", {"getVariableResult": result}) == {
        "LocalAuthListCtrlr.ItemsPerMessage": 10,
        "LocalAuthListCtrlr.BytesPerMessage": 5000,
        "LocalAuthListCtrlr.Entries": 3,
        "LocalAuthListCtrlr.Entries.MaxSet": 200,
    }


@pytest.mark.parametrize("value", ["", "many", "-5", "1.5", "٣", "9" * 40, None])
def test_what_is_no_whole_number_is_left_out(value: str | None) -> None:
    """A station that writes something else has told nothing."""
    assert (
        extract_numbers("GetVariables", {"getVariableResult": [variable("Entries", value)]}) == {}
    )


@settings(deadline=None)  # the machine may be busy
@given(st.text(), st.dictionaries(st.text(), st.integers() | st.text()))
def test_any_other_answer_tells_nothing(action: str, answer: dict[str, Any]) -> None:
    """What the table does not name stays with config."""
    if action not in {"GetLocalListVersion", "GetConfiguration", "GetVariables"}:
        assert extract_numbers(action, answer) == {}

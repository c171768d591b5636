"""Keys, variables and the local list of a simulated station, by themselves."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from voltbus.simulator.device2 import DeviceModel, standard_variables
from voltbus.simulator.device16 import Configuration, Key
from voltbus.simulator.transactions import LocalList

TOKENS = st.sampled_from(["A", "B", "C"])
CHANGES = st.dictionaries(
    TOKENS, st.none() | st.fixed_dictionaries({"status": st.just("Accepted")})
)


@pytest.mark.parametrize(
    ("kind", "value", "fits"),
    [
        ("integer", "12", True),
        ("integer", "-1", False),
        ("integer", "1.5", False),
        ("boolean", "TRUE", True),
        ("boolean", "yes", False),
        ("hex", "00" * 16, True),
        ("hex", "00" * 15, False),
        ("hex", "zz" * 16, False),
        ("text", "x" * 500, True),
        ("text", "x" * 501, False),
    ],
)
def test_what_fits_a_16_key(kind: str, value: str, fits: bool) -> None:  # noqa: FBT001 - a test's parameter
    """1.6 values are text; each key has its own kind (1.6 §9.1)."""
    assert Key("", kind).fits(value) is fits  # type: ignore[arg-type]  # the table's kinds


def test_no_more_than_the_most_keys() -> None:
    """GetConfigurationMaxKeys bounds one answer (1.6 §5.8)."""
    configuration = Configuration(keys={f"Vendor.{n}": Key("1") for n in range(200)})
    listed = configuration.get([])["configurationKey"]
    assert isinstance(listed, list)
    assert len(listed) == 100


def test_a_vendors_keys_come_on_top() -> None:
    """A test may give a station keys that the standard does not know."""
    configuration = Configuration(keys={"Vendor.Payment": Key("rfid")})
    assert configuration.change("Vendor.Payment", "app") == "Accepted"
    assert configuration.values()["Vendor.Payment"] == "app"


@pytest.mark.parametrize(
    ("component", "name", "value", "status"),
    [
        ("PaymentCtrlr", "Enabled", "true", "Accepted"),
        ("PaymentCtrlr", "Enabled", "perhaps", "Rejected"),
        ("PaymentCtrlr", "AuthorizationAmount", "12.50", "Accepted"),
        ("AuthCtrlr", "SupportedIdTokenType", "ISO14443,eMAID", "Accepted"),
        ("AuthCtrlr", "SupportedIdTokenType", "ISO14443,Fingerprint", "Rejected"),
    ],
)
def test_values_are_checked_by_kind(component: str, name: str, value: str, status: str) -> None:
    """Booleans, decimals and member lists take what they can hold (2.x P2 DataEnumType)."""
    device = DeviceModel()
    device.add(*standard_variables(2, payments=True))
    item = {"component": {"name": component}, "variable": {"name": name}, "attributeValue": value}
    assert device.set(item)["attributeStatus"] == status


def test_only_actual_attributes() -> None:
    """A target value is NotSupportedAttributeType here (B05.FR.07)."""
    device = DeviceModel()
    device.add(*standard_variables(1, payments=False))
    item = {
        "component": {"name": "ClockCtrlr"},
        "variable": {"name": "TimeZone"},
        "attributeType": "Target",
        "attributeValue": "Europe/Stockholm",
    }
    assert device.set(item)["attributeStatus"] == "NotSupportedAttributeType"


def test_reports_hide_what_is_write_only() -> None:
    """No report shows a password; the configuration inventory has what can be written."""
    device = DeviceModel()
    device.add(*standard_variables(1, payments=True))
    item = {
        "component": {"name": "SecurityCtrlr"},
        "variable": {"name": "BasicAuthPassword"},
        "attributeValue": "never-to-be-read-again",
    }
    assert device.set(item)["attributeStatus"] == "Accepted"
    assert "never-to-be-read-again" not in str(device.report("FullInventory"))
    assert "never-to-be-read-again" not in str(device.values())
    writable = device.report("ConfigurationInventory")
    assert all(row["variableAttribute"][0]["mutability"] != "ReadOnly" for row in writable)


@given(st.lists(CHANGES, max_size=5))
def test_differentials_add_up_to_the_full_list(
    updates: list[dict[str, dict[str, str] | None]],
) -> None:
    """Any series of differential updates leaves what the same changes give one by one (D01)."""
    found, expected = LocalList(), dict[str, dict[str, str]]()
    for number, changes in enumerate(updates, 1):
        assert found.update(number, "Differential", dict(changes)) == "Accepted"
        for token, info in changes.items():
            if info is None:
                expected.pop(token, None)
            else:
                expected[token] = info
    assert found.entries == expected
    assert found.version == len(updates)
    assert found.update(found.version, "Differential", {}) == "VersionMismatch"


def test_a_list_that_is_too_long_leaves_the_old_one() -> None:
    """What finds no room is Failed, whichever way it comes, and nothing of it is kept."""
    found = LocalList()
    info = {"status": "Accepted"}
    assert found.update(1, "Full", {"A": info, "B": info}, 2) == "Accepted"
    assert found.update(2, "Differential", {"C": info}, 2) == "Failed"
    assert found.update(3, "Full", {"C": info, "D": info, "E": info}, 2) == "Failed"
    assert (found.version, list(found.entries)) == (1, ["A", "B"])
    assert found.update(4, "Differential", {"A": None, "C": info}, 2) == "Accepted"
    assert found.entries.keys() == {"B", "C"}

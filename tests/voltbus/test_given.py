"""Settings in the environment of `voltbus up`: what goes on to the services, and what is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from voltbus.embedded import Ports
from voltbus.embedded.certificates import make_certificates
from voltbus.embedded.folders import Home
from voltbus.embedded.given import settings_given
from voltbus.embedded.keys import make_keys
from voltbus.embedded.services import OWN_SETTINGS, SERVICES, ServiceSettings, service_part


def test_each_service_gets_what_it_reads() -> None:
    """One setting of one service, one of all; what is no setting of ours is nobody's business."""
    given = settings_given(
        {"VOLTBUS_SETTLE_S": "2", "VOLTBUS_BATCH_RECORDS": "7", "HOME": "/", "VOLTBUS_CACHE": "/"},
        own_kafka=True,
    )
    assert given.by_service["config"] == {"VOLTBUS_SETTLE_S": "2", "VOLTBUS_BATCH_RECORDS": "7"}
    assert given.by_service["auth"] == {"VOLTBUS_BATCH_RECORDS": "7"}
    assert list(given.sentences()) == [
        "Passed on from the environment: VOLTBUS_BATCH_RECORDS, VOLTBUS_SETTLE_S."
    ]


def test_an_empty_environment_says_nothing() -> None:
    """No setting, no sentence."""
    assert list(settings_given({"PATH": "/bin"}, own_kafka=True).sentences()) == []


@pytest.mark.parametrize("own_kafka", [True, False])
def test_kafka_s_log_in_is_for_a_broker_that_exists(*, own_kafka: bool) -> None:
    """An embedded broker has none; which broker is an option of the command in either case."""
    found = {"VOLTBUS_KAFKA_USERNAME": "u", "VOLTBUS_KAFKA_BOOTSTRAP": "b:1"}
    given = settings_given(found, own_kafka=own_kafka)
    assert ("VOLTBUS_KAFKA_USERNAME" in given.ours) is own_kafka
    assert ("gateway" in given.by_service) is not own_kafka
    assert "VOLTBUS_KAFKA_BOOTSTRAP" in given.ours


def test_a_slip_gets_a_hint_and_nothing_of_its_value() -> None:
    """The nearest name, or where all names are."""
    given = settings_given({"VOLTBUS_SETLE_S": "secret", "VOLTBUS_XYZ": "secret"}, own_kafka=True)
    assert list(given.sentences()) == [
        "No service has a setting VOLTBUS_SETLE_S. Did you mean VOLTBUS_SETTLE_S?",
        "No service has a setting VOLTBUS_XYZ. See docs/operations.md.",
    ]


def test_a_file_is_meant_from_where_the_command_was_given() -> None:
    """Services run in the home of the stack, where a relative path would lead elsewhere."""
    given = settings_given({"VOLTBUS_EXTERNAL_TOKEN_FILE": "token.txt"}, own_kafka=True)
    assert given.by_service["auth"] == {
        "VOLTBUS_EXTERNAL_TOKEN_FILE": str(Path.cwd() / "token.txt")
    }


def test_what_a_stack_sets_is_what_it_keeps_to_itself(tmp_path: Path) -> None:
    """A setting that every part gets would be overwritten in silence if it were passed on."""
    home = Home(tmp_path)
    settings = ServiceSettings(
        home=home,
        keys=make_keys(home.folder("keys")),
        certificates=make_certificates(home.folder("certificates")),
        kafka="127.0.0.1:9",
        mongo=dict.fromkeys(("auth", "config", "agreements"), "mongodb://127.0.0.1:9/"),
    )
    ports = Ports.consecutive(20000)
    found: set[str] = set()
    for service in SERVICES:
        part = service_part(
            settings, service, 1, http_port=1, ocpp_port=ports.ocpp, tls_ports=(2, 3)
        )
        found |= {name for name in part.environment if name.startswith("VOLTBUS_")}
    # The log's level has a default here, and another provider of keys would be beside ours.
    assert found - {"VOLTBUS_LOG_LEVEL"} == OWN_SETTINGS - {"VOLTBUS_OPERATOR_JWKS_URL"}

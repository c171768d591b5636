"""Settings that cannot be used: one line that names the variable, exit code 2, and no value."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from voltbus_backbone.bus.kafka.client import client_options
from voltbus_backbone.errors import SettingsError
from voltbus_backbone.settings import KafkaSettings, ServiceSettings, load


@pytest.fixture(autouse=True)
def _only_these(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("VOLTBUS_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("VOLTBUS_HTTP_PORT", "0")


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("VOLTBUS_HTTP_PORT", "hunter2", "VOLTBUS_HTTP_PORT: "),
        ("VOLTBUS_BATCH_RECORDS", "0", "VOLTBUS_BATCH_RECORDS: "),
        ("VOLTBUS_KAFKA_SECURITY_PROTOCOL", "hunter2", "VOLTBUS_KAFKA_SECURITY_PROTOCOL: "),
        ("VOLTBUS_KAFKA_COMPRESSION", "hunter2", "VOLTBUS_KAFKA_COMPRESSION: "),
        ("VOLTBUS_KAFKA_SECURITY_PROTOCOL", "SASL_SSL", "SASL_SSL needs VOLTBUS_KAFKA_USERNAME"),
    ],
)
def test_a_malformed_setting_is_named(
    variable: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The line begins with the variable, Kafka's included, and never quotes what it holds."""
    monkeypatch.setenv(variable, value)
    with pytest.raises(SettingsError) as raised:
        load(ServiceSettings)
    assert str(raised.value).startswith(says)
    assert "hunter2" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_is_given_goes_before_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command's option wins over a variable."""
    monkeypatch.setenv("VOLTBUS_KAFKA_BOOTSTRAP", "from-the-environment:1")
    assert load(KafkaSettings, bootstrap="given:2").bootstrap == "given:2"


@pytest.mark.parametrize("name", ["ca_file", "cert_file"])
def test_a_tls_file_that_is_not_there_is_named(name: str) -> None:
    """Said before anything is connected."""
    settings = load(KafkaSettings, security_protocol="SSL", **{name: "/nowhere.pem"})
    with pytest.raises(SettingsError, match=f"VOLTBUS_KAFKA_{name.upper()}"):
        client_options(settings)


@pytest.mark.stack
def test_a_process_with_settings_it_cannot_use_ends_with_2() -> None:
    """Also when it shows only while the parts are put together: one line, no trace."""
    environment = os.environ | {
        "VOLTBUS_KAFKA_SECURITY_PROTOCOL": "SSL",
        "VOLTBUS_KAFKA_CA_FILE": "/nowhere.pem",
        "VOLTBUS_OCPP_PORT": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "voltbus_gateway"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    lines = [line for line in done.stderr.splitlines() if not line.startswith("{")]
    assert done.returncode == 2
    assert lines == ["voltbus-gateway: VOLTBUS_KAFKA_CA_FILE must be a PEM file that can be read"]

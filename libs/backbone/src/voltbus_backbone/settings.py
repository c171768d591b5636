"""The settings that every service takes from its environment (prefix ``VOLTBUS_``)."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TypeVar

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from voltbus_backbone.errors import SettingsError

S = TypeVar("S", bound="ServiceSettings")


class KafkaSettings(BaseSettings):
    """How to reach Kafka. ``security_protocol`` as in Kafka: PLAINTEXT, SSL, SASL_SSL, ..."""

    model_config = SettingsConfigDict(env_prefix="VOLTBUS_KAFKA_", extra="ignore")

    bootstrap: str = "127.0.0.1:9005"
    security_protocol: str = "PLAINTEXT"
    sasl_mechanism: str = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    compression: str | None = None
    request_timeout_s: float = 10.0


class ServiceSettings(BaseSettings):
    """What every service needs. Durations are in seconds."""

    model_config = SettingsConfigDict(env_prefix="VOLTBUS_", extra="ignore")

    instance_id: str = Field(default_factory=lambda: f"{socket.gethostname()}-{os.getpid()}")
    topic_prefix: str = "voltbus."
    http_host: str = "127.0.0.1"
    http_port: int = Field(ge=0, le=65535)
    log_level: str = "info"
    operator_key_file: Path | None = None
    operator_jwks_url: str | None = None
    operator_issuer: str = "voltbus-local"
    operator_audience: str = "voltbus"
    batch_records: int = Field(default=500, ge=1)
    grace_s: float = 10.0
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)


class StoreSettings(ServiceSettings):
    """A service with a MongoDB database of its own."""

    mongo_uri: SecretStr
    mongo_database: str
    mongo_timeout_s: float = 5.0


def load(settings: type[S]) -> S:
    """The settings from the environment.

    Raises:
        SettingsError: something is missing or malformed; one line that names the variables.
    """
    try:
        return settings()
    except ValidationError as error:
        problems = "; ".join(
            f"VOLTBUS_{'_'.join(str(part) for part in item['loc']).upper()}: {item['msg']}"
            for item in error.errors(include_input=False, include_url=False)
        )
        raise SettingsError(problems) from None

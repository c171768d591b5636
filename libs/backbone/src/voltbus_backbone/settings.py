"""The settings that every service takes from its environment (prefix ``VOLTBUS_``)."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

from pydantic import Field, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from voltbus_backbone.errors import SettingsError

S = TypeVar("S", bound=BaseSettings)


class KafkaSettings(BaseSettings):
    """How to reach Kafka; the words are Kafka's own."""

    model_config = SettingsConfigDict(env_prefix="VOLTBUS_KAFKA_", extra="ignore")

    bootstrap: str = "127.0.0.1:9005"
    security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = "PLAINTEXT"
    sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = "SCRAM-SHA-512"
    username: str | None = None
    password: SecretStr | None = None
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    compression: Literal["gzip", "snappy", "lz4", "zstd"] | None = None
    request_timeout_s: float = Field(default=10.0, gt=0)

    @model_validator(mode="after")
    def _log_in(self) -> Self:
        if self.security_protocol.startswith("SASL") and not (self.username and self.password):
            raise ValueError(
                f"{self.security_protocol} needs VOLTBUS_KAFKA_USERNAME and VOLTBUS_KAFKA_PASSWORD"
            )
        return self


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
    reply_topics: str | None = None
    stuck_s: float = Field(default=30.0, gt=0)
    kafka: KafkaSettings = Field(default_factory=KafkaSettings)


class StoreSettings(ServiceSettings):
    """A service with a MongoDB database of its own."""

    mongo_uri: SecretStr
    mongo_database: str
    mongo_timeout_s: float = 5.0


def load(settings: type[S], **given: Any) -> S:
    """The settings from the environment; what is ``given`` goes before it.

    Raises:
        SettingsError: something is missing or malformed; one line that names the variables.
    """
    try:
        return settings(**given)
    except ValidationError as error:
        # The Kafka settings are made while the service's are, and have a prefix of their own.
        prefix = KafkaSettings.model_config if error.title == "KafkaSettings" else _SERVICE
        raise SettingsError("; ".join(_problems(error, prefix["env_prefix"]))) from None


_SERVICE = ServiceSettings.model_config


def _problems(error: ValidationError, prefix: str) -> list[str]:
    """What is wrong, by variable and without the values, which may be secrets."""
    found = []
    for item in error.errors(include_input=False, include_url=False):
        name = "_".join(str(part) for part in item["loc"]).upper()
        sentence = item["msg"].removeprefix("Value error, ")
        found.append(f"{prefix}{name}: {sentence}" if name else sentence)
    return found

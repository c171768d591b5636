"""The four services as parts of a stack: their command lines and their environments."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from voltbus.embedded.certificates import ORGANIZATION
from voltbus.embedded.keys import AUDIENCE, ISSUER
from voltbus.embedded.mongod import database_of
from voltbus.embedded.ports import LOOPBACK
from voltbus.embedded.processes import Part
from voltbus.embedded.readiness import http_ready

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from voltbus.embedded.certificates import Certificates
    from voltbus.embedded.folders import Home
    from voltbus.embedded.keys import Keys

SERVICES = ("gateway", "auth", "config", "agreements")
TOPIC_PREFIX = "voltbus."
# What a stack decides itself: addresses, identities, keys, and how long its processes may take.
OWN_SETTINGS = frozenset(
    f"VOLTBUS_{name}"
    for name in (
        "FIELD_KEY_FILE",
        "GRACE_S",
        "HTTP_HOST",
        "HTTP_PORT",
        "INSTANCE_ID",
        "KAFKA_BOOTSTRAP",
        "MONGO_DATABASE",
        "MONGO_URI",
        "OCPP_HOST",
        "OCPP_MTLS_PORT",
        "OCPP_PORT",
        "OCPP_TLS_PORT",
        "OPERATOR_AUDIENCE",
        "OPERATOR_ISSUER",
        "OPERATOR_JWKS_URL",
        "OPERATOR_KEY_FILE",
        "STATION_CA_CERT_FILE",
        "STATION_CA_KEY_FILE",
        "STATION_CA_ORGANIZATION",
        "TLS_CERT_FILE",
        "TLS_CLIENT_CA_FILE",
        "TLS_KEY_FILE",
        "TLS_ORGANIZATION",
        "TOKEN_KEY_FILE",
        "TOPIC_PREFIX",
    )
)
GRACE_S = "4"  # and a little more, until a process has left Kafka: see Part.grace
STOPPED_FIRST = 1  # services before the servers they use


@dataclass(frozen=True, slots=True)
class ServiceSettings:
    """What all services of a stack share."""

    home: Home
    keys: Keys
    certificates: Certificates
    kafka: str  # host:port
    mongo: Mapping[str, str]  # connection string by service
    own_kafka: bool = True  # the broker is the embedded one
    # Command lines by service, for tests that put a stand-in there.
    commands: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # Additions to the environment, by service; "" holds for all.
    environment: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def service_part(
    settings: ServiceSettings,
    service: str,
    number: int,
    *,
    http_port: int,
    ocpp_port: int | None = None,
    tls_ports: tuple[int, int] | None = None,
) -> Part:
    """How to start one replica of a service; the first is named like the service itself.

    ``tls_ports``: where a gateway listens for security profiles 2 and 3, if it does.
    """
    name = service if number == 1 else f"{service}-{number}"
    command = settings.commands.get(service) or [sys.executable, "-m", f"voltbus_{service}"]
    environment = {
        **_inherited(own_kafka=settings.own_kafka),
        **_environment(settings, service),
        "VOLTBUS_INSTANCE_ID": f"{service}-{number}",
        "VOLTBUS_HTTP_PORT": str(http_port),
        **(_tls(settings.certificates, tls_ports) if tls_ports is not None else {}),
        **settings.environment.get("", {}),
        **settings.environment.get(service, {}),
    }
    if ocpp_port is not None:
        environment["VOLTBUS_OCPP_HOST"] = LOOPBACK
        environment["VOLTBUS_OCPP_PORT"] = str(ocpp_port)
    return Part(
        name=name,
        command=command,
        environment=environment,
        directory=settings.home.path,
        log=settings.home.folder("logs") / f"{name}.log",
        ready=partial(http_ready, LOOPBACK, http_port),
        layer=STOPPED_FIRST,
    )


def _environment(settings: ServiceSettings, service: str) -> dict[str, str]:
    """The settings of this service that do not depend on which replica it is."""
    environment = {
        "PYTHONUNBUFFERED": "1",
        "VOLTBUS_KAFKA_BOOTSTRAP": settings.kafka,
        "VOLTBUS_TOPIC_PREFIX": TOPIC_PREFIX,
        "VOLTBUS_HTTP_HOST": LOOPBACK,
        "VOLTBUS_GRACE_S": GRACE_S,
        "VOLTBUS_LOG_LEVEL": os.environ.get("VOLTBUS_LOG_LEVEL", "info"),
        "VOLTBUS_OPERATOR_KEY_FILE": str(settings.keys.operator_public),
        "VOLTBUS_OPERATOR_ISSUER": ISSUER,
        "VOLTBUS_OPERATOR_AUDIENCE": AUDIENCE,
    }
    if service in settings.mongo:
        environment["VOLTBUS_MONGO_URI"] = settings.mongo[service]
        environment["VOLTBUS_MONGO_DATABASE"] = database_of(service)
    if service == "auth":
        environment["VOLTBUS_TOKEN_KEY_FILE"] = str(settings.keys.token_key)
        environment["VOLTBUS_FIELD_KEY_FILE"] = str(settings.keys.field_key)
        environment["VOLTBUS_STATION_CA_CERT_FILE"] = str(settings.certificates.authority)
        environment["VOLTBUS_STATION_CA_KEY_FILE"] = str(settings.certificates.authority_key)
        environment["VOLTBUS_STATION_CA_ORGANIZATION"] = ORGANIZATION
    return environment


def _tls(certificates: Certificates, ports: tuple[int, int]) -> dict[str, str]:
    """A gateway's doors for TLS, and for certificates that our own authority has signed."""
    return {
        "VOLTBUS_OCPP_TLS_PORT": str(ports[0]),
        "VOLTBUS_OCPP_MTLS_PORT": str(ports[1]),
        "VOLTBUS_TLS_CERT_FILE": str(certificates.server),
        "VOLTBUS_TLS_KEY_FILE": str(certificates.server_key),
        "VOLTBUS_TLS_CLIENT_CA_FILE": str(certificates.authority),
        "VOLTBUS_TLS_ORGANIZATION": ORGANIZATION,
    }


def _inherited(*, own_kafka: bool) -> dict[str, str]:
    """Our own environment without settings of ours: a stack is told everything it uses.

    What a person sets for `voltbus up` comes by its plan (``embedded.given``). But how to log in to
    a broker that exists (VOLTBUS_KAFKA_USERNAME and so on) only the person who started us knows.
    """
    kept = () if own_kafka else ("VOLTBUS_KAFKA_",)
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("VOLTBUS_") or name.startswith(kept)
    }

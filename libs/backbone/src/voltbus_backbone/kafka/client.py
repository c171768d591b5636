"""How every Kafka client of ours connects: TLS, SASL, timeouts."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

from voltbus_backbone.errors import SettingsError

if TYPE_CHECKING:
    from voltbus_backbone.settings import KafkaSettings


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """The arguments that producer, consumer and admin client share.

    Raises:
        SettingsError: a TLS file is missing or is none.
    """
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": int(settings.request_timeout_s * 1000),
    }
    if "SSL" in settings.security_protocol:
        options["ssl_context"] = _tls(settings)
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.username
        options["sasl_plain_password"] = (
            settings.password.get_secret_value() if settings.password else None
        )
    return options


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError):
        raise SettingsError("VOLTBUS_KAFKA_CA_FILE must be a PEM file that can be read") from None
    if settings.cert_file is not None:
        try:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        except (OSError, ssl.SSLError):
            raise SettingsError(
                "VOLTBUS_KAFKA_CERT_FILE and VOLTBUS_KAFKA_KEY_FILE must be PEM files that belong "
                "together and can be read"
            ) from None
    return context

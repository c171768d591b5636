"""How every Kafka client of ours connects: TLS, SASL, timeouts."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from voltbus_backbone.settings import KafkaSettings


def client_options(settings: KafkaSettings) -> dict[str, Any]:
    """The arguments that producer, consumer and admin client share."""
    options: dict[str, Any] = {
        "bootstrap_servers": settings.bootstrap,
        "security_protocol": settings.security_protocol,
        "request_timeout_ms": int(settings.request_timeout_s * 1000),
    }
    if "SSL" in settings.security_protocol:
        context = ssl.create_default_context(cafile=settings.ca_file)
        if settings.cert_file is not None:
            context.load_cert_chain(settings.cert_file, settings.key_file)
        options["ssl_context"] = context
    if settings.security_protocol.startswith("SASL"):
        options["sasl_mechanism"] = settings.sasl_mechanism
        options["sasl_plain_username"] = settings.username
        options["sasl_plain_password"] = (
            settings.password.get_secret_value() if settings.password else None
        )
    return options

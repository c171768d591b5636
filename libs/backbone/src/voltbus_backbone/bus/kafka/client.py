"""How every Kafka client of ours connects: TLS, SASL, timeouts."""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import structlog

from voltbus_backbone.errors import SettingsError
from voltbus_backbone.tls import create_client_context

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from voltbus_backbone.settings import KafkaSettings

log = structlog.get_logger(__name__)

DISCONNECT_S = 1.5  # for what goes on before a client has left; there may be two in a row


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


async def disconnect(leaving: Awaitable[None]) -> None:
    """Wait until a client has left, but not for a broker that hangs: the process has to end.

    aiokafka waits for whatever is on its way, up to the request timeout for each. What has not
    been acknowledged by now has been confirmed to nobody.
    """
    try:
        async with asyncio.timeout(DISCONNECT_S):
            await leaving
    except TimeoutError:
        log.warning("kafka.disconnect.timeout", waited_s=DISCONNECT_S)


def _tls(settings: KafkaSettings) -> ssl.SSLContext:
    try:
        context = create_client_context(settings.ca_file)
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

"""What is the same in every OCPP version: translations, answers, and the rows made of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract import registry
from voltbus_backbone.contract.stations import (
    FirmwareStatusReported,
    LogStatusReported,
    SecurityEventReported,
    StationSeen,
)
from voltbus_gateway.domain.translation import certificates
from voltbus_gateway.domain.translation.reports import keep_only, make_translation
from voltbus_gateway.domain.translation.route import (
    Context,
    Mode,
    Route,
    make_no_key,
    make_whole_key,
)
from voltbus_gateway.domain.wire.limits import to_optional_integer
from voltbus_gateway.domain.wire.times import format_time, parse_time_or

if TYPE_CHECKING:
    from collections.abc import Callable

    from voltbus_backbone.contract.config import BootAnswer
    from voltbus_backbone.contract.values import Protocol
    from voltbus_gateway.domain.wire.frames import Payload


def boot_answer(answer: BootAnswer, _payload: Payload, context: Context) -> Payload:
    """BootNotification.conf; the same in every version."""
    return {
        "status": answer.status,
        "currentTime": format_time(context.now),
        "interval": answer.interval,
    }


def heartbeat_answer(_answer: Any, _payload: Payload, context: Context) -> Payload:
    """Heartbeat.conf; the same in every version."""
    return {"currentTime": format_time(context.now)}


def translate_heartbeat(_payload: Payload, context: Context) -> StationSeen:
    """Translate a Heartbeat: the station is alive."""
    return StationSeen(
        station_id=context.station_id, connection_id=context.connection_id, at=context.now
    )


def firmware_status(payload: Payload, context: Context) -> FirmwareStatusReported:
    """FirmwareStatusNotification of every version, SignedFirmwareStatusNotification of 1.6."""
    return FirmwareStatusReported(
        station_id=context.station_id,
        protocol=context.protocol,
        status=payload["status"],
        at=context.now,
        request_id=to_optional_integer(payload.get("requestId")),
        repairs=context.repairs,
        **_status_info(payload),
    )


def log_status(payload: Payload, context: Context) -> LogStatusReported:
    """DiagnosticsStatusNotification of 1.6, LogStatusNotification of every version."""
    return LogStatusReported(
        station_id=context.station_id,
        protocol=context.protocol,
        status=payload["status"],
        at=context.now,
        request_id=to_optional_integer(payload.get("requestId")),
        repairs=context.repairs,
        **_status_info(payload),
    )


def _status_info(payload: Payload) -> dict[str, Any]:
    """StatusInfoType (2.1): why the status is what it is."""
    info = payload.get("statusInfo") or {}
    names = {"reason_code": "reasonCode", "info": "additionalInfo"}
    return {ours: info[name] for ours, name in names.items() if name in info}


def security_event(payload: Payload, context: Context) -> SecurityEventReported:
    """SecurityEventNotification of every version: always confirmed (A04.FR.03)."""
    return SecurityEventReported(
        station_id=context.station_id,
        protocol=context.protocol,
        type=payload["type"],
        at=parse_time_or(payload.get("timestamp"), context.now),
        tech_info=payload.get("techInfo"),
        repairs=context.repairs,
    )


# Whose and which message it was. The data may hold anything, also a token.
data_transfer = make_translation("DataTransfer", select=keep_only("vendorId", "messageId"))


def answer_unknown_vendor(_answer: Any, _payload: Payload, _context: Context) -> Payload:
    """DataTransfer.conf of every version: no vendor's extension is known here."""
    return {"status": "UnknownVendorId"}


def answer_rejected(_answer: Any, _payload: Payload, _context: Context) -> Payload:
    """Answer with status Rejected."""
    return {"status": "Rejected"}


def answer_accepted(_answer: Any, _payload: Payload, _context: Context) -> Payload:
    """Answer with status Accepted."""
    return {"status": "Accepted"}


def make_fact_route(
    protocol: Protocol,
    action: str,
    *,
    moment: str | None = None,
    select: Callable[[Payload], Payload] | None = None,
    **parts: Any,
) -> Route:
    """Make the route of a fact that is published as it came; ``moment`` names its timestamp."""
    return Route(
        protocol,
        action,
        Mode.ACKNOWLEDGED,
        row=registry.STATION_REPORTED,
        to_contract=make_translation(action, moment, select),
        keys=make_whole_key if moment is not None else make_no_key,
        **parts,
    )


def make_routes(protocol: Protocol) -> tuple[Route, ...]:
    """Make the routes that every version has alike."""
    return (
        Route(
            protocol,
            "Heartbeat",
            Mode.LOCAL,
            row=registry.STATION_SEEN,
            to_contract=translate_heartbeat,
            to_ocpp=heartbeat_answer,
            reason="only the time is asked; the sign of life is told now and then",
        ),
        Route(
            protocol,
            "FirmwareStatusNotification",
            Mode.ACKNOWLEDGED,
            row=registry.FIRMWARE_STATUS,
            to_contract=firmware_status,
        ),
        Route(
            protocol,
            "LogStatusNotification",
            Mode.ACKNOWLEDGED,
            row=registry.LOG_STATUS,
            to_contract=log_status,
        ),
        Route(
            protocol,
            "SecurityEventNotification",
            Mode.ACKNOWLEDGED,
            row=registry.SECURITY_EVENT,
            to_contract=security_event,
            keys=make_whole_key,
        ),
        Route(
            protocol,
            "DataTransfer",
            Mode.ACKNOWLEDGED,
            row=registry.STATION_REPORTED,
            to_contract=data_transfer,
            to_ocpp=answer_unknown_vendor,
            reason="UnknownVendorId: no vendor's extension is known; its data stay out of the "
            "event",
        ),
        Route(
            protocol,
            "SignCertificate",
            Mode.ANSWERED,
            row=registry.SIGN_CERTIFICATE,
            to_contract=certificates.sign_certificate,
            to_ocpp=certificates.sign_certificate_answer,
            on_silence=certificates.sign_certificate_silence,
            keys=make_whole_key,
            reason="Accepted when the certificate will follow by CertificateSigned; Rejected "
            "without a certificate authority",
        ),
    )

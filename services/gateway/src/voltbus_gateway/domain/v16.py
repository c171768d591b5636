"""OCPP 1.6 (with the Security Whitepaper's extension): payloads to the contract and back."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import Authorize, Phase, TransactionMessage
from voltbus_backbone.contract.config import Boot
from voltbus_backbone.contract.stations import (
    FirmwareStatusReported,
    LogStatusReported,
    MeterValuesReported,
    SecurityEventReported,
    StationSeen,
    StatusReported,
)
from voltbus_backbone.contract.values import AuthorizationStatus, IdToken, Protocol
from voltbus_gateway.domain.reports import only, reported
from voltbus_gateway.domain.route import (
    Context,
    Mode,
    Route,
    confirmed,
    whole,
)
from voltbus_gateway.domain.samples import first_time, samples_16
from voltbus_gateway.domain.times import format_time, parse_time

if TYPE_CHECKING:
    from datetime import datetime

    from voltbus_backbone.contract.auth import (
        AuthorizeAnswer,
        Decision,
        TransactionAnswer,
    )
    from voltbus_backbone.contract.config import BootAnswer
    from voltbus_gateway.domain.frames import Payload

_ID_TAG_LIMIT = 20
_SAME_WORD = {
    AuthorizationStatus.ACCEPTED: "Accepted",
    AuthorizationStatus.BLOCKED: "Blocked",
    AuthorizationStatus.EXPIRED: "Expired",
    AuthorizationStatus.INVALID: "Invalid",
}
# How far in the past the expiry of a translated "Invalid" lies: no cache may keep it.
_ALREADY_PAST = timedelta(seconds=1)


HEARTBEAT_REASON = "only the time is asked; the sign of life is told now and then"
DATA_TRANSFER_REASON = (
    "UnknownVendorId: no vendor's extension is known; its data stay out of the event"
)
SIGN_CERTIFICATE_REASON = "Rejected: no certificate authority is connected"


def boot(payload: Payload, context: Context) -> Boot:
    """BootNotification. The charge point's own serial number goes before its box's."""
    return Boot(
        station_id=context.station_id,
        connection_id=context.connection_id,
        protocol=context.protocol,
        at=context.now,
        vendor=payload["chargePointVendor"],
        model=payload["chargePointModel"],
        serial_number=payload.get("chargePointSerialNumber")
        or payload.get("chargeBoxSerialNumber"),
        firmware_version=payload.get("firmwareVersion"),
        iccid=payload.get("iccid"),
        imsi=payload.get("imsi"),
        certificate_cn=context.certificate_cn,
    )


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


def seen(_payload: Payload, context: Context) -> StationSeen:
    """Heartbeat: the station lives."""
    return StationSeen(
        station_id=context.station_id, connection_id=context.connection_id, at=context.now
    )


def status(payload: Payload, context: Context) -> StatusReported:
    """StatusNotification: connector 0 is the whole station, the timestamp is optional."""
    return StatusReported(
        station_id=context.station_id,
        protocol=context.protocol,
        status=payload["status"],
        at=_when(payload, context),
        connector_id=payload["connectorId"],
        error_code=payload["errorCode"],
        info=payload.get("info"),
        vendor_id=payload.get("vendorId"),
        vendor_error_code=payload.get("vendorErrorCode"),
    )


def authorize(payload: Payload, context: Context) -> Authorize:
    """Authorize: an idTag has no type."""
    return Authorize(
        station_id=context.station_id,
        protocol=context.protocol,
        id_token=IdToken(value=payload["idTag"]),
        at=context.now,
    )


def authorize_answer(answer: AuthorizeAnswer, _payload: Payload, context: Context) -> Payload:
    """Authorize.conf."""
    return {"idTagInfo": id_tag_info(answer.decision, context.now)}


def id_tag_info(decision: Decision, now: datetime, *, starting: bool = False) -> Payload:
    """The decision in 1.6's five words.

    ConcurrentTx is a word for StartTransaction only (1.6 §7.2). What 1.6 can't say becomes Invalid
    with an expiry already past, so that a station's cache doesn't keep it [P].
    """
    word = _SAME_WORD.get(decision.status)
    if word is None and starting and decision.status is AuthorizationStatus.CONCURRENT_TX:
        word = "ConcurrentTx"
    expiry = decision.cache_expiry
    if word is None:
        word, expiry = "Invalid", now - _ALREADY_PAST
    info: Payload = {"status": word}
    if expiry is not None:
        info["expiryDate"] = format_time(expiry)
    if decision.group is not None and 0 < len(decision.group.value) <= _ID_TAG_LIMIT:
        info["parentIdTag"] = decision.group.value
    return info


def start_transaction(payload: Payload, context: Context) -> TransactionMessage:
    """StartTransaction: the transaction has no id yet."""
    return TransactionMessage(
        station_id=context.station_id,
        protocol=context.protocol,
        phase=Phase.STARTED,
        at=parse_time(payload["timestamp"]),
        connector_id=payload["connectorId"],
        id_token=IdToken(value=payload["idTag"]),
        meter_wh=payload["meterStart"],
        reservation_id=payload.get("reservationId"),
    )


def start_answer(answer: TransactionAnswer, _payload: Payload, context: Context) -> Payload:
    """StartTransaction.conf: always with an id and a re-verified status (1.6 §4.8)."""
    return {
        "transactionId": answer.transaction_id,
        "idTagInfo": id_tag_info(_decided(answer), context.now, starting=True),
    }


def stop_transaction(payload: Payload, context: Context) -> TransactionMessage:
    """StopTransaction, with its transactionData. No reason means Local (1.6 §6.49)."""
    id_tag = payload.get("idTag")
    return TransactionMessage(
        station_id=context.station_id,
        protocol=context.protocol,
        phase=Phase.ENDED,
        at=parse_time(payload["timestamp"]),
        transaction_id=str(payload["transactionId"]),
        id_token=IdToken(value=id_tag) if id_tag is not None else None,
        meter_wh=payload["meterStop"],
        stopped_reason=payload.get("reason", "Local"),
        samples=samples_16(payload.get("transactionData", ())),
    )


def stop_answer(answer: TransactionAnswer, payload: Payload, context: Context) -> Payload:
    """StopTransaction.conf: always a confirmation (1.6 §4.10)."""
    if answer.decision is None or "idTag" not in payload:
        return {}
    return {"idTagInfo": id_tag_info(answer.decision, context.now)}


def meter_values(payload: Payload, context: Context) -> MeterValuesReported:
    """MeterValues, inside or outside a transaction."""
    transaction_id = payload.get("transactionId")
    values = payload["meterValue"]
    return MeterValuesReported(
        station_id=context.station_id,
        protocol=context.protocol,
        at=first_time(values, context.now),
        samples=samples_16(values),
        connector_id=payload["connectorId"],
        transaction_id=str(transaction_id) if transaction_id is not None else None,
    )


def firmware_status(payload: Payload, context: Context) -> FirmwareStatusReported:
    """FirmwareStatusNotification of every version, SignedFirmwareStatusNotification of 1.6."""
    return FirmwareStatusReported(
        station_id=context.station_id,
        protocol=context.protocol,
        status=payload["status"],
        at=context.now,
        request_id=payload.get("requestId"),
    )


def log_status(payload: Payload, context: Context) -> LogStatusReported:
    """DiagnosticsStatusNotification of 1.6, LogStatusNotification of every version."""
    return LogStatusReported(
        station_id=context.station_id,
        protocol=context.protocol,
        status=payload["status"],
        at=context.now,
        request_id=payload.get("requestId"),
    )


def security_event(payload: Payload, context: Context) -> SecurityEventReported:
    """SecurityEventNotification of every version: always confirmed (A04.FR.03)."""
    return SecurityEventReported(
        station_id=context.station_id,
        protocol=context.protocol,
        type=payload["type"],
        at=parse_time(payload["timestamp"]),
        tech_info=payload.get("techInfo"),
    )


# Whose and which message it was. The data may hold anything, also a token.
data_transfer = reported("DataTransfer", told=only("vendorId", "messageId"))


def unknown_vendor(_answer: Any, _payload: Payload, _context: Context) -> Payload:
    """DataTransfer.conf of every version: no vendor's extension is known here."""
    return {"status": "UnknownVendorId"}


def rejected(_answer: Any, _payload: Payload, _context: Context) -> Payload:
    """Status Rejected."""
    return {"status": "Rejected"}


def start_keys(message: TransactionMessage) -> tuple[Any, ...]:
    """What makes a start the same start; the idTag stays out (see ``fact_id``)."""
    return (message.connector_id, message.at, message.meter_wh)


def stop_keys(message: TransactionMessage) -> tuple[Any, ...]:
    """What makes a stop the same stop. A transaction that never got its id may stop as 0 or -1."""
    return (message.transaction_id, message.at, message.meter_wh)


def _when(payload: Payload, context: Context) -> datetime:
    text = payload.get("timestamp")
    return parse_time(text) if text is not None else context.now


def _decided(answer: TransactionAnswer) -> Decision:
    if answer.decision is None:
        raise ValueError("a start without a decision")
    return answer.decision


def _route(action: str, mode: Mode, **parts: Any) -> Route:
    return Route(Protocol.OCPP16, action, mode, **parts)


ROUTES: tuple[Route, ...] = (
    _route(
        "BootNotification",
        Mode.ANSWERED,
        row=registry.BOOT,
        to_contract=boot,
        to_ocpp=boot_answer,
    ),
    _route(
        "Heartbeat",
        Mode.LOCAL,
        row=registry.STATION_SEEN,
        to_contract=seen,
        to_ocpp=heartbeat_answer,
        reason=HEARTBEAT_REASON,
    ),
    _route(
        "StatusNotification",
        Mode.ACKNOWLEDGED,
        row=registry.STATUS_REPORTED,
        to_contract=status,
        keys=whole,
    ),
    _route(
        "Authorize",
        Mode.ANSWERED,
        row=registry.AUTHORIZE,
        to_contract=authorize,
        to_ocpp=authorize_answer,
    ),
    _route(
        "StartTransaction",
        Mode.ANSWERED,
        row=registry.TRANSACTION,
        to_contract=start_transaction,
        to_ocpp=start_answer,
        keys=start_keys,
    ),
    _route(
        "StopTransaction",
        Mode.ANSWERED,
        row=registry.TRANSACTION,
        to_contract=stop_transaction,
        to_ocpp=stop_answer,
        on_silence=confirmed,
        keys=stop_keys,
    ),
    _route(
        "MeterValues",
        Mode.ACKNOWLEDGED,
        row=registry.METER_VALUES,
        to_contract=meter_values,
        keys=whole,
    ),
    _route(
        "FirmwareStatusNotification",
        Mode.ACKNOWLEDGED,
        row=registry.FIRMWARE_STATUS,
        to_contract=firmware_status,
    ),
    _route(
        "SignedFirmwareStatusNotification",
        Mode.ACKNOWLEDGED,
        row=registry.FIRMWARE_STATUS,
        to_contract=firmware_status,
    ),
    _route(
        "DiagnosticsStatusNotification",
        Mode.ACKNOWLEDGED,
        row=registry.LOG_STATUS,
        to_contract=log_status,
    ),
    _route(
        "LogStatusNotification",
        Mode.ACKNOWLEDGED,
        row=registry.LOG_STATUS,
        to_contract=log_status,
    ),
    _route(
        "SecurityEventNotification",
        Mode.ACKNOWLEDGED,
        row=registry.SECURITY_EVENT,
        to_contract=security_event,
        keys=whole,
    ),
    _route(
        "DataTransfer",
        Mode.ACKNOWLEDGED,
        row=registry.STATION_REPORTED,
        to_contract=data_transfer,
        to_ocpp=unknown_vendor,
        reason=DATA_TRANSFER_REASON,
    ),
    _route(
        "SignCertificate",
        Mode.ACKNOWLEDGED,
        row=registry.STATION_REPORTED,
        to_contract=reported("SignCertificate"),
        to_ocpp=rejected,
        reason=SIGN_CERTIFICATE_REASON,
    ),
)

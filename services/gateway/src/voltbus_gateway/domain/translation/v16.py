"""OCPP 1.6 (with the Security Whitepaper's extension): payloads to the contract and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import Authorize, Phase, TransactionMessage
from voltbus_backbone.contract.config import Boot
from voltbus_backbone.contract.stations import (
    MeterValuesReported,
    StatusReported,
)
from voltbus_backbone.contract.values import IdToken, Protocol
from voltbus_backbone.values.blanks import trimmed
from voltbus_gateway.domain.translation import every_version
from voltbus_gateway.domain.translation.decisions import id_tag_info
from voltbus_gateway.domain.translation.route import (
    Context,
    Mode,
    Route,
    confirm,
    fail_undecided,
    make_whole_key,
)
from voltbus_gateway.domain.translation.samples import read_first_time, read_samples_16
from voltbus_gateway.domain.wire.limits import to_integer, to_optional_integer
from voltbus_gateway.domain.wire.times import parse_time_or

if TYPE_CHECKING:
    from voltbus_backbone.contract.auth import (
        AuthorizeAnswer,
        TransactionAnswer,
    )
    from voltbus_gateway.domain.wire.frames import Payload


def boot(payload: Payload, context: Context) -> Boot:
    """BootNotification. The charge point's own serial number goes before its box's."""
    return Boot(
        station_id=context.station_id,
        connection_id=context.connection_id,
        protocol=context.protocol,
        at=context.now,
        vendor=payload.get("chargePointVendor", ""),
        model=payload.get("chargePointModel", ""),
        serial_number=payload.get("chargePointSerialNumber")
        or payload.get("chargeBoxSerialNumber"),
        firmware_version=payload.get("firmwareVersion"),
        iccid=payload.get("iccid"),
        imsi=payload.get("imsi"),
        certificate_cn=context.certificate_cn,
        meter_type=payload.get("meterType"),
        meter_serial_number=payload.get("meterSerialNumber"),
        box_serial_number=payload.get("chargeBoxSerialNumber"),
        repairs=context.repairs,
    )


def status(payload: Payload, context: Context) -> StatusReported:
    """StatusNotification: connector 0 is the whole station, the timestamp is optional."""
    return StatusReported(
        station_id=context.station_id,
        protocol=context.protocol,
        status=payload["status"],
        at=parse_time_or(payload.get("timestamp"), context.now),
        connector_id=to_integer(payload["connectorId"]),
        error_code=payload.get("errorCode"),
        info=payload.get("info"),
        vendor_id=payload.get("vendorId"),
        vendor_error_code=payload.get("vendorErrorCode"),
        repairs=context.repairs,
    )


def authorize(payload: Payload, context: Context) -> Authorize:
    """Authorize: an idTag has no type."""
    return Authorize(
        station_id=context.station_id,
        protocol=context.protocol,
        id_token=IdToken(value=trimmed(payload["idTag"])),
        at=context.now,
    )


def authorize_answer(answer: AuthorizeAnswer, _payload: Payload, context: Context) -> Payload:
    """Authorize.conf."""
    return {"idTagInfo": id_tag_info(answer.decision, context.now)}


def start_transaction(payload: Payload, context: Context) -> TransactionMessage:
    """StartTransaction: the transaction has no id yet."""
    return TransactionMessage(
        station_id=context.station_id,
        protocol=context.protocol,
        phase=Phase.STARTED,
        at=parse_time_or(payload.get("timestamp"), context.now),
        connector_id=to_integer(payload["connectorId"]),
        id_token=IdToken(value=trimmed(payload["idTag"])),
        meter_wh=to_optional_integer(payload.get("meterStart")),
        reservation_id=to_optional_integer(payload.get("reservationId")),
        repairs=context.repairs,
    )


def start_answer(answer: TransactionAnswer, payload: Payload, context: Context) -> Payload:
    """StartTransaction.conf: always with an id and a re-verified status (1.6 §4.8).

    Raises:
        CallFailed: InternalError when the answer lacks either.
    """
    if answer.transaction_id is None or answer.decision is None:
        return fail_undecided(payload, context)
    return {
        "transactionId": answer.transaction_id,
        "idTagInfo": id_tag_info(answer.decision, context.now, starting=True),
    }


def stop_transaction(payload: Payload, context: Context) -> TransactionMessage:
    """StopTransaction, with its transactionData. No reason means Local (1.6 §6.49)."""
    id_tag = payload.get("idTag")
    at = parse_time_or(payload.get("timestamp"), context.now)
    return TransactionMessage(
        station_id=context.station_id,
        protocol=context.protocol,
        phase=Phase.ENDED,
        at=at,
        transaction_id=str(to_integer(payload["transactionId"])),
        id_token=IdToken(value=trimmed(id_tag)) if id_tag is not None else None,
        meter_wh=to_optional_integer(payload.get("meterStop")),
        stopped_reason=payload.get("reason", "Local"),
        samples=read_samples_16(payload.get("transactionData", ()), at),
        repairs=context.repairs,
    )


def stop_answer(answer: TransactionAnswer, payload: Payload, context: Context) -> Payload:
    """StopTransaction.conf: always a confirmation (1.6 §4.10)."""
    if answer.decision is None or "idTag" not in payload:
        return {}
    return {"idTagInfo": id_tag_info(answer.decision, context.now)}


def meter_values(payload: Payload, context: Context) -> MeterValuesReported:
    """MeterValues, inside or outside a transaction."""
    transaction_id = payload.get("transactionId")
    values = payload.get("meterValue", ())
    return MeterValuesReported(
        station_id=context.station_id,
        protocol=context.protocol,
        at=read_first_time(values, context.now),
        samples=read_samples_16(values, context.now),
        connector_id=to_integer(payload["connectorId"]),
        transaction_id=str(to_integer(transaction_id)) if transaction_id is not None else None,
        repairs=context.repairs,
    )


def start_keys(message: TransactionMessage) -> tuple[Any, ...]:
    """What makes a start the same start; the idTag stays out (see ``fact_id``)."""
    return (message.connector_id, message.at, message.meter_wh)


def stop_keys(message: TransactionMessage) -> tuple[Any, ...]:
    """What makes a stop the same stop. A transaction that never got its id may stop as 0 or -1."""
    return (message.transaction_id, message.at, message.meter_wh)


def _make_route(action: str, mode: Mode, **parts: Any) -> Route:
    return Route(Protocol.OCPP16, action, mode, **parts)


ROUTES: tuple[Route, ...] = (
    *every_version.make_routes(Protocol.OCPP16),
    _make_route(
        "BootNotification",
        Mode.ANSWERED,
        row=registry.BOOT,
        to_contract=boot,
        to_ocpp=every_version.boot_answer,
    ),
    _make_route(
        "StatusNotification",
        Mode.ACKNOWLEDGED,
        row=registry.STATUS_REPORTED,
        to_contract=status,
        keys=make_whole_key,
    ),
    _make_route(
        "Authorize",
        Mode.ANSWERED,
        row=registry.AUTHORIZE,
        to_contract=authorize,
        to_ocpp=authorize_answer,
    ),
    _make_route(
        "StartTransaction",
        Mode.ANSWERED,
        row=registry.TRANSACTION,
        to_contract=start_transaction,
        to_ocpp=start_answer,
        keys=start_keys,
    ),
    _make_route(
        "StopTransaction",
        Mode.ANSWERED,
        row=registry.TRANSACTION,
        to_contract=stop_transaction,
        to_ocpp=stop_answer,
        on_silence=confirm,
        keys=stop_keys,
    ),
    _make_route(
        "MeterValues",
        Mode.ACKNOWLEDGED,
        row=registry.METER_VALUES,
        to_contract=meter_values,
        keys=make_whole_key,
    ),
    _make_route(
        "SignedFirmwareStatusNotification",
        Mode.ACKNOWLEDGED,
        row=registry.FIRMWARE_STATUS,
        to_contract=every_version.firmware_status,
    ),
    _make_route(
        "DiagnosticsStatusNotification",
        Mode.ACKNOWLEDGED,
        row=registry.LOG_STATUS,
        to_contract=every_version.log_status,
    ),
)

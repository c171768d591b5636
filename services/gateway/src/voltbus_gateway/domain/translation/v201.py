"""OCPP 2.0.1: payloads to the contract and back. 2.1 uses most of it too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract import registry
from voltbus_backbone.contract.auth import Authorize, Phase, TransactionMessage
from voltbus_backbone.contract.config import Boot
from voltbus_backbone.contract.stations import MeterValuesReported, StatusReported
from voltbus_backbone.contract.values import AdditionalId, IdToken, Protocol
from voltbus_backbone.values.blanks import trimmed
from voltbus_gateway.domain.translation import certificates, every_version
from voltbus_gateway.domain.translation.decisions import id_token_info
from voltbus_gateway.domain.translation.reports import (
    hide_event_secrets,
    hide_report_secrets,
    leave_out,
)
from voltbus_gateway.domain.translation.route import (
    Context,
    Mode,
    Route,
    fail_undecided,
    make_whole_key,
)
from voltbus_gateway.domain.translation.samples import read_first_time, read_samples_2x
from voltbus_gateway.domain.wire.limits import check_storable, to_integer, to_optional_integer
from voltbus_gateway.domain.wire.times import parse_time_or

if TYPE_CHECKING:
    from voltbus_backbone.contract.auth import AuthorizeAnswer, TransactionAnswer
    from voltbus_gateway.domain.wire.frames import Payload

_PHASES = {"Started": Phase.STARTED, "Updated": Phase.UPDATED, "Ended": Phase.ENDED}
# What only 2.x says of a transaction, kept under OCPP's own names.
_EVENT_DETAILS = (
    "numberOfPhasesUsed",
    "cableMaxCurrent",
    "preconditioningStatus",
    "evseSleep",
    "costDetails",
)
_INFO_DETAILS = ("timeSpentCharging", "operationMode", "tariffId", "transactionLimit")


def boot(payload: Payload, context: Context) -> Boot:
    """BootNotification."""
    station = payload.get("chargingStation") or {}
    modem = station.get("modem") or {}
    return Boot(
        station_id=context.station_id,
        connection_id=context.connection_id,
        protocol=context.protocol,
        at=context.now,
        vendor=station.get("vendorName", ""),
        model=station.get("model", ""),
        serial_number=station.get("serialNumber"),
        firmware_version=station.get("firmwareVersion"),
        iccid=modem.get("iccid"),
        imsi=modem.get("imsi"),
        reason=payload["reason"],
        certificate_cn=context.certificate_cn,
        repairs=context.repairs,
    )


def status(payload: Payload, context: Context) -> StatusReported:
    """StatusNotification. EVSEs keep the station's numbers, also from 0."""
    return StatusReported(
        station_id=context.station_id,
        protocol=context.protocol,
        status=payload["connectorStatus"],
        at=parse_time_or(payload.get("timestamp"), context.now),
        evse_id=to_integer(payload["evseId"]),
        connector_id=to_integer(payload["connectorId"]),
        repairs=context.repairs,
    )


def id_token(value: Payload) -> IdToken:
    """IdTokenType."""
    further = value.get("additionalInfo")
    return IdToken(
        value=trimmed(value["idToken"]),
        type=value["type"],
        additional=tuple(
            AdditionalId(value=trimmed(entry["additionalIdToken"]), type=entry["type"])
            for entry in further
        )
        if further
        else (),
    )


def authorize(payload: Payload, context: Context) -> Authorize:
    """Authorize, with the contract certificate or its hashes (C07)."""
    hashes = payload.get("iso15118CertificateHashData")
    return Authorize(
        station_id=context.station_id,
        protocol=context.protocol,
        id_token=id_token(payload["idToken"]),
        at=context.now,
        certificate=payload.get("certificate"),
        certificate_hashes=tuple(
            certificates.ocsp_hash(certificate_hash) for certificate_hash in hashes
        )
        if hashes
        else (),
    )


def authorize_answer(answer: AuthorizeAnswer, _payload: Payload, context: Context) -> Payload:
    """AuthorizeResponse."""
    response: Payload = {"idTokenInfo": id_token_info(answer.decision, context.protocol)}
    if answer.decision.certificate_status is not None:
        response["certificateStatus"] = answer.decision.certificate_status
    return response


def transaction_event(payload: Payload, context: Context) -> TransactionMessage:
    """TransactionEvent. No stoppedReason at the end means Local (E06)."""
    info = payload["transactionInfo"]
    evse = payload.get("evse") or {}
    token = payload.get("idToken")
    phase = _PHASES[payload["eventType"]]
    at = parse_time_or(payload.get("timestamp"), context.now)
    details: Payload = {name: payload[name] for name in _EVENT_DETAILS if name in payload}
    details |= {name: info[name] for name in _INFO_DETAILS if name in info}
    return TransactionMessage(
        station_id=context.station_id,
        protocol=context.protocol,
        phase=phase,
        at=at,
        transaction_id=info["transactionId"],
        evse_id=to_optional_integer(evse.get("id")),
        connector_id=to_optional_integer(evse.get("connectorId")),
        id_token=id_token(token) if token is not None else None,
        seq_no=to_optional_integer(payload.get("seqNo")),
        trigger=payload.get("triggerReason"),
        offline=payload.get("offline", False),
        charging_state=info.get("chargingState"),
        stopped_reason=info.get("stoppedReason", "Local" if phase is Phase.ENDED else None),
        reservation_id=to_optional_integer(payload.get("reservationId")),
        remote_start_id=to_optional_integer(info.get("remoteStartId")),
        samples=read_samples_2x(payload.get("meterValue", ()), at),
        details=check_storable(details) if details else details,
        repairs=context.repairs,
    )


def transaction_answer(answer: TransactionAnswer, payload: Payload, context: Context) -> Payload:
    """TransactionEventResponse; a token that was presented is answered (C12.FR.03, E01.FR.11)."""
    response: Payload = {}
    if answer.total_cost is not None:
        response["totalCost"] = answer.total_cost
    decision = answer.decision
    if decision is not None and "idToken" in payload:
        response["idTokenInfo"] = id_token_info(decision, context.protocol)
    return response


def transaction_silence(payload: Payload, context: Context) -> Payload:
    """Kafka has the event; only a start with a token must wait for its decision.

    Raises:
        CallFailed: InternalError, so that the station sends its start again.
    """
    if payload["eventType"] == "Started" and "idToken" in payload:
        return fail_undecided(payload, context)
    return {}


def transaction_keys(message: TransactionMessage) -> tuple[Any, ...]:
    """(transaction, seqNo) with phase and time: stations reuse ids, and seqNo 0 at both ends."""
    return (message.transaction_id, message.seq_no, message.phase, message.at)


def meter_values(payload: Payload, context: Context) -> MeterValuesReported:
    """MeterValues: in 2.x outside transactions only."""
    values = payload.get("meterValue", ())
    return MeterValuesReported(
        station_id=context.station_id,
        protocol=context.protocol,
        at=read_first_time(values, context.now),
        samples=read_samples_2x(values, context.now),
        evse_id=to_integer(payload["evseId"]),
        repairs=context.repairs,
    )


def answer_no_schedule(_answer: Any, _payload: Payload, _context: Context) -> Payload:
    """NotifyEVChargingNeedsResponse of 2.0.1: no schedule will come (K15)."""
    return {"status": "Rejected"}


def _make_route(action: str, mode: Mode, **parts: Any) -> Route:
    return Route(Protocol.OCPP201, action, mode, **parts)


def _make_fact_route(action: str, **parts: Any) -> Route:
    return every_version.make_fact_route(Protocol.OCPP201, action, **parts)


ROUTES: tuple[Route, ...] = (
    *every_version.make_routes(Protocol.OCPP201),
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
        "TransactionEvent",
        Mode.ANSWERED,
        row=registry.TRANSACTION,
        to_contract=transaction_event,
        to_ocpp=transaction_answer,
        on_silence=transaction_silence,
        keys=transaction_keys,
        reason="without an answer a start with a token is an error, all others are confirmed",
    ),
    _make_route(
        "MeterValues",
        Mode.ACKNOWLEDGED,
        row=registry.METER_VALUES,
        to_contract=meter_values,
        keys=make_whole_key,
    ),
    _make_route(
        "Get15118EVCertificate",
        Mode.ANSWERED,
        row=registry.EV_CERTIFICATE,
        to_contract=certificates.ev_certificate,
        to_ocpp=certificates.ev_certificate_answer,
        on_silence=certificates.ev_certificate_silence,
        keys=make_whole_key,
        reason="a provider of contract certificates answers; without one it is Failed",
    ),
    _make_route(
        "GetCertificateStatus",
        Mode.ANSWERED,
        row=registry.CERTIFICATE_STATUS,
        to_contract=certificates.certificate_status,
        to_ocpp=certificates.certificate_status_answer,
        on_silence=certificates.certificate_status_silence,
        keys=make_whole_key,
        reason="Failed when no OCSP responder can be asked",
    ),
    _make_fact_route(
        "NotifyReport", moment="generatedAt", select=hide_report_secrets, reason="without secrets"
    ),
    _make_fact_route("NotifyMonitoringReport", moment="generatedAt"),
    _make_fact_route(
        "NotifyEvent", moment="generatedAt", select=hide_event_secrets, reason="without secrets"
    ),
    _make_fact_route(
        "NotifyCustomerInformation",
        moment="generatedAt",
        select=leave_out("data"),
        reason="a person's data stay out of the event",
    ),
    _make_fact_route("NotifyDisplayMessages"),
    _make_fact_route("NotifyChargingLimit"),
    _make_fact_route("ClearedChargingLimit"),
    _make_fact_route("ReportChargingProfiles"),
    _make_fact_route(
        "NotifyEVChargingNeeds",
        to_ocpp=answer_no_schedule,
        reason="Rejected: no schedule is made for a car; the station uses its own limits (K15)",
    ),
    _make_fact_route(
        "NotifyEVChargingSchedule", moment="timeBase", to_ocpp=every_version.answer_accepted
    ),
    _make_fact_route("PublishFirmwareStatusNotification"),
    _make_fact_route("ReservationStatusUpdate"),
)

"""OCPP 2.1: what differs from 2.0.1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from voltbus_backbone.contract import registry
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.translation import certificates, every_version, v201
from voltbus_gateway.domain.translation.reports import leave_out
from voltbus_gateway.domain.translation.route import Mode, Route, make_whole_key

if TYPE_CHECKING:
    from voltbus_backbone.contract.auth import TransactionAnswer
    from voltbus_gateway.domain.translation.route import Context
    from voltbus_gateway.domain.wire.frames import Payload


def transaction_answer(answer: TransactionAnswer, payload: Payload, context: Context) -> Payload:
    """TransactionEventResponse, with the credit that is left as a limit (C17)."""
    response = v201.transaction_answer(answer, payload, context)
    decision = answer.decision
    if decision is not None and decision.max_cost is not None:
        response["transactionLimit"] = {"maxCost": decision.max_cost}
    return response


def answer_no_schedule(_answer: Any, _payload: Payload, _context: Context) -> Payload:
    """NotifyEVChargingNeedsResponse: 2.1 has a word for it."""
    return {"status": "NoChargingProfile"}


def reject_vat_number(_answer: Any, payload: Payload, _context: Context) -> Payload:
    """VatNumberValidationResponse: names the number and the EVSE that were asked about."""
    response: Payload = {"status": "Rejected", "vatNumber": payload["vatNumber"]}
    if "evseId" in payload:
        response["evseId"] = payload["evseId"]
    return response


def _to_21(route: Route) -> Route:
    if route.action == "TransactionEvent":
        return replace(route, protocol=Protocol.OCPP21, to_ocpp=transaction_answer)
    if route.action == "NotifyEVChargingNeeds":
        return replace(
            route,
            protocol=Protocol.OCPP21,
            to_ocpp=answer_no_schedule,
            reason="NoChargingProfile: no schedule is made for a car (K15)",
        )
    return replace(route, protocol=Protocol.OCPP21)


def _make_fact_route(action: str, **parts: Any) -> Route:
    return every_version.make_fact_route(Protocol.OCPP21, action, **parts)


ROUTES: tuple[Route, ...] = (
    *(_to_21(route) for route in v201.ROUTES),
    _make_fact_route(
        "BatterySwap",
        select=leave_out("idToken"),
        reason="the id token stays out of the event",
    ),
    Route(
        Protocol.OCPP21,
        "GetCertificateChainStatus",
        Mode.ANSWERED,
        row=registry.CERTIFICATE_STATUS,
        to_contract=certificates.chain_status,
        to_ocpp=certificates.chain_status_answer,
        on_silence=certificates.chain_status_silence,
        keys=make_whole_key,
        reason="Failed for a certificate that no OCSP responder can be asked about; no CRL is read",
    ),
    _make_fact_route("NotifyDERAlarm", moment="timestamp"),
    _make_fact_route("NotifyDERStartStop", moment="timestamp"),
    _make_fact_route("NotifyPeriodicEventStream", moment="basetime", one_way=True),
    _make_fact_route("OpenPeriodicEventStream", to_ocpp=every_version.answer_accepted),
    _make_fact_route("ClosePeriodicEventStream"),
    _make_fact_route("NotifyPriorityCharging"),
    _make_fact_route("NotifySettlement", moment="settlementTime"),
    Route(
        Protocol.OCPP21,
        "PullDynamicScheduleUpdate",
        Mode.LOCAL,
        to_ocpp=every_version.answer_rejected,
        reason="Rejected: no dynamic schedules are kept",
    ),
    _make_fact_route("ReportDERControl"),
    Route(
        Protocol.OCPP21,
        "VatNumberValidation",
        Mode.LOCAL,
        to_ocpp=reject_vat_number,
        reason="Rejected: no register of VAT numbers is asked",
    ),
)

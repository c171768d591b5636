"""OCPP 2.1: what differs from 2.0.1."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain import v201

if TYPE_CHECKING:
    from voltbus_backbone.contract.auth import TransactionAnswer
    from voltbus_gateway.domain.frames import Payload
    from voltbus_gateway.domain.route import Context, Route


def transaction_answer(answer: TransactionAnswer, payload: Payload, context: Context) -> Payload:
    """TransactionEventResponse, with the credit that is left as a limit (C17)."""
    response = v201.transaction_answer(answer, payload, context)
    decision = answer.decision
    if decision is not None and decision.max_cost is not None:
        response["transactionLimit"] = {"maxCost": decision.max_cost}
    return response


def _in_21(route: Route) -> Route:
    if route.action == "TransactionEvent":
        return replace(route, protocol=Protocol.OCPP21, to_ocpp=transaction_answer)
    return replace(route, protocol=Protocol.OCPP21)


ROUTES: tuple[Route, ...] = tuple(_in_21(route) for route in v201.ROUTES)

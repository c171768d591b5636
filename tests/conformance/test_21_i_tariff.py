"""I Tariff and cost: tariffs set, changed and cleared by order, and costs reported (OCPP 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import answered

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator

pytestmark = pytest.mark.stack

BY_DAY = {
    "tariffId": "T-1",
    "currency": "EUR",
    "energy": {
        "prices": [
            {"priceKwh": 0.30, "conditions": {"startTimeOfDay": "08:00", "endTimeOfDay": "20:00"}},
            {"priceKwh": 0.20},
        ]
    },
}


@pytest.mark.parametrize(
    ("action", "payload", "status"),
    [
        pytest.param(
            "SetDefaultTariff", {"evseId": 0, "tariff": BY_DAY}, "Accepted", id="tc_i_101"
        ),
        pytest.param(
            "SetDefaultTariff", {"evseId": 0, "tariff": BY_DAY}, "TooManyElements", id="tc_i_102"
        ),
        pytest.param(
            "SetDefaultTariff",
            {"evseId": 0, "tariff": BY_DAY},
            "ConditionNotSupported",
            id="tc_i_105",
        ),
        pytest.param(
            "ChangeTransactionTariff",
            {"transactionId": "tx", "tariff": BY_DAY},
            "TooManyElements",
            id="tc_i_113",
        ),
        pytest.param(
            "ChangeTransactionTariff",
            {"transactionId": "tx", "tariff": BY_DAY},
            "ConditionNotSupported",
            id="tc_i_114",
        ),
        pytest.param(
            "ChangeTransactionTariff",
            {"transactionId": "tx", "tariff": BY_DAY},
            "Accepted",
            id="tc_i_115",
        ),
    ],
)
async def test_a_tariff_is_sent(
    ready: Ready, action: str, payload: dict[str, Any], status: str
) -> None:
    """I07, I10: a tariff goes out as it is wanted, and the station's word is kept."""
    async with ready("2.1") as station:
        station.answers[action] = lambda _: {"status": status}
        answer = await answered(ready.operator, station.station_id, action, payload)
        assert answer["status"] == status
        assert (await station.wait_for(action)) == payload


async def test_tc_i_110_clear_tariffs(operator: Operator, ready: Ready) -> None:
    """I09: default tariffs are cleared by their ids, each with its own status."""
    async with ready("2.1") as station:
        results = [{"tariffId": "T-1", "status": "Accepted"}, {"status": "NoTariff"}]
        station.answers["ClearTariffs"] = lambda _: {"clearTariffsResult": results}
        payload = {"tariffIds": ["T-1", "T-2"], "evseId": 1}
        answer = await answered(operator, station.station_id, "ClearTariffs", payload)
        assert answer == {"clearTariffsResult": results}


async def test_tc_i_122_cost_details_of_a_transaction(operator: Operator, ready: Ready) -> None:
    """I12: a transaction's own cost calculation is taken with its events."""
    token, _ = await operator.token()
    async with ready("2.1") as station:
        transaction = await station.start(token)
        cost = {
            "totalCost": {
                "currency": "EUR",
                "typeOfCost": "NormalCost",
                "total": {"exclTax": 1.0, "inclTax": 1.25},
            },
            "totalUsage": {"energy": 5000.0, "chargingTime": 600, "idleTime": 0},
        }
        payload = {
            "eventType": "Ended",
            "timestamp": station.now(),
            "triggerReason": "StopAuthorized",
            "seqNo": transaction.seq_no,
            "transactionInfo": {"transactionId": transaction.id, "stoppedReason": "Local"},
            "costDetails": cost,
        }
        assert await station.call("TransactionEvent", payload) == {}

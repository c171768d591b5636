"""C Payment at the station: how settlements that did not work out are taken (OCPP 2.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Subscriber

pytestmark = pytest.mark.stack


@pytest.mark.parametrize(
    "status", [pytest.param("Failed", id="tc_c_119"), pytest.param("Rejected", id="tc_c_120")]
)
async def test_a_settlement_that_did_not_work_out(
    ready: Ready, subscriber: Subscriber, status: str
) -> None:
    """C22: a settlement that failed or was rejected is confirmed, and told to whoever bills."""
    async with ready("2.1") as station:
        payload = {
            "pspRef": "psp-1",
            "status": status,
            "settlementAmount": 12.5,
            "settlementTime": station.now(),
        }
        assert await station.call("NotifySettlement", payload) == {}
        (told,) = await subscriber.wait_for(
            "station.reported", station_id=station.station_id, action="NotifySettlement"
        )
        assert told.payload["status"] == status

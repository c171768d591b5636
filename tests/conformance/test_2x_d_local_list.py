"""D Local authorization list: what goes out by order, and what a station says (OCPP 2.x)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from conformance.acting import answered, every_2x

if TYPE_CHECKING:
    from conformance.acting import Ready
    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


def entry(token: str, status: str | None = "Accepted") -> dict[str, Any]:
    """A line of the list; without a status the token is to be taken off it."""
    line: dict[str, Any] = {"idToken": {"idToken": token, "type": "ISO14443"}}
    if status is not None:
        line["idTokenInfo"] = {"status": status}
    return line


def update(version: int, kind: str, *entries: dict[str, Any]) -> dict[str, Any]:
    """SendLocalList; an empty list is left out (A18)."""
    payload: dict[str, Any] = {"versionNumber": version, "updateType": kind}
    if entries:
        payload["localAuthorizationList"] = list(entries)
    return payload


@every_2x
async def test_tc_d_01_tc_d_02_tc_d_03_tc_d_04_a_lists_life(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """D01: TC_D_01 Full, TC_D_02 adding, TC_D_03 removing, TC_D_04 emptying; in this order."""
    async with ready(protocol) as station:
        for payload, left in (
            (update(1, "Full", entry("AA01"), entry("AA02")), 2),
            (update(2, "Differential", entry("AA03")), 3),
            (update(3, "Differential", entry("AA01", None)), 2),
            (update(4, "Full"), 0),
        ):
            answer = await answered(operator, station.station_id, "SendLocalList", payload)
            assert answer["status"] == "Accepted"
            assert len(station.local_list.entries) == left
        version = await answered(operator, station.station_id, "GetLocalListVersion")
        assert version == {"versionNumber": 4}


@every_2x
async def test_d01_fr_05_version_mismatch(
    operator: Operator, ready: Ready, protocol: Protocol
) -> None:
    """D01.FR.05: a differential update to a version that is not newer is a VersionMismatch."""
    async with ready(protocol) as station:
        name = station.station_id
        await answered(operator, name, "SendLocalList", update(7, "Full", entry("AA01")))
        payload = update(7, "Differential", entry("AA02"))
        answer = await answered(operator, name, "SendLocalList", payload)
        assert answer["status"] == "VersionMismatch"


@every_2x
@pytest.mark.parametrize(
    "version", [pytest.param(3, id="tc_d_08"), pytest.param(0, id="tc_d_09_no_list")]
)
async def test_get_local_list_version(
    operator: Operator, ready: Ready, protocol: Protocol, version: int
) -> None:
    """D02.FR.01/03: the version of the list, 0 where there is none."""
    async with ready(protocol) as station:
        if version:
            payload = update(version, "Full", entry("AA01"))
            await answered(operator, station.station_id, "SendLocalList", payload)
        answer = await answered(operator, station.station_id, "GetLocalListVersion")
        assert answer == {"versionNumber": version}

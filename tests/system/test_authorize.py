"""The life of an Authorize: from the station's frame to the service's decision and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from contracts_shown import a_contract_id
from operating import ALWAYS, NEVER, until
from voltbus.simulator import RefusedError, make_station

if TYPE_CHECKING:
    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack

PROTOCOLS: list[Protocol] = ["1.6", "2.0.1", "2.1"]
everywhere = pytest.mark.parametrize("protocol", PROTOCOLS)


@everywhere
async def test_an_accepted_token_may_charge(operator: Operator, protocol: Protocol) -> None:
    """A token with status accepted is Accepted in every version (1.6 4.1, 2.x C01.FR.06)."""
    name, password = await operator.station()
    token, _ = await operator.token()
    async with operator.connected(protocol, name, password) as station:
        assert (await station.boot()).status == "Accepted"
        assert (await station.authorize(token)).status == "Accepted"


@everywhere
async def test_a_blocked_token_is_refused(operator: Operator, protocol: Protocol) -> None:
    """Blocked is told as Blocked in every version (rules B, C01)."""
    name, password = await operator.station()
    token, _ = await operator.token(status="blocked")
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        assert (await station.authorize(token)).status == "Blocked"


@everywhere
async def test_an_unknown_token_is_refused(operator: Operator, protocol: Protocol) -> None:
    """Unknown is Unknown in 2.x and Invalid in 1.6, which has no such word (rules B)."""
    name, password = await operator.station()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        expected = "Invalid" if protocol == "1.6" else "Unknown"
        assert (await station.authorize("NOBODY01")).status == expected


@everywhere
async def test_an_expired_token_is_refused(operator: Operator, protocol: Protocol) -> None:
    """A token past its expiry is Expired in every version."""
    name, password = await operator.station()
    token, _ = await operator.token(expires_at="2020-01-01T00:00:00Z")
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        assert (await station.authorize(token)).status == "Expired"


async def test_a_contract_with_its_hyphens(operator: Operator) -> None:
    """OCPP 1.6 presents an eMAID with hyphens, which was registered without (ISO 15118-2)."""
    name, password = await operator.station()
    bare = a_contract_id()
    _, ref = await operator.token(id_token=bare, type="eMAID")
    written = f"{bare[:2]}-{bare[2:5]}-{bare[5:14]}-{bare[14:]}"
    async with operator.connected("1.6", name, password) as station:
        await station.boot()
        assert (await station.authorize(written)).status == "Accepted"
        assert (await station.authorize(bare)).status == "Accepted"
    explain = {"station_id": name, "id_token": written}
    told = await operator.done("POST", "auth", "/v1/authorizations/explain", json=explain)
    assert told["token_ref"] == ref


@everywhere
async def test_case_does_not_matter(operator: Operator, protocol: Protocol) -> None:
    """Tokens are compared case-insensitively (C01.FR.25; 1.6 CiString20Type)."""
    name, password = await operator.station()
    token, _ = await operator.token()
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        assert (await station.authorize(token.lower())).status == "Accepted"


@everywhere
async def test_closed_hours_close_the_door(operator: Operator, protocol: Protocol) -> None:
    """Outside the station's opening hours: NotAtThisTime, Invalid in 1.6 (rules B, C)."""
    name, password = await operator.station()
    token, _ = await operator.token()
    hours = {"timezone": "Europe/Stockholm", "weekly": NEVER}
    await operator.done(
        "PUT", "config", f"/v1/stations/{name}/settings", json={"opening_hours": hours}
    )
    expected = "Invalid" if protocol == "1.6" else "NotAtThisTime"
    async with operator.connected(protocol, name, password) as station:
        await station.boot()

        async def status() -> str:
            return (await station.authorize(token)).status

        await until(status, lambda found: found == expected)
        hours = {"timezone": "Europe/Stockholm", "weekly": ALWAYS}
        await operator.done(
            "PUT", "config", f"/v1/stations/{name}/settings", json={"opening_hours": hours}
        )
        await until(status, lambda found: found == "Accepted")


@everywhere
async def test_an_agreement_decides_by_events_alone(operator: Operator, protocol: Protocol) -> None:
    """Suspending an agreement blocks its token at the next Authorize; resuming lifts it."""
    name, password = await operator.station()
    token, ref = await operator.token()
    agreement = await operator.agreement(ref)
    async with operator.connected(protocol, name, password) as station:
        await station.boot()

        async def status() -> str:
            return (await station.authorize(token)).status

        await until(status, lambda found: found == "Accepted")
        await operator.done("POST", "agreements", f"/v1/agreements/{agreement}/suspend")
        await until(status, lambda found: found == "Blocked")
        await operator.done("POST", "agreements", f"/v1/agreements/{agreement}/resume")
        await until(status, lambda found: found == "Accepted")
        await operator.done("POST", "agreements", f"/v1/agreements/{agreement}/terminate")
        await until(status, lambda found: found == "Blocked")


@everywhere
async def test_a_wrong_password_is_401(operator: Operator, protocol: Protocol) -> None:
    """Basic auth is checked before the upgrade (A00.FR.204, rules A4)."""
    name, _ = await operator.station()
    station = make_station(protocol)
    with pytest.raises(RefusedError) as refused:
        await station.connect(operator.stack.ocpp(), name, "not the password at all")
    assert refused.value.status == 401


@everywhere
async def test_an_unknown_station_is_404(operator: Operator, protocol: Protocol) -> None:
    """An identity nobody registered is not found (OCPP-J 2.x P4 3.1.1, rules A1)."""
    station = make_station(protocol)
    with pytest.raises(RefusedError) as refused:
        await station.connect(operator.stack.ocpp(), "CP-NOBODY", "0123456789abcdef")
    assert refused.value.status == 404

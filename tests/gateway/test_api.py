"""`GET /v1/connections`: which stations are at this process."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from voltbus_backbone.errors import Problem
from voltbus_backbone.rest import build_app, include
from voltbus_backbone.rest.access import Caller
from voltbus_gateway import api

if TYPE_CHECKING:
    from gateway.stage import Stage
    from voltbus_backbone.rest.access import Operators


class Scopes:
    """Stands in for ``Operators``: the bearer token is its own list of scopes."""

    def caller(self, authorization: str | None) -> Caller:
        """Who has the scopes, or 401."""
        if authorization is None:
            raise Problem(401, "unauthorized", "Send a token.")
        return Caller("someone", "", frozenset(authorization.removeprefix("Bearer ").split()))


async def get(
    stage: Stage,
    query: str = "",
    scopes: str | None = "stations:read",
    what: str = "connections",
) -> httpx.Response:
    """One request."""
    operators: Operators = Scopes()  # type: ignore[assignment]  # the same one method
    app = build_app("gateway", operators, dict)
    include(app, [api.router(stage.gateway.connections, stage.gateway.refusals)], None)
    headers = {"Authorization": f"Bearer {scopes}"} if scopes is not None else {}
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
        return await client.get(f"/v1/{what}{query}", headers=headers)


def names(body: dict[str, Any]) -> list[str]:
    """The stations of a page."""
    return [entry["station_id"] for entry in body["data"]]


async def test_connections_are_counted_and_listed(stage: Stage) -> None:
    """Ordered by station, with version and profile, and totals of the process."""
    async with (
        stage.station("CP-2", offers=("ocpp2.0.1",)),
        stage.station("CP-1") as station,
    ):
        await station.call("Heartbeat", {})
        body = (await get(stage)).json()
    assert names(body) == ["CP-1", "CP-2"]
    assert body["total"] == 2
    assert body["by_protocol"] == {"ocpp1.6": 1, "ocpp2.0.1": 1}
    assert [entry["registration"] for entry in body["data"]] == ["Accepted", None]
    assert body["data"][0]["security_profile"] == 1


async def test_connections_are_paged_both_ways(stage: Stage) -> None:
    """Exclusive cursors, and has_more."""
    async with AsyncExitStack() as stations:
        for number in range(5):
            await stations.enter_async_context(stage.station(f"CP-{number}"))
        first = (await get(stage, "?limit=2")).json()
        second = (await get(stage, "?limit=2&starting_after=CP-1")).json()
        last = (await get(stage, "?limit=2&starting_after=CP-3")).json()
        back = (await get(stage, "?limit=2&ending_before=CP-3")).json()
    assert (names(first), first["has_more"]) == (["CP-0", "CP-1"], True)
    assert (names(second), second["has_more"]) == (["CP-2", "CP-3"], True)
    assert (names(last), last["has_more"]) == (["CP-4"], False)
    assert (names(back), back["has_more"]) == (["CP-1", "CP-2"], True)


@pytest.mark.parametrize(
    ("query", "scopes", "status"),
    [("", None, 401), ("", "tokens:read", 403), ("?limit=0", "stations:read", 422)],
)
async def test_bad_requests_are_problems(
    stage: Stage, query: str, scopes: str | None, status: int
) -> None:
    """No token, another scope, a limit out of range."""
    answer = await get(stage, query, scopes)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"

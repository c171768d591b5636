"""What holds for every room's routes: scopes and cursors, on real MongoDB."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import STATION
from auth.rest_answers import problem

if TYPE_CHECKING:
    from auth.conftest import Served

pytestmark = pytest.mark.stack

CREDENTIALS = f"/v1/stations/{STATION}/credentials"


async def test_scopes(served: Served) -> None:
    """Each route needs its scope: 401 without a token, 403 with another."""
    other = served.as_operator("agreements:read")
    for method, path in (
        ("GET", "/v1/tokens"),
        ("POST", "/v1/tokens"),
        ("GET", "/v1/transactions"),
        ("PUT", CREDENTIALS),
        ("POST", "/v1/authorizations/explain"),
    ):
        answer = await served.client.request(method, path, headers={"Authorization": ""}, json={})
        problem(answer, 401, "unauthorized")
        answer = await served.client.request(method, path, headers=other, json={})
        problem(answer, 403, "forbidden")


@pytest.mark.parametrize(
    ("path", "cursor"),
    [
        ("/v1/authorizations", f"{'a' * 24}-99999999999999999999"),
        ("/v1/authorizations", f"{'a' * 24}-²"),
        ("/v1/authorizations", "x"),
        ("/v1/erasures", "x"),
        ("/v1/tokens", "f" * 64),
        ("/v1/transactions", "9" * 26),
        ("/v1/tokens", "x" * 1000),
        ("/v1/tokens", "a\x00b"),
    ],
)
async def test_a_cursor_that_is_none(served: Served, path: str, cursor: str) -> None:
    """422, whatever it would overflow."""
    for name in ("starting_after", "ending_before"):
        answer = await served.client.get(path, params={name: cursor})
        problem(answer, 422, "invalid-request")

"""What REST answers: problems, a token that is made, an explanation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from auth.auth_examples import CARD, STATION

if TYPE_CHECKING:
    import httpx

    from auth.conftest import Served


def problem(answer: httpx.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem document that an answer is (RFC 9457), without the token in it."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert CARD not in answer.text
    found: dict[str, Any] = answer.json()
    assert found["type"] == f"urn:voltbus:problem:{kind}"
    return found


async def created(served: Served, **fields: Any) -> dict[str, Any]:
    answer = await served.client.post("/v1/tokens", json={"id_token": CARD, **fields})
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def explained(served: Served, **fields: Any) -> dict[str, Any]:
    answer = await served.client.post(
        "/v1/authorizations/explain", json={"station_id": STATION, **fields}
    )
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found

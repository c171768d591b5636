"""What is wrong with a request is told by its places, and by nothing that the request holds."""

from __future__ import annotations

import json
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body
from httpx import ASGITransport, AsyncClient
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field

from voltbus_backbone.errors import Problem
from voltbus_backbone.rest import build_app
from voltbus_backbone.rest.access import Operators
from voltbus_backbone.rest.validation import checked
from voltbus_backbone.settings import ServiceSettings

SECRET = "04A1B2C3D4E5F6"


class Strict(BaseModel):
    """A part of a body."""

    model_config = ConfigDict(extra="forbid")


class Party(Strict):
    """Who."""

    id: str
    role: str = Field(default="", alias="as")


class Speed(Strict):
    """How fast, by a number."""

    limit: float


class Slow(Strict):
    """How fast, by a word."""

    word: str


class Order(Strict):
    """Parts in every way that a body holds some."""

    name: str = ""
    party: Party | None = None
    parties: list[Party] = []
    by_name: dict[str, Annotated[tuple[Party, ...], Field(max_length=3)]] = {}
    speed: Speed | Slow | None = None


KNOWN = "has a member that is unknown here; known: "
ORDER = KNOWN + "name, party, parties, by_name, speed"
PARTY = KNOWN + "id, as"

UNKNOWN = [
    ({SECRET: 1}, "body", ORDER),
    ({"party": {"id": "a", SECRET: 1}}, "party", PARTY),
    ({"parties": [{"id": "a"}, {"id": "b", SECRET: 1}]}, "parties.1", PARTY),
    ({"by_name": {"x": [{"id": "a", SECRET: 1}]}}, "by_name.x.0", PARTY),
    ({SECRET: 1, SECRET * 2: 2}, "body", ORDER),
]

router = APIRouter()


@router.post("/orders")
async def order(body: Order) -> str:
    """Take an order."""
    return body.name


@router.post("/perhaps")
async def perhaps(body: Order | None = None) -> str:
    """Take an order, if there is one."""
    return body.name if body else ""


@router.post("/two")
async def two(first: Annotated[Order, Body()], second: Annotated[Speed, Body()]) -> str:
    """Take two things in one body."""
    return f"{first.name} {second.limit}"


async def post(path: str, body: Any) -> list[dict[str, str]]:
    """The mistakes in a body."""
    app = build_app("test", Operators(ServiceSettings(http_port=0)), dict)
    app.include_router(router)
    async with AsyncClient(transport=ASGITransport(app=app), base_url="http://test") as http:
        answer = await http.post(path, json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert SECRET not in answer.text
    errors: list[dict[str, str]] = answer.json()["errors"]
    return errors


@pytest.mark.parametrize("path", ["/orders", "/perhaps"])
@pytest.mark.parametrize(("body", "field", "message"), UNKNOWN)
async def test_an_unknown_member_is_told_by_its_place(
    path: str, body: dict[str, Any], field: str, message: str
) -> None:
    """Its name may be an identifier in the wrong place: told are where it is and what may be."""
    assert await post(path, body) == [{"field": field, "message": message}]


@pytest.mark.parametrize(("body", "field", "message"), UNKNOWN)
def test_what_a_patch_makes_is_told_alike(body: dict[str, Any], field: str, message: str) -> None:
    """A body that is checked by ourselves, after a merge patch, has the same errors."""
    with pytest.raises(Problem) as caught:
        checked(Order, body)
    assert caught.value.status == 422
    assert caught.value.errors == [{"field": field, "message": message}]
    assert checked(Order, {"name": "a"}).name == "a"


async def test_in_a_union_every_possible_member_is_named() -> None:
    """Which of two models was meant nobody knows: the members of both are possible."""
    errors = await post("/orders", {"speed": {"limit": 1, SECRET: 1}})
    assert {"field": "speed.Speed", "message": f"{KNOWN}limit, word"} in errors


async def test_two_things_in_one_body() -> None:
    """Each has its own place and its own members."""
    found = await post("/two", {"first": {SECRET: 1}, "second": {"limit": 1, SECRET: 1}})
    assert found == [
        {"field": "first", "message": ORDER},
        {"field": "second", "message": f"{KNOWN}limit"},
    ]


async def test_other_mistakes_are_told_beside_it() -> None:
    """An unknown member hides none of the others."""
    found = await post("/orders", {SECRET: 1, "party": {"id": 7}})
    assert [one["field"] for one in found] == ["party.id", "body"]


@given(
    st.recursive(
        st.just(SECRET) | st.integers(),
        lambda inner: (
            st.dictionaries(
                st.sampled_from([SECRET, "party", "id", "parties", "speed", "limit", "name"]), inner
            )
            | st.lists(inner, max_size=3)
        ),
        max_leaves=12,
    )
)
def test_no_answer_holds_what_the_request_did(body: Any) -> None:
    """Whatever a body holds, as a value or as a member's name: the answer does not."""
    with pytest.raises(Problem) as caught:
        checked(Order, {"party": {"as": SECRET}, "name": 7, "speed": body})
    assert SECRET not in json.dumps(caught.value.body())

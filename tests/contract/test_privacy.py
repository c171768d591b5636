"""What anyone may subscribe to cannot carry a readable token or a password."""

from __future__ import annotations

from typing import Any

import pytest

from voltbus_backbone.contract.registry import TYPES, MessageType, Topic
from voltbus_backbone.contract.values import AdditionalId, IdToken
from voltbus_backbone.contract_docs.schemas import fields_within, structs_within

PUBLIC = [
    pytest.param(row, id=name)
    for name, row in TYPES.items()
    if row.topic is not None and row.topic.endswith((".events", ".state"))
]
SENSITIVE = {IdToken.__name__, AdditionalId.__name__, "PasswordVerifier", "StationLoginAnswer"}
WORDS = ("password", "secret", "verifier", "id_tag", "id_token", "pin", "card_number")

# Fields of any shape on public topics: each one is a decision. What a station reports passes as it
# came, so the gateway must not send an action through it whose payload holds an identifier. A
# transaction's details are the members of OCPP 2.x that `domain.translation.v201` names.
OPEN_FIELDS = {
    "StationReported.payload",
    "AgreementSnapshot.metadata",
    "TransactionChanged.details",
}

Row = MessageType[Any]


def test_there_are_public_topics() -> None:
    """Every topic of facts is covered by this file."""
    assert {row.values[0].topic for row in PUBLIC} == {  # type: ignore[union-attr]
        Topic.STATIONS_EVENTS,
        Topic.STATIONS_STATE,
        Topic.TRANSACTIONS_EVENTS,
        Topic.TOKENS_EVENTS,
        Topic.COMMANDS_EVENTS,
        Topic.AGREEMENTS_EVENTS,
    }


@pytest.mark.parametrize("row", PUBLIC)
def test_no_event_can_hold_a_readable_token(row: Row) -> None:
    """No public message reaches the IdToken type or a password's verifier."""
    assert not structs_within(row.body).keys() & SENSITIVE


@pytest.mark.parametrize("row", PUBLIC)
def test_no_event_has_a_field_for_a_secret(row: Row) -> None:
    """No field of a public message is named like a secret or a readable identifier."""
    assert not [
        f"{struct}.{field}"
        for struct, field, _ in fields_within(row.body)
        if any(word in field.split("_") or word == field for word in WORDS)
    ]


@pytest.mark.parametrize("row", PUBLIC)
def test_fields_of_any_shape_are_decisions(row: Row) -> None:
    """A field that may hold anything is public only where this file names it."""
    found = {
        f"{struct}.{field}"
        for struct, field, kind in fields_within(row.body)
        if kind is Any or "typing.Any" in str(kind)
    }
    assert found <= OPEN_FIELDS

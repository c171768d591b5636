"""A decision in the words of each version (rules B)."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from voltbus_backbone.contract.auth import Decision, TransactionAnswer
from voltbus_backbone.contract.values import AuthorizationStatus, IdToken, Protocol
from voltbus_gateway.domain.translation import v16
from voltbus_gateway.domain.translation.decisions import id_tag_info, id_token_info
from voltbus_gateway.domain.translation.route import Context
from voltbus_gateway.domain.wire.errors import CallFailed, ErrorCode
from voltbus_gateway.domain.wire.schemas import check_response
from voltbus_gateway.domain.wire.times import parse_time

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
S = AuthorizationStatus


@pytest.mark.parametrize("status", [S.ACCEPTED, S.BLOCKED, S.EXPIRED, S.INVALID])
def test_16_has_the_same_word(status: AuthorizationStatus) -> None:
    """Four statuses are the same in 1.6, with the expiry that auth gave."""
    info = id_tag_info(Decision(status=status, cache_expiry=NOW + timedelta(days=1)), NOW)
    assert info == {"status": status.value, "expiryDate": "2026-03-02T12:00:00.000Z"}


@pytest.mark.parametrize(
    "status",
    [
        S.UNKNOWN,
        S.NO_CREDIT,
        S.NOT_ALLOWED_TYPE_EVSE,
        S.NOT_AT_THIS_LOCATION,
        S.NOT_AT_THIS_TIME,
        S.CONCURRENT_TX,
    ],
)
def test_what_16_cannot_say_is_invalid_and_already_expired(status: AuthorizationStatus) -> None:
    """B: Invalid, with an expiry in the past so that no cache keeps it, whatever auth's was."""
    info = id_tag_info(Decision(status=status, cache_expiry=NOW + timedelta(days=1)), NOW)
    assert info["status"] == "Invalid"
    assert parse_time(info["expiryDate"]) < NOW


def test_concurrent_tx_is_a_word_for_a_start() -> None:
    """B: ConcurrentTx in StartTransaction only."""
    info = id_tag_info(Decision(status=S.CONCURRENT_TX), NOW, starting=True)
    assert info == {"status": "ConcurrentTx"}


@pytest.mark.parametrize(("group", "told"), [("G" * 20, True), ("G" * 21, False), ("", False)])
def test_a_parent_of_16_has_at_most_20_characters(group: str, told: bool) -> None:  # noqa: FBT001 - a row of the table
    """B: parentIdTag at most 20; a longer one would not be the same parent when cut."""
    info = id_tag_info(Decision(status=S.ACCEPTED, group=IdToken(value=group)), NOW)
    assert ("parentIdTag" in info) == told


@pytest.mark.parametrize("protocol", [Protocol.OCPP201, Protocol.OCPP21])
@pytest.mark.parametrize("status", list(S))
def test_2x_says_every_status(protocol: Protocol, status: AuthorizationStatus) -> None:
    """Every status is one of the schema's; nothing empty is sent (A18)."""
    info = id_token_info(Decision(status=status), protocol)
    assert info == {"status": status.value}
    check_response(protocol, "Authorize", {"idTokenInfo": info})


@pytest.mark.parametrize("protocol", [Protocol.OCPP201, Protocol.OCPP21])
def test_2x_keeps_to_the_limits_of_the_schema(protocol: Protocol) -> None:
    """Whatever auth decides, the answer can be sent: too long is cut or left out."""
    decision = Decision(
        status=S.ACCEPTED,
        cache_expiry=NOW,
        group=IdToken(value="G" * 300, type="Central"),
        evse_ids=(0, 1),
        charging_priority=99,
        language="x" * 20,
        personal_message="M" * 3000,
        certificate_status="Accepted",
    )
    info = id_token_info(decision, protocol)
    assert info["chargingPriority"] == 9
    assert "groupIdToken" not in info
    assert "language1" not in info
    check_response(protocol, "Authorize", {"idTokenInfo": info})


@pytest.mark.parametrize(
    ("protocol", "type_", "told"),
    [
        (Protocol.OCPP201, "", "Central"),
        (Protocol.OCPP201, "eMAID", "eMAID"),
        (Protocol.OCPP201, "DirectPayment", "Central"),
        (Protocol.OCPP21, "DirectPayment", "DirectPayment"),
        (Protocol.OCPP21, "T" * 21, "Central"),
    ],
)
def test_a_group_is_central_unless_it_says_otherwise(
    protocol: Protocol, type_: str, told: str
) -> None:
    """C09.FR.13; 2.0.1 has a closed list of types, 2.1 an open one of at most 20 characters."""
    group = IdToken(value="FLEET", type=type_)
    info = id_token_info(Decision(status=S.ACCEPTED, group=group), protocol)
    assert info["groupIdToken"] == {"idToken": "FLEET", "type": told}


@pytest.mark.parametrize(
    "answer",
    [
        TransactionAnswer(transaction_id=1),
        TransactionAnswer(decision=Decision(status=S.ACCEPTED)),
    ],
)
def test_a_start_of_16_is_answered_whole_or_with_an_error(answer: TransactionAnswer) -> None:
    """B: StartTransaction.conf always carries an id and a status; half an answer is none."""
    context = Context("CS-1", "c-1", Protocol.OCPP16, NOW)
    with pytest.raises(CallFailed) as caught:
        v16.start_answer(answer, {}, context)
    assert caught.value.code is ErrorCode.INTERNAL_ERROR

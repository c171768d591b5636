"""`auth.requests` from event to answer and event, on both stores (ocpp-rules B; design 4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from auth.auth_examples import (
    CARD,
    HOUR,
    KEY,
    NOW,
    OFFICE_HOURS,
    STATION,
    asked,
    authorize,
    card,
    covering,
    of_stations,
    started16,
    state,
    terms,
)
from auth.memory_store import MemoryStore
from voltbus_auth.credentials.domain import credentials
from voltbus_auth.credentials.domain.credentials import Credentials
from voltbus_auth.tokens.domain.token import TokenStatus
from voltbus_backbone.contract.agreements import AgreementStatus
from voltbus_backbone.contract.auth import FindToken, StationLogin
from voltbus_backbone.contract.registry import STATION_REGISTERED
from voltbus_backbone.contract.stations import StationRegistered
from voltbus_backbone.contract.values import AuthorizationStatus, Protocol

if TYPE_CHECKING:
    from auth.conftest import Clock, Replica

S = AuthorizationStatus
OTHER = "CS-2"


async def status(replica: Replica, kind: str = "ISO14443", value: str = CARD) -> S:
    protocol = Protocol.OCPP201 if kind else Protocol.OCPP16
    told = await replica.handle(asked(authorize(card(value, kind), protocol=protocol)))
    found: S = told.answer.decision.status
    return found


async def test_authorize(replica: Replica) -> None:
    """A registered token is Accepted, by type and value, whatever the case (C01.FR.25)."""
    await replica.token()
    assert await status(replica) is S.ACCEPTED
    assert await status(replica, value=CARD.lower()) is S.ACCEPTED
    assert await status(replica, kind="ISO15693") is S.UNKNOWN
    assert await status(replica, value="04FF") is S.UNKNOWN


@pytest.mark.parametrize(
    ("kind", "found"), [("", "ISO14443"), ("ISO14443", "ISO14443"), ("Central", None)]
)
async def test_a_service_finds_a_token_by_its_value(
    replica: Replica, kind: str, found: str | None
) -> None:
    """With its type or, as an idTag of 1.6, without one; the answer holds no value."""
    token = await replica.token()
    question = FindToken(station_id=STATION, id_token=card(CARD, kind))
    answer = (await replica.handle(asked(question))).answer
    assert answer.type == found
    assert (answer.token_ref == token.ref) is (found is not None)
    assert CARD not in str(answer)


async def test_authorize_without_type(replica: Replica) -> None:
    """1.6 presents no type: the likeliest token of that value is meant, RFID before the rest."""
    await replica.token(kind="Central", status=TokenStatus.BLOCKED)
    assert await status(replica, kind="") is S.BLOCKED
    await replica.token()
    assert await status(replica, kind="") is S.ACCEPTED


async def test_an_emaid_without_type_whatever_its_hyphens(replica: Replica) -> None:
    """1.6 presents a contract with hyphens: the eMAID registered without them, by its agreement."""
    made = await replica.token("NLTNMC00122045K", "eMAID")
    assert await status(replica, "", "NL-TNM-C00122045-K") is S.ACCEPTED
    assert await status(replica, "", "NL-TNM-C00122046-K") is S.UNKNOWN
    agreed = terms(status=AgreementStatus.SUSPENDED)
    await replica.shelf.put_agreements([covering(agreed, made.ref)])
    assert await status(replica, "", "NL-TNM-C00122045-K") is S.BLOCKED


async def test_a_value_that_is_registered_as_presented_goes_before_an_emaid(
    replica: Replica,
) -> None:
    """Another token with that very value is meant, not the eMAID that it could spell too."""
    await replica.token("NLTNMC00122045K", "eMAID")
    await replica.token("NL-TNM-C00122045-K", "MacAddress", status=TokenStatus.BLOCKED)
    assert await status(replica, "", "NL-TNM-C00122045-K") is S.BLOCKED


async def test_no_other_token_is_found_by_an_emaids_hyphens(replica: Replica) -> None:
    """Hyphens count in a value that is no eMAID: the one without them is another token."""
    await replica.token("NLTNMC00122045K", "Central")
    assert await status(replica, "", "NL-TNM-C00122045-K") is S.UNKNOWN
    assert await status(replica, "", "NLTNMC00122045K") is S.ACCEPTED


async def test_a_charge_in_16_on_an_emaid_with_hyphens(replica: Replica) -> None:
    """Its transaction names the registered token, told once or twice."""
    made = await replica.token("NLTNMC00122045K", "eMAID")
    start = started16(id_token=card("NL-TNM-C00122045-K", ""))
    first, again = await replica.handle(asked(start)), await replica.handle(asked(start))
    assert first.answer.decision.status is S.ACCEPTED
    assert first.answer.transaction_id == again.answer.transaction_id
    (record,) = await replica.shelf.transaction_records()
    assert record.token is not None
    assert record.token.token_ref == made.ref


async def test_agreement_decides_without_type_too(replica: Replica) -> None:
    """An agreement names tokens by their own reference; 1.6 finds it all the same, twice."""
    await replica.token()
    await replica.shelf.put_agreements([terms(status=AgreementStatus.SUSPENDED)])
    assert await status(replica, kind="") is S.BLOCKED
    assert await status(replica, kind="") is S.BLOCKED
    await replica.shelf.put_agreements([terms(revision=2)])
    assert await status(replica, kind="") is S.ACCEPTED


async def test_opening_hours_close_the_door(replica: Replica, clock: Clock) -> None:
    """Opening hours that config told of decide (rules C)."""
    await replica.token()
    await replica.shelf.put_stations([state(opening_hours=OFFICE_HOURS)])
    assert await status(replica) is S.ACCEPTED
    clock.time = NOW + 8 * HOUR
    told = await replica.handle(asked(authorize(at=clock.time)))
    assert told.answer.decision.status is S.NOT_AT_THIS_TIME


async def test_a_batch_is_answered_one_by_one(replica: Replica) -> None:
    """Different kinds of requests in one batch each get their own answer."""
    await replica.token()
    events = [
        asked(authorize(), offset=900),
        asked(authorize(card("04FF")), offset=901),
        asked(StationLogin(station_id="CS-9"), offset=902),
        asked(started16(), offset=903),
    ]
    answers = (await replica.handle(*events)).answers
    assert answers["g-1/900"].decision.status is S.ACCEPTED
    assert answers["g-1/901"].decision.status is S.UNKNOWN
    assert not answers["g-1/902"].known
    assert answers["g-1/903"].transaction_id is not None


async def test_log_in(replica: Replica) -> None:
    """Log-in is answered with the verifier; unknown stations with known=false (A1, A4)."""
    await replica.shelf.put_stations([state()])
    told = await replica.handle(asked(StationLogin(station_id=STATION)))
    assert (told.answer.known, told.answer.allowed) == (True, False)
    if isinstance(replica.shelf, MemoryStore):
        made = credentials.fast_verifier("secret", bytes)
        replica.shelf.doors[STATION] = Credentials(STATION, 2, (made,))
        told = await replica.handle(asked(StationLogin(station_id=STATION, security_profile=1)))
        assert not told.answer.allowed
        told = await replica.handle(asked(StationLogin(station_id=STATION, security_profile=2)))
        assert told.answer.allowed
        assert told.answer.verifiers == (made,)


async def test_removed_station(replica: Replica) -> None:
    """A station that config removed is unknown at the door."""
    await replica.shelf.put_stations([state()])
    event = asked(StationLogin(station_id=STATION))
    assert (await replica.handle(event)).answer.known
    removed = StationRegistered(station_id=STATION, status="removed", at=NOW, removed=True)
    await replica.measure(of_stations(STATION_REGISTERED.name, removed))
    assert not (await replica.handle(event)).answer.known


@pytest.mark.parametrize("kind", ["ISO14443", ""])
async def test_answers_never_hold_the_token(replica: Replica, kind: str) -> None:
    """No answer and no event carries the readable value (privacy, rules B)."""
    await replica.token(group_id="FLEET")
    message = started16(id_token=card(CARD, kind))
    records = await replica._dispatcher.handle([asked(message), asked(authorize(card(CARD, kind)))])
    assert all(CARD.encode() not in (record.value or b"") for record in records)
    assert KEY.ref("ISO14443", CARD).encode() in b"".join(one.value or b"" for one in records)

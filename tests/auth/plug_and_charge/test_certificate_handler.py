"""`auth.certificate-requests` from event to answer, and what is passed on (C07, M01, M06)."""

from __future__ import annotations

import asyncio
import base64
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from auth.auth_examples import HOUR, KEY, NOW, POLICY, STATION, asked, authorize, card
from auth.conftest import Clock, replica_on, told
from auth.memory_store import MemoryStore
from auth.plug_and_charge.pki import EMAID, Made, Pki, Status, ocsp_answer, pem
from voltbus_auth.decisions.domain.external import answer_of
from voltbus_auth.decisions.domain.verdict import Rule
from voltbus_auth.decisions.handlers.knowledge import Library
from voltbus_auth.plug_and_charge.domain.authorities import read_authority
from voltbus_auth.plug_and_charge.domain.revocation import Unbelievable
from voltbus_auth.plug_and_charge.handlers.certificates import Certificates
from voltbus_auth.plug_and_charge.handlers.trust import Trust
from voltbus_auth.tokens.domain.token import TokenStatus
from voltbus_backbone.contract.auth import (
    GetCertificateStatus,
    GetEvCertificate,
    OcspHash,
    Revocation,
)
from voltbus_backbone.contract.providers import Allowed, ProviderAuthorizeAnswer
from voltbus_backbone.contract.registry import (
    CERTIFICATE_STATUS,
    CONTRACT_AUTHORIZE,
    EV_CERTIFICATE,
    EXTERNAL_EV_CERTIFICATE,
    TYPES,
    Fault,
)
from voltbus_backbone.contract.values import AuthorizationStatus, IdToken, Protocol
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from voltbus_auth.decisions.domain.journal import Decided
    from voltbus_auth.decisions.handlers.knowledge import Knowledge
    from voltbus_auth.plug_and_charge.domain.authorities import Authority
    from voltbus_auth.plug_and_charge.domain.revocation import Check, Told
    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.contract.auth import Authorize, Decision

S = AuthorizationStatus
PKI = Pki(NOW)
LEAF = PKI.contract()


class Spoken:
    """Responders that say what a test tells them, in real OCSP answers."""

    def __init__(self) -> None:
        self.about: dict[int, Made] = {one.serial: one for one in (LEAF, PKI.sub1, PKI.sub2)}
        self.statuses: dict[int, Status | None] = {}
        self.budgets: list[float] = []

    async def ask(
        self, check: Check, believe: Callable[[bytes, Check], Told], budget_s: float
    ) -> Told | None:
        self.budgets.append(budget_s)
        status = self.statuses.get(check.id.serial, Status.GOOD)
        made = self.about.get(check.id.serial)
        if status is None or made is None:
            return None
        brings = (PKI.sub2, PKI.sub1)
        try:
            return believe(ocsp_answer(made, NOW, status=status, brings=brings), check)
        except Unbelievable:
            return None


class Kept:
    """Roots as a store keeps them."""

    def __init__(self, *made: Made) -> None:
        self.found: list[Authority] = [
            read_authority(pem(one.certificate), "MO", None, NOW) for one in made
        ]
        self.away = False

    async def roots(self) -> list[Authority]:
        if self.away:
            raise Unavailable("MongoDB does not answer")
        return self.found


class Roaming:
    """The external authorizer's answer to every contract; None is silence."""

    def __init__(self) -> None:
        self.said: ProviderAuthorizeAnswer | None = None

    async def __call__(self, events: Sequence[Event], knowledge: Knowledge) -> None:
        await asyncio.sleep(0)
        for event in events:
            key = (KEY.presented(event.message.id_token), event.message.station_id)
            knowledge.asked.add(key)
            if self.said is not None:
                knowledge.answers[key] = answer_of(
                    self.said, ref=key[0], station_id=key[1], now=NOW, longest=HOUR
                )


class Desk:
    """The handler with everything around it in memory."""

    def __init__(self, shelf: MemoryStore, clock: Clock, *, roaming: Roaming | None = None) -> None:
        self.replica = replica_on(shelf, clock)
        self.responders = Spoken()
        self.kept = Kept(PKI.root)
        self.trust = Trust(self.kept, every_s=1.0)
        self.decided: list[Decided] = []
        self.certificates = Certificates(
            library=Library(shelf, replace(POLICY, external=roaming is not None), now=clock),
            journal=self,
            trust=self.trust,
            responders=self.responders,
            key=KEY,
            source="/voltbus/auth/auth-1",
            now=clock,
            deadline_s=3.0,
            require_ocsp=True,
            hear=roaming,
        )

    def note(self, decided: Any) -> None:
        self.decided.extend(decided)

    async def answer(self, event: Event) -> Any:
        return told(await self.certificates.handle([event])).answer

    async def decide(self, **fields: Any) -> Decision:
        event = asked(contract(**fields), row=CONTRACT_AUTHORIZE)
        found: Decision = (await self.answer(event)).decision
        return found


def contract(**fields: Any) -> Authorize:
    token = IdToken(value=EMAID, type="eMAID")
    return authorize(token, **{"certificate": LEAF.chain(), **fields})


@pytest.fixture
async def desk(memory: MemoryStore, clock: Clock) -> Desk:
    one = Desk(memory, clock)
    await one.trust.refresh()
    await one.replica.token(EMAID, "eMAID")
    return one


async def test_a_contract_is_accepted(desk: Desk) -> None:
    """Certificate good, token good; remembered with the token's own rule."""
    found = await desk.decide()
    assert (found.certificate_status, found.status) == ("Accepted", S.ACCEPTED)
    (line,) = desk.decided
    assert (line.verdict.rule, line.token_ref) == (Rule.ACCEPTED, KEY.ref("eMAID", EMAID))


async def test_a_revoked_certificate_is_remembered_as_such(desk: Desk) -> None:
    """The journal says that the certificate decided, in words that name nobody."""
    desk.responders.statuses[PKI.sub1.serial] = Status.REVOKED
    found = await desk.decide()
    assert (found.certificate_status, found.status) == ("CertificateRevoked", S.INVALID)
    (line,) = desk.decided
    assert (line.verdict.rule, line.verdict.reason) == (
        Rule.CERTIFICATE,
        "A certificate is revoked.",
    )


async def test_a_blocked_contract(desk: Desk) -> None:
    """The certificate is good, the contract is over (C07.FR.13)."""
    other = "NLTNM000122045U"
    made = PKI.contract(other)
    desk.responders.about[made.serial] = made
    await desk.replica.token(other, "eMAID", status=TokenStatus.BLOCKED)
    token = IdToken(value=other, type="eMAID")
    event = asked(authorize(token, certificate=made.chain()), row=CONTRACT_AUTHORIZE)
    decision = (await desk.answer(event)).decision
    assert (decision.certificate_status, decision.status) == ("ContractCancelled", S.BLOCKED)


async def test_by_hash(desk: Desk) -> None:
    """Hashes alone, with the issuer out of the responder's answer."""
    found = await desk.decide(certificate=None, certificate_hashes=(LEAF.hashed(),))
    assert (found.certificate_status, found.status) == ("Accepted", S.ACCEPTED)


async def test_responders_have_less_time_than_the_asker(desk: Desk) -> None:
    """Never longer than the deadline allows, however long the responders might take."""
    await desk.decide()
    assert set(desk.responders.budgets) == {3.0}
    desk.responders.budgets.clear()
    event = asked(contract(), row=CONTRACT_AUTHORIZE)
    assert event.asking is not None
    event.asking = type(event.asking)("g-1/1", "t", 0, int((NOW.timestamp() + 2) * 1000))
    await desk.answer(event)
    assert max(desk.responders.budgets) < 2


async def test_the_status_of_certificates(desk: Desk) -> None:
    """Each as its responder says, in the order asked; unreadable and unknown ones have failed."""
    desk.responders.statuses[PKI.sub2.serial] = Status.REVOKED
    question = GetCertificateStatus(
        station_id=STATION,
        protocol=Protocol.OCPP201,
        certificates=(
            LEAF.hashed(),
            OcspHash(
                hash_algorithm="MD5", issuer_name_hash="", issuer_key_hash="", serial_number=""
            ),
            PKI.sub2.hashed(),
            PKI.contract().hashed(),
        ),
    )
    event = asked(contract(), row=CERTIFICATE_STATUS)
    event.message = question
    good, unreadable, revoked, unknown = (await desk.answer(event)).certificates
    assert good.status is Revocation.GOOD
    assert good.next_update == NOW + HOUR
    assert base64.b64decode(good.ocsp_response or "")
    assert revoked.status is Revocation.REVOKED
    assert (unreadable.status, unknown.status) == (Revocation.FAILED, Revocation.FAILED)
    assert unknown.ocsp_response is None


async def test_the_same_request_twice_gets_the_same_answer(desk: Desk) -> None:
    """A redelivery after a crash changes nothing (design: at least once)."""
    event = asked(contract(), row=CONTRACT_AUTHORIZE)
    first = await desk.certificates.handle([event])
    again = await desk.certificates.handle([event])
    assert [record.value for record in first] == [record.value for record in again]


async def test_roots_are_kept_while_the_store_is_away(desk: Desk) -> None:
    """An outage of MongoDB does not turn good certificates bad."""
    desk.kept.away = True
    with pytest.raises(Unavailable):
        await desk.trust.refresh()
    assert (await desk.decide()).status is S.ACCEPTED
    desk.kept.away = False
    desk.kept.found = []
    await desk.trust.refresh()
    assert (await desk.decide()).certificate_status == "CertChainError"


async def test_what_waits_for_others_is_passed_on(desk: Desk) -> None:
    """On the quick topic: certificates and wishes of cars leave it with their askers' headers."""
    desk.replica = replica_on(MemoryStore(), Clock(), ev_certificate_provider=True)
    wish = asked(contract(), row=EV_CERTIFICATE)
    wish.message = GetEvCertificate(
        station_id=STATION,
        protocol=Protocol.OCPP201,
        schema_version="urn:iso:15118:2:2013:MsgDef",
        action="Install",
        exi_request="AAAA",
    )
    events = [asked(contract()), asked(authorize(card())), wish]
    records = await desk.replica._dispatcher.handle(events)
    by_type = {dict(record.headers)["ce_type"].decode(): record for record in records}
    for row, event in ((CONTRACT_AUTHORIZE, events[0]), (EXTERNAL_EV_CERTIFICATE, wish)):
        record = by_type[row.name]
        assert record.topic == row.topic
        headers = dict(record.headers)
        assert headers["correlation-id"].decode() == event.correlation_id
        assert {"reply-topic", "reply-partition", "deadline"} <= headers.keys()
    assert len(records) == 3
    assert all(name in TYPES for name in by_type)


async def test_a_contract_of_another_provider(memory: MemoryStore, clock: Clock) -> None:
    """Nobody registered the eMAID: with a good certificate its provider decides (C07, OCPI)."""
    roaming = Roaming()
    desk = Desk(memory, clock, roaming=roaming)
    await desk.trust.refresh()
    roaming.said = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED)
    decision = await desk.decide()
    assert (decision.certificate_status, decision.status) == ("Accepted", S.ACCEPTED)
    assert desk.decided[-1].verdict.rule is Rule.EXTERNAL
    roaming.said = ProviderAuthorizeAnswer(allowed=Allowed.BLOCKED)
    decision = await desk.decide()
    assert (decision.certificate_status, decision.status) == ("ContractCancelled", S.BLOCKED)
    roaming.said = None
    assert isinstance(await desk.answer(asked(contract(), row=CONTRACT_AUTHORIZE)), Fault)
    roaming.said = ProviderAuthorizeAnswer(allowed=Allowed.ALLOWED)
    desk.responders.statuses[LEAF.serial] = Status.REVOKED
    assert (await desk.decide()).certificate_status == "CertificateRevoked"

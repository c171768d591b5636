"""Applications that an authority elsewhere decides: asked, sent, used, and renewed."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from auth.auth_examples import HOUR, MINUTE, NOW, STATION, asked, command_changed, connected
from auth.conftest import told
from auth.plug_and_charge.pki import pem
from auth.station_certificates.issued import ABOVE, OPERATOR, ROOT, SERVER, certificate, request
from auth.station_certificates.memory_applications import MemoryApplications
from voltbus_auth.station_certificates.domain.application import Application, State
from voltbus_auth.station_certificates.domain.requests import STATION as STATION_TYPE
from voltbus_auth.station_certificates.handlers.applications import StationCertificates
from voltbus_auth.station_certificates.handlers.following import Following
from voltbus_auth.station_certificates.handlers.renewing import Renewing
from voltbus_auth.station_certificates.handlers.signers import External
from voltbus_backbone.bus.envelope import Event
from voltbus_backbone.bus.testing import MemoryBus
from voltbus_backbone.contract.auth import OcspHash, SignCertificate
from voltbus_backbone.contract.certificates import CertificateMade
from voltbus_backbone.contract.config import CommandChanged, CommandStatus
from voltbus_backbone.contract.registry import (
    CERTIFICATE_MADE,
    COMMAND_CHANGED,
    SIGN_CERTIFICATE,
    STATION_CONNECTED,
    MessageType,
)
from voltbus_backbone.contract.stations import StationConnected
from voltbus_backbone.contract.values import Protocol

if TYPE_CHECKING:
    from auth.conftest import Clock, Served, Told


class Desk:
    """The handlers as one replica runs them, on a store that others may share."""

    def __init__(self, kept: Any, clock: Clock) -> None:
        self.kept = kept
        self._clock = clock
        signer = External(OPERATOR, [ROOT])
        source = "/voltbus/auth/1"
        self.handler = StationCertificates(signer, kept, source=source, now=clock)
        self.following = Following(kept, now=clock)

    async def ask(self, **fields: Any) -> Told:
        wish: Any = SignCertificate(
            **{"station_id": STATION, "protocol": Protocol.OCPP21, "csr": request(), **fields}
        )
        return told(await self.handler.handle([asked(wish, row=SIGN_CERTIFICATE)]))

    async def answer(self, request_id: str, **fields: Any) -> Told:
        made = CertificateMade(**{"request_id": request_id, "station_id": STATION, **fields})
        return told(await self.handler.handle([fact(CERTIFICATE_MADE, made)]))

    async def follow(self, *messages: CommandChanged | StationConnected) -> None:
        rows: dict[type, MessageType[Any]] = {
            CommandChanged: COMMAND_CHANGED,
            StationConnected: STATION_CONNECTED,
        }
        events = [fact(rows[type(message)], message) for message in messages]
        assert await self.following.handle(events) == []

    async def only(self) -> Application:
        (found,) = (await self.kept.of_stations({STATION})).values()
        application: Application = found
        return application


def fact(row: MessageType[Any], message: Any) -> Event:
    """A record that nobody waits for."""
    return Event("id", "/x", row.name, "", STATION, b"", message=message)


def logged_in(serial: int | None) -> StationConnected:
    return connected(
        protocol=Protocol.OCPP21,
        security_profile=3,
        certificate_serial=None if serial is None else f"{serial:x}",
    )


def command_ended(cause: str, status: str = "answered", answer: str | None = None) -> Any:
    return command_changed("CertificateSigned", CommandStatus(status), answer, cause=cause)


@pytest.fixture(params=["memory", pytest.param("mongo", marks=pytest.mark.stack)])
def desk(request: pytest.FixtureRequest, clock: Clock) -> Desk:
    """Each test of the life of an application runs on both stores."""
    if request.param == "memory":
        return Desk(MemoryApplications(), clock)
    served: Served = request.getfixturevalue("served")
    return Desk(served.store.application, clock)


async def issue(desk: Desk, **fields: Any) -> tuple[Any, x509.Certificate]:
    """A command with a certificate, and the certificate."""
    ((_, request_id, _),) = (await desk.ask(**fields)).events
    leaf = certificate()
    ((_, _, command),) = (await desk.answer(request_id, chain=pem(leaf, ABOVE))).events
    return command, leaf


async def test_an_authority_is_asked_and_answers(desk: Desk) -> None:
    """Accepted at once; the request out under an id; the chain back, and to the station."""
    found = await desk.ask(certificate_type=STATION_TYPE, request_id=7)
    assert found.answer.accepted
    ((kind, event_id, wanted),) = found.events
    assert (kind, event_id) == ("sign-certificate", wanted.request_id)
    assert (wanted.common_name, wanted.organization) == (STATION, OPERATOR)
    assert (await desk.only()).state is State.PENDING
    leaf = certificate()
    ((kind, _, command),) = (
        await desk.answer(wanted.request_id, chain=pem(leaf, ABOVE, ROOT))
    ).events
    assert (kind, command.action) == ("command", "CertificateSigned")
    assert command.payload == {
        "certificateChain": pem(leaf, ABOVE),
        "certificateType": STATION_TYPE,
        "requestId": 7,
    }
    assert command.cause == command.idempotency_key
    issued = await desk.only()
    assert (issued.state, issued.serial) == (State.ISSUED, f"{leaf.serial_number:x}")


async def test_a_redelivery_changes_nothing(desk: Desk) -> None:
    """A kill between store and send: the same records again, under the same ids, one effect."""
    first, again = await desk.ask(), await desk.ask()
    assert first.events == again.events
    ((_, request_id, _),) = first.events
    chain = pem(certificate(), ABOVE)
    sent = await desk.answer(request_id, chain=chain)
    before = await desk.only()
    assert (await desk.answer(request_id, chain=chain)).events == sent.events
    other = await desk.answer(request_id, chain=pem(certificate(), ABOVE))
    assert other.events == sent.events
    assert await desk.only() == before


async def test_a_refusal_is_shown_and_may_be_taken_back(desk: Desk) -> None:
    """No command; the reason is kept; a certificate that comes after all is sent."""
    ((_, request_id, _),) = (await desk.ask()).events
    assert (await desk.answer(request_id, refusal="Not on our list.")).events == []
    refused = await desk.only()
    assert (refused.state, refused.reason) == (State.REFUSED, "Not on our list.")
    found = await desk.answer(request_id, chain=pem(certificate(), ABOVE))
    assert len(found.events) == 1


async def test_a_chain_that_does_not_fit_is_not_sent(desk: Desk) -> None:
    """The application is refused with what is wrong; the station asks again, in a new round."""
    ((_, request_id, _),) = (await desk.ask()).events
    misfit = pem(certificate("CS-2"), ABOVE)
    assert (await desk.answer(request_id, chain=misfit)).events == []
    assert "common name" in str((await desk.only()).reason)
    ((_, another, _),) = (await desk.ask()).events
    assert another != request_id
    assert (await desk.answer(request_id, chain=pem(certificate(), ABOVE))).events == []


@pytest.mark.parametrize(
    "fields", [{"request_id": "0" * 32 + "-1"}, {"request_id": "x"}, {"station_id": "CS-2"}]
)
async def test_an_answer_to_nothing(desk: Desk, fields: dict[str, str]) -> None:
    """Of a request that nobody made, or of another station: passed over."""
    ((_, request_id, _),) = (await desk.ask()).events
    wrong = {"request_id": request_id, "chain": pem(certificate(), ABOVE), **fields}
    assert (await desk.answer(**wrong)).events == []
    assert (await desk.only()).state is State.PENDING


async def test_the_station_says_yes_and_uses_it(desk: Desk) -> None:
    """Accepted, then in use once it logs in with it; the next one in use replaces it."""
    command, leaf = await issue(desk)
    await desk.follow(command_ended(command.cause, "sent"))
    assert (await desk.only()).state is State.ISSUED
    await desk.follow(command_ended(command.cause, answer="Accepted"), logged_in(None))
    assert (await desk.only()).state is State.ACCEPTED
    await desk.follow(logged_in(1), logged_in(leaf.serial_number))
    assert (await desk.only()).state is State.IN_USE
    await desk.follow(logged_in(leaf.serial_number + 1))
    assert (await desk.only()).state is State.REPLACED


async def test_a_station_that_says_no(desk: Desk) -> None:
    """Rejected by the station: asking again begins a new round."""
    command, _ = await issue(desk)
    await desk.follow(command_ended(command.cause, answer="Rejected"))
    assert (await desk.only()).state is State.REJECTED
    ((kind, _, _),) = (await desk.ask()).events
    assert kind == "sign-certificate"
    assert (await desk.only()).state is State.PENDING


@pytest.mark.parametrize("end", ["timed_out", "expired", "rejected", "cancelled"])
async def test_a_certificate_that_did_not_arrive(desk: Desk, end: str) -> None:
    """The same chain goes out by a new command when the station asks again."""
    command, _ = await issue(desk)
    await desk.follow(command_ended(command.cause, end))
    assert (await desk.only()).state is State.UNDELIVERED
    ((_, _, again),) = (await desk.ask()).events
    assert again.payload == command.payload
    assert again.idempotency_key != command.idempotency_key
    # What is told late of the first command says nothing of the second.
    await desk.follow(command_ended(command.cause, answer="Rejected"))
    assert (await desk.only()).state is State.ISSUED


async def test_a_new_request_id_is_repeated(desk: Desk) -> None:
    """2.1: the answer carries the requestId of the last time that the station asked."""
    await desk.ask(request_id=1)
    command, _ = await issue(desk, request_id=2)
    assert command.payload["requestId"] == 2
    ((_, _, again),) = (await desk.ask(request_id=3)).events
    assert again.payload == {**command.payload, "requestId": 3}


async def test_after_an_hour_it_is_signed_anew(desk: Desk, clock: Clock) -> None:
    """Who renews with the old key sends the same request: soon it is for the same certificate."""
    command, _ = await issue(desk)
    await desk.follow(command_ended(command.cause, answer="Accepted"))
    ((kind, _, again),) = (await desk.ask()).events
    assert (kind, again.payload) == ("command", command.payload)
    clock.time += HOUR
    ((kind, _, _),) = (await desk.ask()).events
    assert kind == "sign-certificate"


async def test_the_authority_is_told_which_root_is_wanted(desk: Desk) -> None:
    """2.1 lets a station name the root: an authority of several must know (A02)."""
    root = OcspHash(
        hash_algorithm="SHA256", issuer_name_hash="a0", issuer_key_hash="b1", serial_number="c2"
    )
    ((_, _, wanted),) = (await desk.ask(root=root)).events
    assert wanted.root == root


async def test_an_eleventh_pending_request(desk: Desk) -> None:
    """A station that asks with ever new keys is stopped; others are not."""
    keys = [ec.generate_private_key(ec.SECP256R1()) for _ in range(11)]
    answers = [(await desk.ask(csr=request(key))).answer for key in keys]
    assert [one.accepted for one in answers] == [True] * 10 + [False]
    assert answers[-1].reason_code == "TooManyElements"
    assert (await desk.ask(csr=request(keys[0]))).answer.accepted
    assert (await desk.ask(csr=request(keys[10]), station_id="CS-2")).answer.accepted


async def test_a_certificate_for_cars_is_passed_on(desk: Desk) -> None:
    """V2GCertificate goes out with its type and its own subject; no type we know is refused."""
    found = await desk.ask(certificate_type="V2GCertificate")
    ((_, _, wanted),) = found.events
    assert (wanted.certificate_type, wanted.common_name) == ("V2GCertificate", None)
    chain = pem(certificate("SECC-1", "Somebody", extensions=(SERVER,)), ABOVE)
    ((_, _, command),) = (await desk.answer(wanted.request_id, chain=chain)).events
    assert command.payload["certificateType"] == "V2GCertificate"
    assert not (await desk.ask(certificate_type="AnotherCertificate")).answer.accepted


async def test_two_replicas_at_once(clock: Clock) -> None:
    """Who loses the race decides again on what the other stored: one round, one command."""
    shared = MemoryApplications()

    class Slow(MemoryApplications):
        """The other replica writes between this one's load and write, once."""

        def __init__(self) -> None:
            super().__init__()
            self.all = shared.all
            self.overtaken = False

        async def write(self, applications: Any, loaded: Any) -> set[str]:
            if not self.overtaken:
                self.overtaken = True
                clock.time += MINUTE
                await Desk(shared, clock).ask()
            return await super().write(applications, loaded)

    found = await Desk(Slow(), clock).ask()
    assert found.answer.accepted
    assert len(found.events) == 1
    (one,) = shared.all.values()
    assert (one.round, one.asked_at) == (1, NOW + MINUTE)


@pytest.mark.stack
async def test_the_fleet_by_expiry(served: Served, clock: Clock) -> None:
    """What expires before a day, the first to expire first, a page at a time."""
    desk = Desk(served.store.application, clock)
    for lasts in (30, 10, 20, 40):
        csr = request(ec.generate_private_key(ec.SECP256R1()))
        public: Any = x509.load_pem_x509_csr(csr.encode())
        ((_, request_id, _),) = (await desk.ask(csr=csr)).events
        leaf = certificate(key=_Public(public.public_key()), ends=NOW + timedelta(days=lasts))
        await desk.answer(request_id, chain=pem(leaf, ABOVE))
    await desk.ask()  # pending: it has no expiry

    async def listed(**query: Any) -> tuple[list[int], dict[str, Any]]:
        answer = await served.client.get("/v1/station-certificates", params=query)
        assert answer.status_code == 200, answer.text
        found = answer.json()
        ends = [datetime.fromisoformat(one["not_after"]) for one in found["data"]]
        return [(end - NOW).days for end in ends], found

    assert (await listed())[0] == [10, 20, 30, 40]
    soon = {"expires_before": (NOW + timedelta(days=35)).isoformat(), "state": "issued"}
    days, page = await listed(limit=2, **soon)
    assert (days, page["has_more"]) == ([10, 20], True)
    days, after = await listed(limit=2, starting_after=page["data"][-1]["id"], **soon)
    assert (days, after["has_more"]) == ([30], False)
    days, _ = await listed(limit=2, ending_before=after["data"][0]["id"], **soon)
    assert days == [10, 20]
    one = after["data"][0]
    shown = await served.client.get(f"/v1/station-certificates/{one['id']}")
    assert shown.json() == one
    of_station = await served.client.get(f"/v1/stations/{STATION}/certificates")
    assert len(of_station.json()["data"]) == 5
    bad = await served.client.get("/v1/station-certificates", params={"starting_after": "0" * 32})
    assert bad.status_code == 422
    assert (await served.client.get(f"/v1/station-certificates/{'0' * 32}")).status_code == 404
    nobody = served.as_operator("tokens:read")
    refused = await served.client.get("/v1/station-certificates", headers=nobody)
    assert refused.status_code == 403


class _Public:
    """A key of which the authority knows the public half only."""

    def __init__(self, key: Any) -> None:
        self._key = key

    def public_key(self) -> Any:
        return self._key


async def test_stations_are_told_to_renew(desk: Desk, clock: Clock) -> None:
    """Before the end and once a day, the first to end first, until there is a newer certificate."""
    bus = MemoryBus()
    renewing = Renewing(
        desk.kept,
        bus,
        ahead=timedelta(days=10),
        per_minute=2,
        source="/voltbus/auth/1",
        now=clock,
    )
    for name in ("CS-1", "CS-2", "CS-3"):
        await in_use(desk, name, NOW + timedelta(days=30))
    assert await renewing.look() == 0
    clock.time = NOW + timedelta(days=21)
    assert [await renewing.look() for _ in range(3)] == [2, 1, 0]
    orders = [event.message for event in bus.events("config.requests")]
    assert {one.station_id for one in orders} == {"CS-1", "CS-2", "CS-3"}
    assert {one.action for one in orders} == {"trigger"}
    assert orders[0].payload == {"message": "sign_certificate"}
    clock.time += timedelta(days=1)
    await in_use(desk, "CS-1", clock.time + timedelta(days=30))
    await desk.ask(csr=request(ec.generate_private_key(ec.SECP256R1())), station_id="CS-2")
    # They end together, so which two of the three are looked at first is not said.
    assert sum([await renewing.look() for _ in range(2)]) == 1
    assert bus.events("config.requests")[-1].message.station_id == "CS-3"


async def test_two_replicas_tell_a_station_once(clock: Clock) -> None:
    """Both find it before either has marked it: the same idempotency key, so one command."""
    bus, shared = MemoryBus(), MemoryApplications()
    await in_use(Desk(shared, clock), STATION, NOW + timedelta(days=5))
    other = MemoryApplications()
    other.all = dict(shared.all)
    terms: Any = {"ahead": timedelta(days=10), "per_minute": 5, "source": "/x", "now": clock}
    for kept in (shared, other):
        assert await Renewing(kept, bus, **terms).look() == 1
    first, second = bus.events("config.requests")
    assert first.id == second.id
    assert first.message == second.message


async def in_use(desk: Desk, name: str, ends: datetime) -> None:
    """A station that logs in with a certificate of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    ((_, request_id, _),) = (await desk.ask(csr=request(key), station_id=name)).events
    leaf = certificate(name, key=key, ends=ends)
    ((_, _, command),) = (
        await desk.answer(request_id, station_id=name, chain=pem(leaf, ABOVE))
    ).events
    answered = command_ended(command.cause, answer="Accepted")
    await desk.follow(msgspec.structs.replace(answered, station_id=name))

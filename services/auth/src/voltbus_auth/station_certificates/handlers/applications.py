"""Stations' signing requests: answered at once, the certificate follows as a command (A02).

Who signs is a ``Signer``: the built-in authority makes the certificate on the spot, one elsewhere
is asked on ``providers.requests`` and answers on ``auth.certificate-requests`` in its own time.
"""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING, Any, Protocol

import msgspec
import structlog
from prometheus_client import Counter

from voltbus_auth.station_certificates.domain.application import (
    MOST_PENDING,
    Application,
    State,
    Wish,
    asked,
    certified,
    refused,
)
from voltbus_auth.station_certificates.domain.chain import MisfitError, Terms, read_chain
from voltbus_auth.station_certificates.domain.requests import (
    STATION,
    NotSignedError,
    application_id,
    fingerprint,
    read_request,
)
from voltbus_backbone.bus.envelope import event as new_event
from voltbus_backbone.bus.envelope import reply
from voltbus_backbone.contract.auth import SignCertificate, SignCertificateAnswer
from voltbus_backbone.contract.certificates import CertificateMade, CertificateWanted
from voltbus_backbone.contract.config import CommandRequested
from voltbus_backbone.contract.registry import (
    CERTIFICATE_MADE,
    COMMAND,
    PROVIDER_SIGN_CERTIFICATE,
    SIGN_CERTIFICATE,
    SIGN_CERTIFICATE_ANSWER,
)
from voltbus_backbone.values.times import to_milliseconds

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime

    from cryptography import x509

    from voltbus_auth.station_certificates.domain.chain import Issued
    from voltbus_auth.station_certificates.domain.requests import SigningRequest
    from voltbus_backbone.bus.envelope import Event, Record

log = structlog.get_logger(__name__)

TYPES = frozenset({SIGN_CERTIFICATE.name, CERTIFICATE_MADE.name})

COUNTED = Counter(
    "voltbus_auth_station_certificates_total",
    "Stations' signing requests and what became of them",
    ["outcome"],
)


class Signer(Protocol):
    """Whoever makes certificates of stations' requests."""

    @property
    def anchors(self) -> Sequence[x509.Certificate]:
        """The authorities to which a chain from elsewhere must lead; none: any will do."""
        ...

    def wish(self, message: SignCertificate, request: SigningRequest) -> Wish:
        """What is wanted of the certificate.

        Raises:
            NotSignedError: such a certificate is not made here.
        """
        ...

    def sign(self, wish: Wish, request: SigningRequest, now: datetime) -> Issued | None:
        """The certificate; None when it comes later, from elsewhere.

        Raises:
            NotSignedError: it cannot be made.
        """
        ...


class Applications(Protocol):
    """Keeps applications."""

    async def load(
        self, ids: Collection[str], pending_of: Collection[str]
    ) -> tuple[dict[str, Application], Tally[str]]:
        """Those with these ids; and how many each of these stations has pending."""
        ...

    async def of_stations(self, station_ids: Collection[str]) -> dict[str, Application]:
        """Everything that is known of these stations, by id."""
        ...

    async def write(
        self, applications: Sequence[Application], loaded: Mapping[str, int]
    ) -> set[str]:
        """Store each unless it was changed since its loaded revision; the ids of those."""
        ...


class StationCertificates:
    """Has requests signed, or rejects them where nobody signs."""

    def __init__(
        self,
        signer: Signer | None,
        kept: Applications,
        *,
        source: str,
        now: Callable[[], datetime],
    ) -> None:
        self._signer = signer
        self._kept = kept
        self._source = source
        self._now = now

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """The answers of a batch, what an authority is asked, and commands with certificates."""
        told: dict[int, list[Record]] = {}
        todo = list(enumerate(events))
        while todo:
            batch = _Batch(self._signer, self._source, to_milliseconds(self._now()))
            ids = {_application_of(event.message) for _, event in todo}
            askers = {
                event.message.station_id
                for _, event in todo
                if isinstance(event.message, SignCertificate)
            }
            batch.known, batch.pending = await self._kept.load(ids, askers)
            loaded = {one.id: one.revision for one in batch.known.values()}
            for place, event in todo:
                told[place] = batch.decide(event)
            lost = await self._kept.write(
                [one for one in batch.known.values() if loaded.get(one.id) != one.revision], loaded
            )
            # Another replica was first with these: what it stored is what counts.
            todo = [(at, event) for at, event in todo if _application_of(event.message) in lost]
        return [record for place in sorted(told) for record in told[place]]


class _Batch:
    """What is known while a batch is decided, in order."""

    def __init__(self, signer: Signer | None, source: str, now: datetime) -> None:
        self.known: dict[str, Application] = {}
        self.pending: Tally[str] = Tally()
        self._signer = signer
        self._source = source
        self._now = now

    def decide(self, event: Event) -> list[Record]:
        """The records of one message; ``known`` is as it is afterwards."""
        if isinstance(event.message, CertificateMade):
            return self._made(event.message)
        message: SignCertificate = event.message
        try:
            follows = self._asked(message, event.id)
            answer = SignCertificateAnswer(accepted=True)
        except NotSignedError as error:
            COUNTED.labels("not_taken").inc()
            log.info("certificate.not_signed", station=message.station_id, reason=str(error))
            follows = []
            answer = SignCertificateAnswer(
                accepted=False, reason_code=error.code, reason=str(error)
            )
        answered = reply(event, SIGN_CERTIFICATE_ANSWER, answer, source=self._source, now=self._now)
        return [*([answered] if answered is not None else []), *follows]

    def _asked(self, message: SignCertificate, record_id: str) -> list[Record]:
        if self._signer is None:
            raise NotSignedError("NotEnabled", "No authority signs stations' requests here.")
        request = read_request(message.csr)
        wish = self._signer.wish(message, request)
        wish = msgspec.structs.replace(wish, asked_by=record_id)
        current = self.known.get(wish.id)
        application = asked(current, wish, self._now)
        if application.state is State.PENDING and application is not current:
            issued = self._signer.sign(wish, request, self._now)
            if issued is not None:
                application = certified(application, issued, self._now)
            else:
                self._make_room(application, current)
            COUNTED.labels("asked").inc()
        self.known[application.id] = application
        if application.state is State.PENDING:
            # Asked again under the same id when the station asks again: the first may be lost.
            return [self._wanted(application, message)]
        return self._command(application)

    def _make_room(self, application: Application, current: Application | None) -> None:
        if current is not None and current.state is State.PENDING:
            return
        if self.pending[application.station_id] >= MOST_PENDING:
            raise NotSignedError("TooManyElements", "Too many requests of this station wait.")
        self.pending[application.station_id] += 1

    def _made(self, message: CertificateMade) -> list[Record]:
        current = self.known.get(_application_of(message))
        if (
            current is None
            or current.request_id != message.request_id
            or current.station_id != message.station_id
        ):
            COUNTED.labels("unknown").inc()
            log.warning("certificate.answer_unknown", station=message.station_id)
            return []
        application = self._judged(current, message)
        self.known[current.id] = application
        return self._command(application)

    def _judged(self, current: Application, message: CertificateMade) -> Application:
        if message.chain is None:
            application = refused(current, message.refusal or "", self._now)
            outcome, reason = "refused", None  # the authority's own words are for operators only
        else:
            terms = Terms(
                current.key_sha256, current.type, current.common_name, current.organization
            )
            anchors = self._signer.anchors if self._signer is not None else ()
            try:
                found = read_chain(message.chain, terms, self._now, anchors)
                application = certified(current, found, self._now)
                outcome, reason = "issued", None
            except MisfitError as error:
                application = refused(current, f"What the authority sent: {error}", self._now)
                outcome, reason = "misfit", str(error)
        if application is not current:
            COUNTED.labels(outcome).inc()
            log.info(
                "certificate.answered", station=current.station_id, outcome=outcome, reason=reason
            )
        return application

    def _wanted(self, application: Application, message: SignCertificate) -> Record:
        return new_event(
            PROVIDER_SIGN_CERTIFICATE,
            CertificateWanted(
                request_id=application.request_id,
                station_id=application.station_id,
                certificate_type=application.type,
                csr=message.csr,
                at=application.asked_at,
                common_name=application.common_name if application.type == STATION else None,
                organization=application.organization if application.type == STATION else None,
                root=message.root,
            ),
            id=application.request_id,
            source=self._source,
            now=self._now,
        )

    def _command(self, application: Application) -> list[Record]:
        """The command that carries the chain: the same for the same delivery, so sent once."""
        if application.state is not State.ISSUED or application.chain is None:
            return []
        payload: dict[str, Any] = {"certificateChain": application.chain}
        if application.ocpp_type is not None:
            payload["certificateType"] = application.ocpp_type
        if application.ocpp_request_id is not None:
            payload["requestId"] = application.ocpp_request_id
        cause = application.cause
        return [
            new_event(
                COMMAND,
                CommandRequested(
                    station_id=application.station_id,
                    action="CertificateSigned",
                    payload=payload,
                    idempotency_key=cause,
                    cause=cause,
                ),
                id=cause,
                source=self._source,
                now=self._now,
            )
        ]


def _application_of(message: SignCertificate | CertificateMade) -> str:
    if isinstance(message, CertificateMade):
        return message.request_id.rpartition("-")[0]
    return application_id(message.station_id, message.certificate_type or STATION, message.csr)


def wish_of(
    message: SignCertificate,
    request: SigningRequest,
    *,
    common_name: str | None,
    organization: str | None,
) -> Wish:
    """The wish for a certificate with these names."""
    return Wish(
        id=_application_of(message),
        station_id=message.station_id,
        protocol=message.protocol,
        type=message.certificate_type or STATION,
        key_sha256=fingerprint(request.key),
        ocpp_request_id=message.request_id,
        ocpp_type=message.certificate_type,
        common_name=common_name,
        organization=organization,
    )

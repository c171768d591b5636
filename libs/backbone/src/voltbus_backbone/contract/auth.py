"""What the auth service is asked (`auth.requests`) and what it answers and tells.

`tokens.events` and `transactions.events` are public: they carry `token_ref`, never a token.
"""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from voltbus_backbone.contract.values import (
    AuthorizationStatus,
    IdToken,
    Message,
    Protocol,
    Sample,
)


class StationLogin(Message, frozen=True):
    """A station knocks: which verifier does its log-in need? (request)

    ``security_profile`` is the listener's: 0 plain without password (development only), 1 Basic,
    2 TLS + Basic, 3 mutual TLS (OCPP Security Whitepaper, A00).
    """

    station_id: str
    security_profile: int = 1
    certificate_cn: str | None = None
    certificate_serial: str | None = None


class PasswordVerifier(Message, frozen=True):
    """How to check a password without knowing it.

    ``algorithm`` is ``sha256`` (salted, for generated passwords of at least 128 random bits) or
    ``scrypt``; ``salt`` and ``digest`` are hex. For scrypt, ``n``, ``r`` and ``p`` are its costs.
    ``id`` names it and tells nothing of the password.
    """

    algorithm: str
    salt: str
    digest: str
    n: int = 0
    r: int = 0
    p: int = 0
    id: str = ""

    def __repr__(self) -> str:
        """Show the algorithm only."""
        return f"PasswordVerifier(algorithm={self.algorithm!r})"


class StationLoginAnswer(Message, frozen=True):
    """What the gateway needs to open or keep shut the door.

    ``known`` false: HTTP 404. ``allowed`` false: HTTP 401 with no further check. Otherwise the
    password must match one of ``verifiers`` (two while a rotation is unanswered), unless the
    listener's profile is 3 or 0. ``hex_password`` marks a station that sends the hex digits of its
    AuthorizationKey verbatim (a quirk of some 1.6 stations).
    """

    known: bool
    allowed: bool = False
    minimum_profile: int = 1
    verifiers: tuple[PasswordVerifier, ...] = ()
    hex_password: bool = False
    serial_number: str | None = None


class OcspHash(Message, frozen=True):
    """OCPP 2.x OCSPRequestDataType: a certificate by its issuer and number (RFC 6960 CertID).

    ``further_urls`` are responders to try after ``responder_url`` (2.1 names up to five).
    """

    hash_algorithm: str
    issuer_name_hash: str
    issuer_key_hash: str
    serial_number: str
    responder_url: str = ""
    further_urls: tuple[str, ...] = ()


class Authorize(Message, frozen=True):
    """May this token charge here, now? (request)"""

    station_id: str
    protocol: Protocol
    id_token: IdToken
    at: datetime
    evse_id: int | None = None
    connector_id: int | None = None
    certificate: str | None = None
    certificate_hashes: tuple[OcspHash, ...] = ()


class Decision(Message, frozen=True):
    """Who may charge: OCPP 2.x IdTokenInfoType in our names.

    ``group`` is the parent token (1.6 parentIdTag, 2.x groupIdToken). An empty ``evse_ids`` means
    every EVSE. ``certificate_status`` is AuthorizeCertificateStatusEnumType (2.x, C07).
    """

    status: AuthorizationStatus
    cache_expiry: datetime | None = None
    group: IdToken | None = None
    evse_ids: tuple[int, ...] = ()
    charging_priority: int | None = None
    language: str | None = None
    personal_message: str | None = None
    certificate_status: str | None = None
    max_cost: float | None = None


class AuthorizeAnswer(Message, frozen=True):
    """The answer to Authorize."""

    decision: Decision


class GetCertificateStatus(Message, frozen=True):
    """What do the OCSP responders say of these certificates? (request; 2.x M06)"""

    station_id: str
    protocol: Protocol
    certificates: tuple[OcspHash, ...]


class Revocation(StrEnum):
    """What a responder says of a certificate; ``failed`` when none could be asked or believed."""

    GOOD = "good"
    REVOKED = "revoked"
    UNKNOWN = "unknown"
    FAILED = "failed"


class CertificateStatus(Message, frozen=True):
    """``ocsp_response``: the responder's own answer (RFC 6960), DER in base64."""

    status: Revocation
    ocsp_response: str | None = None
    next_update: datetime | None = None


class GetCertificateStatusAnswer(Message, frozen=True):
    """One status for each certificate, in the order in which they were asked for."""

    certificates: tuple[CertificateStatus, ...]


class GetEvCertificate(Message, frozen=True):
    """A car wants its contract certificate installed or updated. (request; 2.x M01, M02)

    Answered by a provider of contract certificates, another system. ``exi_request`` is the car's
    message, base64 as it came; it holds identifiers of the car and its contract.
    """

    station_id: str
    protocol: Protocol
    schema_version: str
    action: str
    exi_request: str
    max_chains: int | None = None
    prioritized_emaids: tuple[str, ...] = ()

    def __repr__(self) -> str:
        """Show nothing of the car."""
        return f"GetEvCertificate(station_id={self.station_id!r}, action={self.action!r})"


class GetEvCertificateAnswer(Message, frozen=True):
    """``status`` is Accepted or Failed; ``exi_response`` goes to the car as it is (base64)."""

    status: str
    exi_response: str = ""
    remaining_contracts: int | None = None


class SignCertificate(Message, frozen=True):
    """A station wants its signing request signed. (request, 1.6 security extension and 2.x A02)

    ``csr`` is PEM as it came. The certificate comes later, by a command CertificateSigned that
    repeats ``certificate_type`` and ``request_id`` (2.1). ``root``: under which root it is wanted
    (2.1).
    """

    station_id: str
    protocol: Protocol
    csr: str
    certificate_type: str | None = None
    request_id: int | None = None
    root: OcspHash | None = None


class SignCertificateAnswer(Message, frozen=True):
    """Whether the request is taken up; not yet a certificate (A02.FR.04).

    Where it is not: ``reason_code`` of OCPP 2.x StatusInfoType, and ``reason``, one sentence.
    """

    accepted: bool
    reason_code: str | None = None
    reason: str | None = None


class FindToken(Message, frozen=True):
    """Which registered token has this value? (request)

    Without a type the likeliest of those that have it is meant, as for an idTag of 1.6.
    """

    station_id: str
    id_token: IdToken


class TokenFound(Message, frozen=True):
    """The token's reference and its registered ``type``; None: nobody registered such a token."""

    token_ref: str
    type: str | None = None


class Phase(StrEnum):
    """Where in its life a transaction message stands."""

    STARTED = "started"
    UPDATED = "updated"
    ENDED = "ended"


class TransactionMessage(Message, frozen=True):
    """What a station says of a transaction, the same for every OCPP version. (request, a fact)

    1.6 StartTransaction: no ``transaction_id``; ``meter_wh`` is meterStart. 1.6 StopTransaction:
    ``transaction_id`` is the integer we gave, as text; ``meter_wh`` is meterStop. 1.6 MeterValues
    with a transaction id are ``updated``. 2.x TransactionEvent: ``seq_no`` is set.
    ``details`` keeps, under OCPP's own names, what only one version says. ``repairs``: what was
    mended in the message, as short sentences without values.
    """

    station_id: str
    protocol: Protocol
    phase: Phase
    at: datetime
    transaction_id: str | None = None
    evse_id: int | None = None
    connector_id: int | None = None
    id_token: IdToken | None = None
    meter_wh: int | None = None
    seq_no: int | None = None
    trigger: str | None = None
    offline: bool = False
    charging_state: str | None = None
    stopped_reason: str | None = None
    reservation_id: int | None = None
    remote_start_id: int | None = None
    samples: tuple[Sample, ...] = ()
    details: dict[str, Any] = {}
    repairs: tuple[str, ...] = ()


class TransactionAnswer(Message, frozen=True):
    """``transaction_id`` is set for a 1.6 start; ``decision`` whenever a token was presented."""

    transaction_id: int | None = None
    decision: Decision | None = None
    total_cost: float | None = None


class TokenChanged(Message, frozen=True):
    """A token as others may know it (`tokens.events`): created, updated, deleted or erased."""

    token_ref: str
    type: str
    status: str
    revision: int
    at: datetime
    group_ref: str | None = None
    expires_at: datetime | None = None


class TransactionChanged(Message, frozen=True):
    """A transaction as recorded (`transactions.events`): started, updated, ended or corrected.

    ``transaction_ref`` is ours and unique for ever; ``transaction_id`` is the one on the wire,
    which stations may reuse. Energy is in Wh, counted from the register; ``energy_source`` says
    how: ``register`` (start and stop readings), ``samples`` (the last sampled register) or
    ``unknown``. ``doubts`` names every plausibility check that failed, for whoever bills.
    ``revision`` grows with each change of this transaction. ``authorization_reference`` is what
    an external authorizer called its own decision, for whoever settles with it (OCPI).
    ``details`` are the latest of what only OCPP 2.x says, under its own names. ``repairs`` says
    what of the station's messages was read otherwise than it came. ``closed_by`` is set where no
    end was ever told: ``policy`` or ``operator`` closed it then. Each doubt is explained in
    docs/transactions.md.
    """

    transaction_ref: str
    station_id: str
    protocol: Protocol
    transaction_id: str
    revision: int
    state: str
    at: datetime
    evse_id: int | None = None
    connector_id: int | None = None
    token_ref: str | None = None
    agreement_id: str | None = None
    authorization: AuthorizationStatus | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    meter_start_wh: int | None = None
    meter_stop_wh: int | None = None
    energy_wh: int | None = None
    energy_source: str = "unknown"
    stopped_reason: str | None = None
    charging_state: str | None = None
    reservation_id: int | None = None
    remote_start_id: int | None = None
    offline: bool = False
    samples: tuple[Sample, ...] = ()
    missing_seq_nos: tuple[int, ...] = ()
    doubts: tuple[str, ...] = ()
    authorization_reference: str | None = None
    details: dict[str, Any] = {}
    repairs: tuple[str, ...] = ()
    closed_by: str | None = None

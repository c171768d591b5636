"""Which message travels under which CloudEvents type, on which topic, under which key.

This table is the contract's index: schemas, docs, validation and the bus all read it.
A type's version grows only when a message changes incompatibly; then both are written for a while.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any, Generic, TypeVar

import msgspec

from voltbus_backbone.contract import (
    agreements,
    auth,
    certificates,
    config,
    gateway,
    providers,
    pushed,
    stations,
)
from voltbus_backbone.contract.values import Message

M = TypeVar("M", bound=Message)


class Topic(StrEnum):
    """Every topic, without the operator's prefix."""

    AUTH_REQUESTS = "auth.requests"
    AUTH_CERTIFICATE_REQUESTS = "auth.certificate-requests"
    AUTH_EXTERNAL_REQUESTS = "auth.external-requests"
    AUTH_TOKEN_REQUESTS = "auth.token-requests"  # noqa: S105 - a topic
    CONFIG_REQUESTS = "config.requests"
    AGREEMENTS_REQUESTS = "agreements.requests"
    PROVIDERS_REQUESTS = "providers.requests"
    GATEWAY_INBOX = "gateway.inbox"
    AUTH_INBOX = "auth.inbox"
    CONFIG_INBOX = "config.inbox"
    AGREEMENTS_INBOX = "agreements.inbox"
    STATIONS_EVENTS = "stations.events"
    STATIONS_STATE = "stations.state"
    TRANSACTIONS_EVENTS = "transactions.events"
    TOKENS_EVENTS = "tokens.events"
    COMMANDS_EVENTS = "commands.events"
    AGREEMENTS_EVENTS = "agreements.events"
    GATEWAY_DEAD_LETTER = "gateway.dead-letter"
    AUTH_DEAD_LETTER = "auth.dead-letter"
    CONFIG_DEAD_LETTER = "config.dead-letter"
    AGREEMENTS_DEAD_LETTER = "agreements.dead-letter"


class Fault(Message, frozen=True):
    """The answer when a request could not be decided: the asker must not read it as a refusal."""

    code: str
    detail: str


@dataclass(frozen=True)
class MessageType(Generic[M]):
    """One row of the contract.

    ``fact`` rows are executed even past their deadline: what a station reported has happened.
    ``answer`` names the row of the reply. ``key`` is the field that keys the record.
    """

    name: str
    body: type[M]
    topic: Topic | None
    key: str = "station_id"
    fact: bool = False
    answer: str | None = None

    @cached_property
    def schema_id(self) -> str:
        """The ``ce_dataschema`` of its records."""
        return f"urn:voltbus:schema:{self.name}"

    @cached_property
    def fixed_headers(self) -> tuple[tuple[str, bytes], ...]:
        """The CloudEvents headers that are the same in all its records, made once."""
        return (
            ("ce_specversion", b"1.0"),
            ("content-type", b"application/json"),
            ("ce_type", self.name.encode()),
            ("ce_dataschema", self.schema_id.encode()),
        )

    @cached_property
    def decoder(self) -> msgspec.json.Decoder[M]:
        """Compiled once; raises msgspec.ValidationError with the path of what is wrong."""
        return msgspec.json.Decoder(self.body)

    def key_of(self, message: Message) -> bytes:
        """The record key, as bytes."""
        return str(getattr(message, self.key)).encode()


TYPES: dict[str, MessageType[Any]] = {}


def _row(
    name: str,
    body: type[M],
    topic: Topic | None,
    *,
    key: str = "station_id",
    fact: bool = False,
    answer: str | None = None,
) -> MessageType[M]:
    row = MessageType(name, body, topic, key, fact, answer)
    TYPES[name] = row
    return row


FAULT = _row("voltbus.fault.v1", Fault, None)

# What auth is asked.
_Q = Topic.AUTH_REQUESTS
STATION_LOGIN_ANSWER = _row("voltbus.auth.station-login.answered.v1", auth.StationLoginAnswer, None)
STATION_LOGIN = _row(
    "voltbus.auth.station-login.v1", auth.StationLogin, _Q, answer=STATION_LOGIN_ANSWER.name
)
AUTHORIZE_ANSWER = _row("voltbus.auth.authorize.answered.v1", auth.AuthorizeAnswer, None)
AUTHORIZE = _row("voltbus.auth.authorize.v1", auth.Authorize, _Q, answer=AUTHORIZE_ANSWER.name)
TOKEN_FOUND = _row("voltbus.auth.find-token.answered.v1", auth.TokenFound, None)
FIND_TOKEN = _row("voltbus.auth.find-token.v1", auth.FindToken, _Q, answer=TOKEN_FOUND.name)
TRANSACTION_ANSWER = _row("voltbus.auth.transaction.answered.v1", auth.TransactionAnswer, None)
TRANSACTION = _row(
    "voltbus.auth.transaction.v1",
    auth.TransactionMessage,
    _Q,
    fact=True,
    answer=TRANSACTION_ANSWER.name,
)

# Certificates: what waits for servers elsewhere waits on a topic of its own.
_Y = Topic.AUTH_CERTIFICATE_REQUESTS
CONTRACT_AUTHORIZE = _row(
    "voltbus.auth.contract-authorize.v1", auth.Authorize, _Y, answer=AUTHORIZE_ANSWER.name
)
CERTIFICATE_STATUS_ANSWER = _row(
    "voltbus.auth.certificate-status.answered.v1", auth.GetCertificateStatusAnswer, None
)
CERTIFICATE_STATUS = _row(
    "voltbus.auth.certificate-status.v1",
    auth.GetCertificateStatus,
    _Y,
    answer=CERTIFICATE_STATUS_ANSWER.name,
)
SIGN_CERTIFICATE_ANSWER = _row(
    "voltbus.auth.sign-certificate.answered.v1", auth.SignCertificateAnswer, None
)
SIGN_CERTIFICATE = _row(
    "voltbus.auth.sign-certificate.v1",
    auth.SignCertificate,
    _Y,
    answer=SIGN_CERTIFICATE_ANSWER.name,
)
PROVIDER_SIGN_CERTIFICATE = _row(
    "voltbus.provider.sign-certificate.v1",
    certificates.CertificateWanted,
    Topic.PROVIDERS_REQUESTS,
)
CERTIFICATE_MADE = _row(
    "voltbus.auth.certificate-signed.v1", certificates.CertificateMade, _Y, fact=True
)
EV_CERTIFICATE_ANSWER = _row(
    "voltbus.auth.ev-certificate.answered.v1", auth.GetEvCertificateAnswer, None
)
EV_CERTIFICATE = _row(
    "voltbus.auth.ev-certificate.v1",
    auth.GetEvCertificate,
    _Q,
    answer=EV_CERTIFICATE_ANSWER.name,
)
PROVIDER_EV_CERTIFICATE = _row(
    "voltbus.provider.ev-certificate.v1",
    auth.GetEvCertificate,
    Topic.PROVIDERS_REQUESTS,
    answer=EV_CERTIFICATE_ANSWER.name,
)

# What waits for other systems, on a topic of its own as well.
_E = Topic.AUTH_EXTERNAL_REQUESTS
EXTERNAL_AUTHORIZE = _row(
    "voltbus.auth.external-authorize.v1", auth.Authorize, _E, answer=AUTHORIZE_ANSWER.name
)
EXTERNAL_TRANSACTION = _row(
    "voltbus.auth.external-transaction.v1",
    auth.TransactionMessage,
    _E,
    fact=True,
    answer=TRANSACTION_ANSWER.name,
)
EXTERNAL_EV_CERTIFICATE = _row(
    "voltbus.auth.external-ev-certificate.v1",
    auth.GetEvCertificate,
    _E,
    answer=EV_CERTIFICATE_ANSWER.name,
)
PROVIDER_AUTHORIZE_ANSWER = _row(
    "voltbus.provider.authorize.answered.v1", providers.ProviderAuthorizeAnswer, None
)
PROVIDER_AUTHORIZE = _row(
    "voltbus.provider.authorize.v1",
    providers.ProviderAuthorize,
    Topic.PROVIDERS_REQUESTS,
    answer=PROVIDER_AUTHORIZE_ANSWER.name,
)

# Tokens that other systems push. They count whenever they arrive.
_P = Topic.AUTH_TOKEN_REQUESTS
PUT_TOKEN_ANSWER = _row("voltbus.auth.put-token.answered.v1", pushed.PutTokenAnswer, None)
PUT_TOKEN = _row(
    "voltbus.auth.put-token.v1",
    pushed.PutToken,
    _P,
    key="provider_id",
    fact=True,
    answer=PUT_TOKEN_ANSWER.name,
)
REMOVE_TOKEN_ANSWER = _row("voltbus.auth.remove-token.answered.v1", pushed.RemoveTokenAnswer, None)
REMOVE_TOKEN = _row(
    "voltbus.auth.remove-token.v1",
    pushed.RemoveToken,
    _P,
    key="provider_id",
    fact=True,
    answer=REMOVE_TOKEN_ANSWER.name,
)

# What auth tells.
_T = Topic.TOKENS_EVENTS
TOKEN_CREATED = _row("voltbus.token.created.v1", auth.TokenChanged, _T, key="token_ref")
TOKEN_UPDATED = _row("voltbus.token.updated.v1", auth.TokenChanged, _T, key="token_ref")
TOKEN_DELETED = _row("voltbus.token.deleted.v1", auth.TokenChanged, _T, key="token_ref")
TOKEN_ERASED = _row("voltbus.token.erased.v1", auth.TokenChanged, _T, key="token_ref")
_X = Topic.TRANSACTIONS_EVENTS
TRANSACTION_STARTED = _row("voltbus.transaction.started.v1", auth.TransactionChanged, _X)
TRANSACTION_UPDATED = _row("voltbus.transaction.updated.v1", auth.TransactionChanged, _X)
TRANSACTION_ENDED = _row("voltbus.transaction.ended.v1", auth.TransactionChanged, _X)
TRANSACTION_CORRECTED = _row("voltbus.transaction.corrected.v1", auth.TransactionChanged, _X)

# What config is asked.
_C = Topic.CONFIG_REQUESTS
BOOT_ANSWER = _row("voltbus.config.boot.answered.v1", config.BootAnswer, None)
BOOT = _row("voltbus.config.boot.v1", config.Boot, _C, fact=True, answer=BOOT_ANSWER.name)
REGISTRATION = _row(
    "voltbus.config.registration.v1", config.Registration, _C, answer=BOOT_ANSWER.name
)
COMMAND_ACCEPTED = _row("voltbus.config.command.answered.v1", config.CommandAccepted, None)
COMMAND = _row(
    "voltbus.config.command.v1", config.CommandRequested, _C, answer=COMMAND_ACCEPTED.name
)
CALL_ENDED = _row("voltbus.config.call-ended.v1", config.CallEnded, _C, fact=True)

# What config tells.
COMMAND_CHANGED = _row("voltbus.command.changed.v1", config.CommandChanged, Topic.COMMANDS_EVENTS)
RESERVATION_CHANGED = _row(
    "voltbus.reservation.changed.v1", config.ReservationChanged, Topic.COMMANDS_EVENTS
)
_S = Topic.STATIONS_EVENTS
STATION_BOOTED = _row("voltbus.station.booted.v1", stations.StationBooted, _S)
STATION_REGISTERED = _row("voltbus.station.registered.v1", stations.StationRegistered, _S)
SETTING_CHANGED = _row("voltbus.station.setting-changed.v1", stations.SettingChanged, _S)
STATION_STATE = _row("voltbus.station.state.v1", stations.StationState, Topic.STATIONS_STATE)

# What a gateway tells.
STATION_CONNECTED = _row("voltbus.station.connected.v1", stations.StationConnected, _S)
STATION_DISCONNECTED = _row("voltbus.station.disconnected.v1", stations.StationDisconnected, _S)
STATION_REFUSED = _row("voltbus.station.refused.v1", stations.StationRefused, _S)
DUPLICATE_IDENTITY = _row("voltbus.station.duplicate-identity.v1", stations.DuplicateIdentity, _S)
GATEWAY_BEAT = _row("voltbus.gateway.beat.v1", stations.GatewayBeat, _S, key="gateway_id")
STATION_SEEN = _row("voltbus.station.seen.v1", stations.StationSeen, _S)
STATUS_REPORTED = _row("voltbus.station.status.v1", stations.StatusReported, _S)
METER_VALUES = _row("voltbus.station.meter-values.v1", stations.MeterValuesReported, _S)
FIRMWARE_STATUS = _row("voltbus.station.firmware-status.v1", stations.FirmwareStatusReported, _S)
LOG_STATUS = _row("voltbus.station.log-status.v1", stations.LogStatusReported, _S)
SECURITY_EVENT = _row("voltbus.station.security-event.v1", stations.SecurityEventReported, _S)
STATION_REPAIRED = _row("voltbus.station.repaired.v1", stations.StationRepaired, _S)
STATION_REPORTED = _row("voltbus.station.reported.v1", stations.StationReported, _S)

# What a gateway is told, on its partition of gateway.inbox, with no key.
_G = Topic.GATEWAY_INBOX
SEND_CALL = _row("voltbus.gateway.send-call.v1", gateway.SendCall, _G, fact=True)
CLOSE_CONNECTION = _row(
    "voltbus.gateway.close-connection.v1", gateway.CloseConnection, _G, fact=True
)
REGISTRATION_CHANGED = _row(
    "voltbus.gateway.registration-changed.v1", gateway.RegistrationChanged, _G, fact=True
)

# Agreements.
RETRIEVE_AGREEMENT_ANSWER = _row(
    "voltbus.agreements.retrieve.answered.v1", agreements.RetrieveAgreementAnswer, None
)
RETRIEVE_AGREEMENT = _row(
    "voltbus.agreements.retrieve.v1",
    agreements.RetrieveAgreement,
    Topic.AGREEMENTS_REQUESTS,
    key="id",
    answer=RETRIEVE_AGREEMENT_ANSWER.name,
)
_A = Topic.AGREEMENTS_EVENTS


def _agreement(event: str) -> MessageType[agreements.AgreementSnapshot]:
    return _row(f"voltbus.agreement.{event}.v1", agreements.AgreementSnapshot, _A, key="id")


AGREEMENT_CREATED = _agreement("created")
AGREEMENT_UPDATED = _agreement("updated")
AGREEMENT_ACTIVATED = _agreement("activated")
AGREEMENT_SUSPENDED = _agreement("suspended")
AGREEMENT_RESUMED = _agreement("resumed")
AGREEMENT_EXPIRED = _agreement("expired")
AGREEMENT_TERMINATED = _agreement("terminated")
AGREEMENT_DELETED = _agreement("deleted")  # followed by a tombstone: a record without data

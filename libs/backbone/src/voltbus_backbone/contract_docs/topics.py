"""What the documents say of each topic beside its messages."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from voltbus_backbone.bus.topics import DAY_MS, HOUR_MS, PLANS
from voltbus_backbone.contract.registry import (
    SETTING_CHANGED,
    STATION_BOOTED,
    STATION_REGISTERED,
    MessageType,
    Topic,
)


@dataclass(frozen=True)
class Note:
    """Who writes and who reads a topic, and what it is for."""

    written_by: str
    read_by: str
    about: str
    key: str = "station id"


_ASKED = "the gateway, other services, other systems"
_ANSWERS = "Replies to {0}, on the partition that it named when it asked."
_ASIDE = (
    "Records that {0} could not process, with their own headers and these: `dead-letter-reason`, "
    "`-topic`, `-partition`, `-offset`, `-time` and `-body`. Of a request or reply the body is "
    "`withheld`, since it may hold a readable identifier: the place tells where it still is."
)


def _requests(service: str, about: str, key: str = "station id") -> Note:
    return Note(_ASKED, service, about, key)


def _inbox(service: str) -> Note:
    return Note("whoever was asked", service, _ANSWERS.format(service), "none: by partition")


def _aside(service: str) -> Note:
    return Note(service, "whoever looks after them", _ASIDE.format(service), "as the original")


NOTES: dict[Topic, Note] = {
    Topic.AUTH_REQUESTS: _requests(
        "auth", "Log-ins, authorizations and what stations say of transactions."
    ),
    Topic.AUTH_CERTIFICATE_REQUESTS: Note(
        "the gateway, auth, an authority for stations' certificates: another system",
        "auth",
        "What must ask servers elsewhere about certificates, apart from what must be quick. An "
        "Authorize with a contract certificate comes here from `auth.requests`, by way of auth. "
        "Stations' requests for certificates of their own come here too, and what an authority "
        "elsewhere makes of them.",
    ),
    Topic.AUTH_EXTERNAL_REQUESTS: Note(
        "auth",
        "auth",
        "What must ask another system, apart from what must be quick: tokens that nobody has "
        "registered here, and cars' wishes for certificates. It comes here from `auth.requests`.",
    ),
    Topic.AUTH_TOKEN_REQUESTS: Note(
        "other systems",
        "auth",
        "Tokens to register, change or remove, as over REST. The key is the provider's id, never a "
        "token.",
        "provider id",
    ),
    Topic.CONFIG_REQUESTS: _requests(
        "config", "Boots, registrations, commands to stations and what became of calls."
    ),
    Topic.AGREEMENTS_REQUESTS: _requests(
        "agreements", "Questions about an agreement.", "agreement id"
    ),
    Topic.PROVIDERS_REQUESTS: Note(
        "auth",
        "other systems: an external authorizer, a provider of contract certificates, an authority "
        "for stations' ones",
        "What only another system can answer. An external authorizer and a provider of contract "
        "certificates answer the asker directly; what becomes of a question that nobody answers "
        "in time is a setting of auth. An authority that signs stations' certificates answers in "
        "its own time, on `auth.certificate-requests`.",
    ),
    Topic.GATEWAY_INBOX: Note(
        "the services",
        "the gateway whose partition it is",
        "Replies to a gateway, and calls it is told to make. A gateway reads one partition; the "
        "`ce_subject` of a call names the gateway that it is for.",
        "none: by partition",
    ),
    Topic.AUTH_INBOX: _inbox("auth"),
    Topic.CONFIG_INBOX: _inbox("config"),
    Topic.AGREEMENTS_INBOX: _inbox("agreements"),
    Topic.STATIONS_EVENTS: Note(
        "gateway, config",
        "config, anyone",
        "What stations told and what was decided about them, in order per station.",
    ),
    Topic.STATIONS_STATE: Note(
        "config",
        "auth, agreements, anyone",
        "The latest snapshot of each station; a record without data says that it is gone.",
    ),
    Topic.TRANSACTIONS_EVENTS: Note(
        "auth", "agreements, anyone", "Charging transactions as recorded, in order per station."
    ),
    Topic.TOKENS_EVENTS: Note(
        "auth", "anyone", "Changes of tokens, known by reference only.", "token reference"
    ),
    Topic.COMMANDS_EVENTS: Note("config", "anyone", "The life of each command to a station."),
    Topic.AGREEMENTS_EVENTS: Note(
        "agreements",
        "auth, config, anyone",
        "The whole agreement after each change; a record without data says that it is gone.",
        "agreement id",
    ),
    Topic.GATEWAY_DEAD_LETTER: _aside("the gateway"),
    Topic.AUTH_DEAD_LETTER: _aside("auth"),
    Topic.CONFIG_DEAD_LETTER: _aside("config"),
    Topic.AGREEMENTS_DEAD_LETTER: _aside("agreements"),
}

# `stations.events` has two writers; what config decides is config's.
_OF_CONFIG = frozenset(row.name for row in (SETTING_CHANGED, STATION_BOOTED, STATION_REGISTERED))


def writer_of(row: MessageType[Any]) -> str:
    """Who writes records of this type."""
    if row.topic is None:
        return "whoever was asked"
    if row.topic is Topic.STATIONS_EVENTS:
        return "config" if row.name in _OF_CONFIG else "gateway"
    return NOTES[row.topic].written_by


def topic_config(topic: Topic) -> dict[str, str]:
    """The topic's settings on Kafka."""
    return next(plan.config for plan in PLANS if plan.topic is topic)


def kept(topic: Topic) -> str:
    """How long records stay, in words."""
    config = topic_config(topic)
    if config["cleanup.policy"] == "compact":
        return "the latest of each key, for ever"
    milliseconds = int(config["retention.ms"])
    days, hours = divmod(milliseconds, DAY_MS)
    if days:
        return f"{days} days" if days > 1 else "1 day"
    return f"{hours // HOUR_MS} h"

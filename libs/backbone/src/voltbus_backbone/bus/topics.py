"""The topics as they are created: partitions and retention, by the role of each."""

from __future__ import annotations

from dataclasses import dataclass

from voltbus_backbone.bounds import TOPIC_MESSAGE_BYTES
from voltbus_backbone.contract.registry import Topic

HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


@dataclass(frozen=True)
class TopicPlan:
    """How a topic is created. ``partitions`` None: the deployment's number."""

    topic: Topic
    config: dict[str, str]
    partitions: int | None = None


_EVERY = {"max.message.bytes": str(TOPIC_MESSAGE_BYTES)}


def _kept(topic: Topic, retention_ms: int) -> TopicPlan:
    kept = {"cleanup.policy": "delete", "retention.ms": str(retention_ms)}
    return TopicPlan(topic, _EVERY | kept)


def _compacted(topic: Topic) -> TopicPlan:
    return TopicPlan(
        topic,
        _EVERY
        | {
            "cleanup.policy": "compact",
            "min.cleanable.dirty.ratio": "0.1",
            "segment.ms": str(DAY_MS),
        },
    )


PLANS: tuple[TopicPlan, ...] = (
    *(
        _kept(topic, HOUR_MS)
        for topic in (
            Topic.AUTH_REQUESTS,
            Topic.AUTH_CERTIFICATE_REQUESTS,
            Topic.AUTH_EXTERNAL_REQUESTS,
            Topic.AUTH_TOKEN_REQUESTS,
            Topic.CONFIG_REQUESTS,
            Topic.AGREEMENTS_REQUESTS,
            Topic.PROVIDERS_REQUESTS,
            Topic.GATEWAY_INBOX,
            Topic.AUTH_INBOX,
            Topic.CONFIG_INBOX,
            Topic.AGREEMENTS_INBOX,
        )
    ),
    *(
        _kept(topic, 7 * DAY_MS)
        for topic in (
            Topic.STATIONS_EVENTS,
            Topic.TRANSACTIONS_EVENTS,
            Topic.TOKENS_EVENTS,
            Topic.COMMANDS_EVENTS,
        )
    ),
    _compacted(Topic.AGREEMENTS_EVENTS),
    _compacted(Topic.STATIONS_STATE),
    *(
        _kept(topic, 30 * DAY_MS)
        for topic in (
            Topic.GATEWAY_DEAD_LETTER,
            Topic.AUTH_DEAD_LETTER,
            Topic.CONFIG_DEAD_LETTER,
            Topic.AGREEMENTS_DEAD_LETTER,
        )
    ),
)

# Enough for a laptop; an operator chooses once, since partitions are not added without a migration.
DEFAULT_PARTITIONS = 6

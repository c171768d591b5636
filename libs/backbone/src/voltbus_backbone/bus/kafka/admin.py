"""Creating the topics."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.errors import KafkaError, TopicAlreadyExistsError, for_code

from voltbus_backbone.bus import topics
from voltbus_backbone.bus.kafka.client import client_options
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from voltbus_backbone.settings import KafkaSettings


async def ensure_topics(
    settings: KafkaSettings,
    prefix: str = "voltbus.",
    *,
    partitions: int | None = None,
    replication: int = 1,
) -> list[str]:
    """Create the topics that are missing; returns their names. Existing ones stay as they are.

    Raises:
        Unavailable: no broker answers, or it refuses.
    """
    options = client_options(settings)
    admin = AIOKafkaAdminClient(**options)
    try:
        await admin.start()
        existing = set(await admin.list_topics())
        wanted = [
            NewTopic(
                name=prefix + plan.topic,
                num_partitions=plan.partitions or partitions or topics.DEFAULT_PARTITIONS,
                replication_factor=replication,
                topic_configs=plan.config,
            )
            for plan in topics.PLANS
            if prefix + plan.topic not in existing
        ]
        if wanted:
            answer = await admin.create_topics(wanted)
            for name, code, *_ in answer.topic_errors:
                if code and for_code(code) is not TopicAlreadyExistsError:
                    raise Unavailable(f"Kafka refused to create {name}: {for_code(code).__name__}")
    except KafkaError as error:
        raise Unavailable(
            f"Kafka does not answer at {settings.bootstrap}: {type(error).__name__}"
        ) from error
    else:
        return [topic.name for topic in wanted]
    finally:
        await admin.close()

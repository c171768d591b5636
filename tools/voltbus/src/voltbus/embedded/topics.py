"""The topics of a broker, made by the backbone, which knows them."""

from __future__ import annotations

from voltbus.errors import CommandError
from voltbus_backbone.errors import Unavailable


async def make_topics(
    bootstrap: str,
    prefix: str,
    partitions: int | None,
    *,
    replication: int = 1,
    ours: bool = False,
) -> list[str]:
    """Create the topics that are missing, and return their names.

    `ours` says that the broker is the embedded one, which wants no password whatever the
    environment holds. Raises CommandError when the broker cannot be reached or refuses, and
    SettingsError when the environment's Kafka settings are malformed.
    """
    # Imported here because they bring the Kafka client, which a stack without topics does not need.
    from voltbus_backbone.bus.kafka import ensure_topics  # noqa: PLC0415 - see above
    from voltbus_backbone.settings import KafkaSettings, load  # noqa: PLC0415 - see above

    given = {"security_protocol": "PLAINTEXT"} if ours else {}
    settings = load(KafkaSettings, bootstrap=bootstrap, **given)
    try:
        return await ensure_topics(settings, prefix, partitions=partitions, replication=replication)
    except Unavailable as error:
        raise CommandError(f"The topics could not be made: {error}.") from None

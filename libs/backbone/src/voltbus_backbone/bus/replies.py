"""Where replies may go. A request names its reply address itself, and may come from outside.

A service may write to more than whoever asks it may: it must not be made to write to a topic of
its asker's choice, nor wait for one that does not exist (docs/adr/0017-supervised-readers.md).
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import structlog

from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import SettingsError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from voltbus_backbone.bus.envelope import Asking

log = structlog.get_logger(__name__)

_LOOK_AGAIN_S = 10.0
_LEGAL = re.compile(r"[A-Za-z0-9._-]{1,249}")  # Kafka's topic names


def reply_topics(prefix: str, configured: str | None) -> frozenset[str]:
    """The full names of the topics that replies may go to: our inboxes, and configured ones.

    Raises:
        SettingsError: a configured one is no name, without our prefix, or a topic of our own.
    """
    own = {prefix + topic for topic in Topic}
    inboxes = {prefix + topic for topic in Topic if topic.endswith(".inbox")}
    more = {name.strip() for name in (configured or "").split(",") if name.strip()}
    for name in more - inboxes:
        if name in own or not name.startswith(prefix) or not _LEGAL.fullmatch(name):
            raise SettingsError(
                "VOLTBUS_REPLY_TOPICS: full names of topics that begin with "
                f"VOLTBUS_TOPIC_PREFIX ({prefix}) and are none of Voltbus's own"
            )
    return frozenset(inboxes | more)


class ReplyAddresses:
    """Judges reply addresses by the topics' real partitions.

    ``counts`` tells the partitions of every topic that is there. It is asked at the beginning, and
    again when a partition is named that was not there, every ten seconds at most.
    """

    def __init__(
        self,
        allowed: Collection[str],
        counts: Callable[[], Awaitable[Mapping[str, int]]],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = frozenset(allowed)
        self._counts = counts
        self._clock = clock
        self._known: dict[str, int] = {}
        self._look_at = float("-inf")

    async def learn(self) -> None:
        """Ask how many partitions there are.

        Raises:
            Unavailable: no broker answers.
        """
        self._look_at = self._clock() + _LOOK_AGAIN_S
        found = await self._counts()
        self._known = {topic: found[topic] for topic in self._allowed if topic in found}

    def good(self, asking: Asking) -> bool:
        """Whether a reply can be delivered there, by what is known now."""
        return 0 <= asking.reply_partition < self._known.get(asking.reply_topic, 0)

    async def refusal(self, asking: Asking) -> str | None:
        """Why no reply can be delivered there; None when one can."""
        if asking.reply_topic not in self._allowed:
            return "its reply-topic is none that replies may go to"
        if asking.reply_partition >= 0 and not self.good(asking) and self._clock() >= self._look_at:
            try:
                await self.learn()
            except Unavailable as error:
                log.warning("reply_addresses.not_learnt", reason=str(error))
        return None if self.good(asking) else "its reply-partition does not exist"

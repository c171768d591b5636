"""The parts of local lists, put together."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_auth.local_lists.domain.answers import Retry
from voltbus_auth.local_lists.handlers.events import ListEvents
from voltbus_auth.local_lists.handlers.keeping import Keeping
from voltbus_auth.local_lists.handlers.marking import Marking

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_auth.decisions.domain.verdict import Policy
    from voltbus_auth.local_lists.store.list_stores import ListStores
    from voltbus_backbone.bus.ports import Publishing


class LocalLists:
    """``settle_s`` and ``retry_s`` as in the settings; ``chance`` gives numbers in [0, 1)."""

    def __init__(
        self,
        store: ListStores,
        policy: Policy,
        publisher: Publishing,
        *,
        source: str,
        now: Callable[[], datetime],
        settle_s: float,
        retry_s: float,
        chance: Callable[[], float] = random.random,
    ) -> None:
        settle, retry = timedelta(seconds=settle_s), timedelta(seconds=retry_s)
        self.keeping = Keeping(store, policy, publisher, source=source, now=now)
        self.marking = Marking(store, now=now, settle=settle, wake=self.keeping.wake)
        self.events = ListEvents(
            store,
            self.marking,
            now=now,
            settle=settle,
            retry=lambda: Retry(retry, chance()),
            wake=self.keeping.wake,
        )

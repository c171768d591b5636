"""The agreements service as a process."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from voltbus_agreements import api
from voltbus_agreements.clock import Clock
from voltbus_agreements.domain.agreement import Policy
from voltbus_agreements.handlers import Handlers
from voltbus_agreements.settings import Settings
from voltbus_agreements.store import Store
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.outbox import Outbox
from voltbus_backbone.service import Parts, main
from voltbus_backbone.store import open_database

if TYPE_CHECKING:
    from voltbus_backbone.service import Runtime


async def compose(runtime: Runtime[Settings]) -> Parts:
    """Put the parts together."""
    settings = runtime.settings
    database = await open_database(settings)
    outbox = Outbox(
        database["outbox"], runtime.publisher, settings.instance_id, Topic.AGREEMENTS_DEAD_LETTER
    )
    store = Store(database, outbox, source=runtime.source)
    await store.prepare()
    policy = Policy(approval_required=settings.approval_required)
    clock = Clock(store, policy=policy, now=runtime.now, longest_s=settings.clock_s)
    desk = api.Desk(store, policy, clock, now=runtime.now, entropy=secrets.token_bytes)
    handlers = Handlers(store, runtime.source, runtime.now)
    return Parts(
        routers=[api.router(desk)],
        consumptions=handlers.consumptions(),
        background={"outbox": outbox.run, "clock": clock.run},
        checks={"mongo": store.reachable},
        close=[store.close],
    )


if __name__ == "__main__":
    main("agreements", Settings, compose)

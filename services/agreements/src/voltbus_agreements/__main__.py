"""The agreements service as a process."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

from voltbus_agreements import api
from voltbus_agreements.domain.agreement import Policy
from voltbus_agreements.handlers.changes import ChangeHandler
from voltbus_agreements.handlers.messages import MessageHandlers
from voltbus_agreements.scheduler import LifecycleScheduler
from voltbus_agreements.settings import Settings
from voltbus_agreements.store import Store
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.mongo.outbox import Outbox
from voltbus_backbone.mongo.rest_store import RestStore
from voltbus_backbone.mongo.store import open_database
from voltbus_backbone.service import Parts, main

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
    rest = RestStore(database, audit_days=settings.audit_days)
    await rest.prepare()
    await store.prepare()
    changes = ChangeHandler(store)
    policy = Policy(approval_required=settings.approval_required)
    scheduler = LifecycleScheduler(
        store, changes, policy=policy, now=runtime.now, longest_s=settings.clock_s
    )
    service = api.AgreementService(
        store, changes, policy, scheduler, now=runtime.now, entropy=secrets.token_bytes
    )
    handlers = MessageHandlers(store, changes, runtime.source, runtime.now)
    return Parts(
        routers=[api.router(service)],
        rest=rest,
        consumptions=handlers.list_consumptions(),
        background={"outbox": outbox.run, "clock": scheduler.run},
        checks={"mongo": store.reachable},
        close=[store.close],
    )


if __name__ == "__main__":
    main("agreements", Settings, compose)

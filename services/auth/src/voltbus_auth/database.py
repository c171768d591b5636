"""The auth database: every room's stores, made and closed together."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from voltbus_auth.credentials.store.changes import ChangeStore
from voltbus_auth.credentials.store.credentials import CredentialStore
from voltbus_auth.credentials.store.fleets import FleetStore
from voltbus_auth.decisions.store.external import ExternalStore
from voltbus_auth.decisions.store.journal import JournalStore
from voltbus_auth.decisions.store.knowledge import KnowledgeStore
from voltbus_auth.decisions.store.occupancy import OccupancyStore
from voltbus_auth.erasure.store import ErasureStore
from voltbus_auth.local_lists.store.list_stores import ListStores
from voltbus_auth.local_lists.store.lists import LocalListStore
from voltbus_auth.local_lists.store.plans import PlanStore
from voltbus_auth.local_lists.store.tokens import ListedTokenStore
from voltbus_auth.plug_and_charge.store import RootStore
from voltbus_auth.projections.store import ProjectionStore
from voltbus_auth.settings import Way, token_key
from voltbus_auth.station_certificates.store import ApplicationStore
from voltbus_auth.tokens.store.tokens import TokenStore
from voltbus_auth.tokens.store.vault import Vault, read_master_keys
from voltbus_auth.transactions.store.transactions import TransactionStore
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.mongo.outbox import Outbox
from voltbus_backbone.mongo.rest_store import RestStore
from voltbus_backbone.mongo.store import Reachable, open_database

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from voltbus_auth.settings import Settings
    from voltbus_backbone.bus.ports import Publishing
    from voltbus_backbone.mongo.store import Database


class Store:
    """Everything that auth keeps, by what it is."""

    def __init__(
        self,
        database: Database,
        settings: Settings,
        *,
        publisher: Publishing,
        source: str,
        now: Callable[[], datetime],
    ) -> None:
        self._database = database
        self.reachable = Reachable()
        self.outbox = Outbox(
            database["outbox"], publisher, settings.instance_id, Topic.AUTH_DEAD_LETTER
        )
        self.vault: Vault | None = None
        if settings.field_key_file is not None:
            master_keys = read_master_keys(settings.field_key_file)
            self.vault = Vault(database, self.reachable, master_keys)
        self.token = TokenStore(
            database, self.reachable, outbox=self.outbox, vault=self.vault, source=source
        )
        self.rest = RestStore(
            database, audit_days=settings.audit_days, secret=token_key(settings).derived(b"rest")
        )
        self.erasure = ErasureStore(
            database, self.reachable, audit=self.rest.audit, outbox=self.outbox, source=source
        )
        self.credential = CredentialStore(database, self.reachable)
        self.change = ChangeStore(database, self.reachable)
        self.fleet = FleetStore(database, self.reachable)
        self.transaction = TransactionStore(database, self.reachable, outbox=self.outbox, now=now)
        self.occupancy = OccupancyStore(
            database,
            self.reachable,
            now=now,
            forget_open=timedelta(days=settings.forget_open_days),
        )
        self.journal = JournalStore(
            database,
            self.reachable,
            kept=timedelta(days=settings.decision_log_days),
            now=now,
        )
        self.projection = ProjectionStore(database, self.reachable)
        self.knowledge = KnowledgeStore(
            database,
            self.reachable,
            tokens=self.token,
            projections=self.projection,
            external=settings.external_authorizer is not Way.NONE,
        )
        self.external = ExternalStore(database, self.reachable)
        self.plan = PlanStore(database, self.reachable)
        self.local_list = LocalListStore(database, self.reachable)
        self.listed_token = ListedTokenStore(
            database, self.reachable, projections=self.projection, vault=self.vault
        )
        self.lists = ListStores(
            plan=self.plan,
            local_list=self.local_list,
            listed_token=self.listed_token,
            token=self.token,
            projection=self.projection,
        )
        self.root = RootStore(database, self.reachable)
        self.application = ApplicationStore(database, self.reachable)

    @classmethod
    async def open(
        cls,
        settings: Settings,
        *,
        publisher: Publishing,
        source: str,
        now: Callable[[], datetime],
    ) -> Store:
        """Connect, and create what is missing."""
        database = await open_database(settings)
        try:
            store = cls(database, settings, publisher=publisher, source=source, now=now)
            await store.prepare()
        except BaseException:
            database.client.close()
            raise
        return store

    async def prepare(self) -> None:
        """Create indexes and the data key."""
        await self.token.prepare()
        await self.transaction.prepare()
        await self.projection.prepare()
        await self.change.prepare()
        await self.plan.prepare()
        await self.local_list.prepare()
        await self.listed_token.prepare()
        await self.fleet.prepare()
        await self.journal.prepare()
        await self.application.prepare()
        await self.external.prepare()
        await self.outbox.prepare()
        await self.rest.prepare()
        if self.vault is not None:
            await self.vault.prepare()

    async def close(self) -> None:
        """Write what still waits and let go of the connections."""
        await self.journal.flush()
        if self.vault is not None:
            await self.vault.close()
        self._database.client.close()

"""The config service's process: puts the parts together."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from voltbus_backbone.bus.consumption import Consumption
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.mongo.outbox import Outbox
from voltbus_backbone.mongo.store import open_database
from voltbus_backbone.service import Parts, Runtime, main
from voltbus_config import api
from voltbus_config.domain.compile import CompileOptions
from voltbus_config.domain.reconciliation import ReconcilerConfig
from voltbus_config.handlers import agreements, requests, reservations, station_events
from voltbus_config.handlers.command_waiter import CommandWaiter
from voltbus_config.handlers.context import ServiceContext
from voltbus_config.handlers.gateways import GatewayMonitor
from voltbus_config.handlers.reconciler import Reconciler
from voltbus_config.handlers.tokens import AuthTokenDirectory
from voltbus_config.settings import Settings
from voltbus_config.store import Store

if TYPE_CHECKING:
    from voltbus_config.domain.stations import RegisteredStation


async def compose(runtime: Runtime[Settings]) -> Parts:
    """Build everything that config consists of."""
    settings = runtime.settings
    store = Store(await open_database(settings), audit_days=settings.audit_days)
    await store.prepare(timedelta(days=settings.commands_kept_days))
    outbox = Outbox(store.outbox, runtime.publisher, settings.instance_id, Topic.CONFIG_DEAD_LETTER)
    await outbox.prepare()
    tokens = AuthTokenDirectory(await runtime.requester(), clock=asyncio.get_running_loop().time)
    context = ServiceContext(
        store,
        outbox,
        runtime.source,
        runtime.now,
        settings,
        build_reconciler_config(settings),
        tokens,
    )
    reconciler = Reconciler(context)
    keeping = reservations.ReservationHandler(context)
    waiter = CommandWaiter(store.find_ended_commands)
    return Parts(
        routers=api.routers(context, reconciler, waiter),
        rest=store.rest,
        consumptions=[
            Consumption(
                "config",
                (Topic.CONFIG_REQUESTS,),
                requests.TYPES,
                requests.RequestHandler(context, reconciler).handle,
            ),
            Consumption(
                "config-stations",
                (Topic.STATIONS_EVENTS,),
                station_events.TYPES,
                station_events.StationEventHandler(context, reconciler).handle,
            ),
            Consumption(
                "config-reservations",
                (Topic.TRANSACTIONS_EVENTS, Topic.STATIONS_EVENTS, Topic.TOKENS_EVENTS),
                reservations.TYPES,
                keeping.handle,
            ),
            Consumption(
                "config-agreements",
                (Topic.AGREEMENTS_EVENTS,),
                agreements.TYPES,
                agreements.AgreementProjection(context, reconciler).handle,
            ),
        ],
        background={
            "outbox": outbox.run,
            "tending": reconciler.run,
            "silence": GatewayMonitor(context).run,
            "waiting": waiter.run,
            "reservations": keeping.run,
        },
        checks={"mongo": store.reachable},
        close=[waiter.close, store.close],
    )


def build_reconciler_config(settings: Settings) -> ReconcilerConfig:
    """Build what the pure decisions take of the operator's configuration."""

    def options(station: RegisteredStation) -> CompileOptions:
        return CompileOptions(
            vendor=station.vendor,
            variables_per_call=settings.variables_per_call,
            payment_keys=settings.payment_methods_keys,
        )

    return ReconcilerConfig(
        new_id=make_command_ids(secrets.token_hex(4)),
        options=options,
        policy=settings.unknown_station,
        margin=timedelta(seconds=settings.command_margin_s),
        setting_timeout_s=settings.setting_timeout_s,
    )


class _CommandIds:
    """Ids that grow with time, and within a millisecond with their number."""

    def __init__(self, mark: str) -> None:
        self._mark = mark
        self._numbers = itertools.count()

    def __call__(self, now: datetime) -> str:
        number = next(self._numbers) & 0xFFFFFF
        return f"cmd-{int(now.timestamp() * 1000):012x}{number:06x}{self._mark}"


def make_command_ids(mark: str) -> _CommandIds:
    """Make a source of command ids for one process; ``mark`` is unique to the process."""
    return _CommandIds(mark)


if __name__ == "__main__":
    main("config", Settings, compose)

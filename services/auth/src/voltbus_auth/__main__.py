"""The auth service: who may charge, and what they charged."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import httpx

from voltbus_auth import dispatch
from voltbus_auth.credentials.api.changes import changes_router
from voltbus_auth.credentials.api.credentials import credentials_router
from voltbus_auth.credentials.api.fleets import fleets_router
from voltbus_auth.credentials.api.rotating import Beginning, rotating_router
from voltbus_auth.credentials.domain.changes.rotation import PasswordKey
from voltbus_auth.credentials.handlers import changes
from voltbus_auth.credentials.handlers.conductor import Conductor
from voltbus_auth.credentials.handlers.fleets import Fleets
from voltbus_auth.database import Store
from voltbus_auth.decisions.api import authorizations_router
from voltbus_auth.decisions.domain.verdict import Policy
from voltbus_auth.decisions.handlers.knowledge import Library
from voltbus_auth.erasure.api import erase_token, erasures_router
from voltbus_auth.local_lists.api.lists import local_lists_router
from voltbus_auth.local_lists.handlers import events as list_events
from voltbus_auth.local_lists.handlers.lists import LocalLists
from voltbus_auth.other_systems import other_systems
from voltbus_auth.plug_and_charge.api import roots_router
from voltbus_auth.plug_and_charge.clients.ocsp import Responders
from voltbus_auth.plug_and_charge.handlers import certificates
from voltbus_auth.plug_and_charge.handlers.trust import Trust
from voltbus_auth.projections.handlers import projections
from voltbus_auth.settings import Settings, Way, token_key
from voltbus_auth.signing import signer
from voltbus_auth.station_certificates.api import station_certificates_router
from voltbus_auth.station_certificates.handlers import applications, following
from voltbus_auth.station_certificates.handlers.renewing import Renewing
from voltbus_auth.tokens.api.bulk import bulk_router
from voltbus_auth.tokens.api.tokens import tokens_router
from voltbus_auth.transactions.api import transactions_router
from voltbus_auth.transactions.handlers import samples
from voltbus_auth.transactions.handlers.bookkeeping import Bookkeeping
from voltbus_auth.transactions.handlers.closing import TransactionCloser
from voltbus_auth.transactions.handlers.retention import EVERY_S, Retention
from voltbus_auth.transactions.handlers.superseding import SupersededMarker
from voltbus_backbone.bus.consumption import Consumption
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.lookout import Lookout
from voltbus_backbone.service import Parts, Runtime, main
from voltbus_backbone.tls import create_client_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import APIRouter

    from voltbus_auth.tokens.domain.identifiers import TokenKey


async def compose(runtime: Runtime[Settings]) -> Parts:
    """Wire the parts together."""
    settings, now = runtime.settings, runtime.now
    key = token_key(settings)
    store = await Store.open(settings, publisher=runtime.publisher, source=runtime.source, now=now)
    library = Library(store.knowledge, policy(settings), now=now)
    bookkeeping = bookkeeping_of(runtime, store, library, key)
    closing = closer_of(runtime, store)
    dispatcher = dispatch.RequestDispatcher(
        credentials=store.credential,
        stations=store.projection,
        library=library,
        bookkeeping=bookkeeping,
        journal=store.journal,
        key=key,
        source=runtime.source,
        now=now,
        ev_certificate_provider=settings.ev_certificate_provider,
    )
    credential_changes = changing(runtime, store, key)
    others = await other_systems(runtime, store, library, bookkeeping, key)
    signing = applications.StationCertificates(
        signer(settings), store.application, source=runtime.source, now=now
    )
    trust = Trust(store.root, every_s=settings.roots_refresh_s)
    await trust.refresh()
    responders = responders_of(settings)
    contracts = contract_certificates(
        runtime, store, library, trust, responders, key=key, hear=others.hear
    )
    lists = local_lists(runtime, store)
    return Parts(
        routers=[
            *routers(store, library, trust, key, closing),
            *credential_changes.routers,
            local_lists_router(store.lists, lists, now),
        ],
        rest=store.rest,
        consumptions=[
            Consumption("auth", (Topic.AUTH_REQUESTS,), dispatch.TYPES, dispatcher.handle),
            # Groups of their own: a flood of one kind never stands before another.
            *listening(store, bookkeeping, contracts, signing, lists=lists, source=runtime.source),
            *others.consumptions,
            *credential_changes.consumptions,
        ],
        background={
            "roots": trust.run,
            **keeping(settings, store),
            **credential_changes.background,
            **renewals(runtime, store),
            "local-lists": lists.keeping.run,
            "closing": closing.run,
        },
        checks={"mongo": store.reachable},
        close=[responders.close, *others.close, store.close],
    )


def bookkeeping_of(
    runtime: Runtime[Settings], store: Store, library: Library, key: TokenKey
) -> Bookkeeping:
    """Who handles transaction messages."""
    return Bookkeeping(
        books=store.transaction,
        occupancy=store.occupancy,
        journal=store.journal,
        library=library,
        key=key,
        source=runtime.source,
        now=runtime.now,
        kept=timedelta(days=runtime.settings.transactions_kept_days),
        most_w=runtime.settings.plausible_power_w,
    )


def closer_of(runtime: Runtime[Settings], store: Store) -> TransactionCloser:
    """Who closes transactions that nobody ended."""
    return TransactionCloser(
        store.transaction,
        store.transaction,
        store.occupancy,
        after=timedelta(seconds=runtime.settings.superseded_ends_s),
        source=runtime.source,
        now=runtime.now,
        most_w=runtime.settings.plausible_power_w,
    )


def contract_certificates(
    runtime: Runtime[Settings],
    store: Store,
    library: Library,
    trust: Trust,
    responders: Responders,
    *,
    key: TokenKey,
    hear: certificates.Hear | None,
) -> certificates.Certificates:
    """Plug and Charge."""
    settings = runtime.settings
    return certificates.Certificates(
        library=library,
        journal=store.journal,
        trust=trust,
        responders=responders,
        key=key,
        source=runtime.source,
        now=runtime.now,
        deadline_s=settings.ocsp_deadline_s,
        require_ocsp=settings.require_ocsp,
        hear=hear,
    )


def changing(runtime: Runtime[Settings], store: Store, key: TokenKey) -> Parts:
    """Rotations of passwords and upgrades of security profiles."""
    password_key = PasswordKey(key.derived(b"station passwords"), key.id)
    conductor = Conductor(
        store.change,
        store.credential,
        runtime.publisher,
        key=password_key,
        source=runtime.source,
        now=runtime.now,
    )
    beginning = Beginning(
        credential=store.credential,
        change=store.change,
        fleet=store.fleet,
        projection=store.projection,
        application=store.application,
        conductor=conductor,
        key=password_key,
        change_wait_s=runtime.settings.change_wait_s,
        upgrade_window_s=runtime.settings.upgrade_window_s,
        now=runtime.now,
    )
    fleets = Fleets(
        store.fleet,
        store.change,
        store.credential,
        store.projection,
        conductor,
        key=password_key,
        now=runtime.now,
    )
    return Parts(
        routers=[
            fleets_router(beginning),
            changes_router(store.change, store.credential, runtime.now),
            rotating_router(beginning),
        ],
        consumptions=[
            Consumption(
                "auth-credentials",
                (Topic.COMMANDS_EVENTS, Topic.STATIONS_EVENTS),
                changes.TYPES,
                changes.Following(store.change, store.credential, conductor).handle,
            )
        ],
        background={"changes": conductor.run, "fleets": fleets.run},
    )


def local_lists(runtime: Runtime[Settings], store: Store) -> LocalLists:
    """Stations' local lists, kept as operators' plans want them."""
    settings = runtime.settings
    return LocalLists(
        store.lists,
        policy(settings),
        runtime.publisher,
        source=runtime.source,
        now=runtime.now,
        settle_s=settings.local_list_settle_s,
        retry_s=settings.local_list_retry_s,
    )


def renewals(runtime: Runtime[Settings], store: Store) -> dict[str, Callable[[], Awaitable[None]]]:
    """Who has stations renew their certificates, where that is wished."""
    settings = runtime.settings
    if settings.station_certificate_renew_days is None:
        return {}
    renewing = Renewing(
        store.application,
        runtime.publisher,
        ahead=timedelta(days=settings.station_certificate_renew_days),
        per_minute=settings.station_certificate_renewals_per_minute,
        source=runtime.source,
        now=runtime.now,
    )
    return {"renewals": renewing.run}


def routers(
    store: Store, library: Library, trust: Trust, key: TokenKey, closing: TransactionCloser
) -> list[APIRouter]:
    """The REST interface."""
    now = Runtime.now
    return [
        credentials_router(store.credential, now),
        bulk_router(store.token, key, now),
        tokens_router(store.token, key, now, partial(erase_token, store.erasure)),
        erasures_router(store.token, store.erasure, now),
        roots_router(store.root, trust, now),
        transactions_router(store.transaction, store.projection, closing, now),
        station_certificates_router(store.application),
        authorizations_router(store.journal, store.occupancy, library, key, now),
    ]


def listening(
    store: Store,
    bookkeeping: Bookkeeping,
    contracts: certificates.Certificates,
    signing: applications.StationCertificates,
    *,
    lists: LocalLists,
    source: str,
) -> list[Consumption]:
    """What is not asked on the quick topic, each kind in a group of its own."""
    return [
        Consumption(
            "auth-certificates",
            (Topic.AUTH_CERTIFICATE_REQUESTS,),
            certificates.TYPES,
            contracts.handle,
        ),
        Consumption(
            "auth-station-certificates",
            (Topic.AUTH_CERTIFICATE_REQUESTS,),
            applications.TYPES,
            signing.handle,
        ),
        Consumption(
            "auth-certificates-sent",
            (Topic.COMMANDS_EVENTS, Topic.STATIONS_EVENTS),
            following.TYPES,
            following.Following(store.application, now=Runtime.now).handle,
        ),
        Consumption(
            "auth-projections",
            (Topic.AGREEMENTS_EVENTS, Topic.STATIONS_STATE),
            projections.TYPES,
            projections.Projecting(
                store.projection, agreements_changed=lists.marking.agreements_changed
            ).handle,
        ),
        Consumption(
            "auth-local-lists",
            (
                Topic.STATIONS_STATE,
                Topic.STATIONS_EVENTS,
                Topic.COMMANDS_EVENTS,
                Topic.TOKENS_EVENTS,
            ),
            list_events.TYPES,
            lists.events.handle,
        ),
        Consumption(
            "auth-samples",
            (Topic.STATIONS_EVENTS,),
            samples.TYPES,
            samples.Samples(
                bookkeeping,
                store.projection,
                store.transaction,
                SupersededMarker(
                    store.transaction, store.occupancy, source=source, now=Runtime.now
                ),
            ).handle,
        ),
    ]


def keeping(settings: Settings, store: Store) -> dict[str, Callable[[], Awaitable[None]]]:
    """What the store needs done: sending, writing, and deleting what is too old."""
    kept = timedelta(days=settings.transactions_kept_days)
    retention = Retention(store.transaction, kept=kept, now=Runtime.now, every_s=EVERY_S)
    stored = Lookout("transactions", store.transaction.describe_stored, every_s=EVERY_S)
    return {
        "outbox": store.outbox.run,
        "journal": store.journal.run,
        "retention": retention.run,
        "transactions": stored.run,
    }


def policy(settings: Settings) -> Policy:
    """The operator's switches."""
    return Policy(
        cache=timedelta(hours=settings.cache_hours),
        require_agreement=settings.require_agreement,
        default_max_concurrent=settings.default_max_concurrent,
        external=settings.external_authorizer is not Way.NONE,
        silence=settings.external_silence,
    )


def responders_of(settings: Settings) -> Responders:
    """Whoever asks OCSP responders, never by way of a proxy that the environment names."""
    return Responders(
        httpx.AsyncClient(
            trust_env=False, timeout=settings.ocsp_deadline_s, verify=create_client_context()
        ),
        now=Runtime.now,
        clock=asyncio.get_running_loop().time,
    )


if __name__ == "__main__":
    main("auth", Settings, compose)

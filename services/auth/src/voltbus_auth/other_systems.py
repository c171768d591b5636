"""Other systems beside auth: those that are asked, and those that push tokens."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import httpx

from voltbus_auth.plug_and_charge.handlers import ev_certificates
from voltbus_auth.roaming.clients import Authorizer, Door
from voltbus_auth.roaming.clients.ocpi import OcpiDoor
from voltbus_auth.roaming.clients.topic import CertificateDoor, TopicDoor
from voltbus_auth.roaming.handlers import external, pushed_tokens
from voltbus_auth.settings import Settings, Way
from voltbus_auth.tokens.api import bodies as token_bodies
from voltbus_backbone.bus.consumption import Consumption
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.errors import SettingsError
from voltbus_backbone.tls import create_client_context

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from voltbus_auth.database import Store
    from voltbus_auth.decisions.handlers.knowledge import Library
    from voltbus_auth.plug_and_charge.handlers.certificates import Hear
    from voltbus_auth.tokens.domain.identifiers import TokenKey
    from voltbus_auth.transactions.handlers.bookkeeping import Bookkeeping
    from voltbus_backbone.service import Runtime


@dataclass
class OtherSystems:
    """What they need of the process; ``hear`` asks the external authorizer, where there is one."""

    consumptions: list[Consumption]
    close: list[Callable[[], Awaitable[None]]] = field(default_factory=list)
    hear: Hear | None = None


async def other_systems(
    runtime: Runtime[Settings],
    store: Store,
    library: Library,
    bookkeeping: Bookkeeping,
    key: TokenKey,
) -> OtherSystems:
    """What they push, and what waits for them where they are set up: a group for each."""
    settings, now = runtime.settings, runtime.now
    taking = pushed(runtime, store, key)
    others = OtherSystems(
        [
            Consumption(
                "auth-tokens", (Topic.AUTH_TOKEN_REQUESTS,), pushed_tokens.TYPES, taking.handle
            )
        ]
    )
    authorizer = await authorizer_of(runtime)
    if authorizer is not None:
        asking = external.External(
            library=library,
            bookkeeping=bookkeeping,
            journal=store.journal,
            answers=store.external,
            authorizer=authorizer,
            key=key,
            source=runtime.source,
            now=now,
            deadline_s=settings.external_deadline_s,
            cache=timedelta(seconds=settings.external_cache_s),
        )
        others.consumptions.append(
            Consumption(
                "auth-external", (Topic.AUTH_EXTERNAL_REQUESTS,), external.TYPES, asking.handle
            )
        )
        others.close.append(authorizer.close)
        others.hear = asking.hear
    if settings.ev_certificate_provider:
        others.consumptions.append(await cars_certificates(runtime))
    return others


async def cars_certificates(runtime: Runtime[Settings]) -> Consumption:
    """Cars' wishes for contract certificates, asked of a provider."""
    cars = ev_certificates.EvCertificates(
        CertificateDoor(await runtime.requester()),
        source=runtime.source,
        now=runtime.now,
        deadline_s=runtime.settings.ev_certificate_deadline_s,
    )
    return Consumption(
        "auth-ev-certificates",
        (Topic.AUTH_EXTERNAL_REQUESTS,),
        ev_certificates.TYPES,
        cars.handle,
    )


async def authorizer_of(runtime: Runtime[Settings]) -> Authorizer | None:
    """Whoever asks the external authorizer; None where there is none.

    Raises:
        SettingsError: it is to be asked over HTTP, and where or with which secret is not usable.
    """
    settings = runtime.settings
    clock = asyncio.get_running_loop().time
    if settings.external_authorizer is Way.NONE:
        return None
    door: Door = (
        TopicDoor(await runtime.requester())
        if settings.external_authorizer is Way.TOPIC
        else ocpi_door(settings)
    )
    return Authorizer(door, concurrency=settings.external_concurrency, clock=clock)


def ocpi_door(settings: Settings) -> OcpiDoor:
    """The way to an OCPI server, never by way of a proxy that the environment names.

    Raises:
        SettingsError: there is no address, or its secret cannot be read.
    """
    if settings.external_url is None:
        raise SettingsError("VOLTBUS_EXTERNAL_AUTHORIZER=http needs VOLTBUS_EXTERNAL_URL")
    secret = ""
    if settings.external_token_file is not None:
        try:
            secret = settings.external_token_file.read_text("ascii").strip()
        except (OSError, ValueError):
            secret = ""
        if not secret:
            raise SettingsError(
                "VOLTBUS_EXTERNAL_TOKEN_FILE must be a readable file with a secret in ASCII"
            )
    limits = httpx.Limits(max_connections=settings.external_concurrency)
    client = httpx.AsyncClient(
        trust_env=False, follow_redirects=False, limits=limits, verify=create_client_context()
    )
    return OcpiDoor(client, settings.external_url, secret)


def pushed(runtime: Runtime[Settings], store: Store, key: TokenKey) -> pushed_tokens.PushedTokens:
    """Whoever takes tokens that other systems push; the rules are those of REST."""
    return pushed_tokens.PushedTokens(
        tokens=store.token,
        erasure=store.erasure,
        rules=pushed_tokens.Rules(
            token=partial(token_bodies.pushed, key=key), names=partial(token_bodies.named, key=key)
        ),
        source=runtime.source,
        now=runtime.now,
    )

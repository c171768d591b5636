"""Requests that someone else answers: passed on at once, under the type of their new topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_auth.domain.plug_and_charge.outcome import has_certificate
from voltbus_backbone.contract.registry import (
    AUTHORIZE,
    CONTRACT_AUTHORIZE,
    EV_CERTIFICATE,
    EXTERNAL_EV_CERTIFICATE,
)

if TYPE_CHECKING:
    from voltbus_backbone.contract.registry import MessageType
    from voltbus_backbone.envelope import Event

TYPES = frozenset({EV_CERTIFICATE.name})


def forwarded_as(event: Event) -> MessageType[Any] | None:
    """Under which type a request goes on; None for one that is answered here and now.

    An Authorize with a contract certificate waits for OCSP responders; a car's wish for a
    certificate (M01, M02) for a provider, if there is one (the caller looks to that).
    """
    if event.type == AUTHORIZE.name:
        return CONTRACT_AUTHORIZE if has_certificate(event.message) else None
    return EXTERNAL_EV_CERTIFICATE if event.type == EV_CERTIFICATE.name else None

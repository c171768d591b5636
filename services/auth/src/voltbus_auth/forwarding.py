"""Requests that someone else answers: passed on at once, under the type of their new topic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from voltbus_auth.decisions.domain.patience import is_key_code
from voltbus_auth.plug_and_charge.domain.outcome import has_certificate
from voltbus_backbone.contract.registry import (
    AUTHORIZE,
    CONTRACT_AUTHORIZE,
    EV_CERTIFICATE,
    EXTERNAL_EV_CERTIFICATE,
)

if TYPE_CHECKING:
    from voltbus_backbone.bus.envelope import Event
    from voltbus_backbone.contract.auth import Authorize
    from voltbus_backbone.contract.registry import MessageType

TYPES = frozenset({EV_CERTIFICATE.name})


def forwarded_as(event: Event) -> MessageType[Any] | None:
    """Under which type a request goes on; None for one that is answered here and now.

    An Authorize with a contract certificate waits for OCSP responders; a car's wish for a
    certificate (M01, M02) for a provider, if there is one (the caller looks to that).
    """
    if event.type == AUTHORIZE.name:
        return CONTRACT_AUTHORIZE if _is_of_a_contract(event.message) else None
    return EXTERNAL_EV_CERTIFICATE if event.type == EV_CERTIFICATE.name else None


def _is_of_a_contract(message: Authorize) -> bool:
    """Whether a certificate vouches for the token.

    None does for a key code, which is judged where wrong ones are counted; nor for what has no
    type and so may mean one.
    """
    kind = message.id_token.type
    return has_certificate(message) and bool(kind) and not is_key_code(kind)

"""Stations' credentials as MongoDB documents, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from voltbus_auth.credentials.domain.credentials import Credentials, named
from voltbus_backbone.contract.auth import PasswordVerifier

if TYPE_CHECKING:
    from voltbus_backbone.mongo.store import Document


def credentials_document(credentials: Credentials) -> Document:
    """A station's credentials without its id."""
    names = ("algorithm", "salt", "digest", "n", "r", "p")
    return {
        "minimum_profile": credentials.minimum_profile,
        "verifiers": [
            {name: getattr(verifier, name) for name in names} for verifier in credentials.verifiers
        ],
        "hex_password": credentials.hex_password,
        "serial_number": credentials.serial_number,
        "revision": credentials.revision,
        "updated_at": credentials.updated_at,
        "change_id": credentials.change_id,
    }


def credentials_of(document: Document) -> Credentials:
    """Stored credentials."""
    return Credentials(
        station_id=document["_id"],
        minimum_profile=document["minimum_profile"],
        verifiers=tuple(named(PasswordVerifier(**one)) for one in document["verifiers"]),
        hex_password=document["hex_password"],
        serial_number=document["serial_number"],
        revision=document["revision"],
        updated_at=document["updated_at"],
        change_id=document.get("change_id"),
    )

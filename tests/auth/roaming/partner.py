"""Starts the roaming partner's process and tells it what to say."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from other_party import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Partner:
    """The process. ``url`` is its OCPI tokens endpoint."""

    def __init__(self, folder: Path, port: str) -> None:
        self._folder = folder
        self._words: dict[str, Any] = {}
        self.url = f"http://127.0.0.1:{port}/ocpi/emsp/2.2.1/tokens"

    def says(self, uid: str, word: str | dict[str, Any]) -> None:
        """What becomes of questions about a token from now on (see server.WORDS)."""
        self._words[uid] = word
        fresh = self._folder / "says.new"
        fresh.write_text(json.dumps(self._words))
        fresh.replace(self._folder / "says.json")

    def allows(self, uid: str, allowed: str = "ALLOWED", **rest: Any) -> None:
        """An AuthorizationInfo with a token."""
        token = {
            "country_code": "NL",
            "party_id": "TNM",
            "uid": uid,
            "type": "RFID",
            "contract_id": "NL-TNM-C00122045-K",
            "issuer": "A provider",
            "valid": True,
            "whitelist": "ALLOWED",
            "last_updated": "2026-01-01T00:00:00Z",
            **rest.pop("token", {}),
        }
        self.says(uid, {"allowed": allowed, "token": token, **rest})

    def asked(self, uid: str) -> list[dict[str, Any]]:
        """What it was asked about a token, in order."""
        lines = (self._folder / "asked.ndjson").read_text().splitlines()
        return [one for line in lines if (one := json.loads(line))["uid"] == uid]


@asynccontextmanager
async def roaming(folder: Path) -> AsyncIterator[Partner]:
    """A partner's process on a free port of loopback."""
    (folder / "says.json").write_text("{}")
    (folder / "asked.ndjson").write_text("")
    async with running("-m", "auth.roaming.server", str(folder)) as port:
        yield Partner(folder, port)

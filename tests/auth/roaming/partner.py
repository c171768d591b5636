"""Starts the roaming partner's process and tells it what to say."""

from __future__ import annotations

import asyncio
import json
import sys
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_SCRIPT = Path(__file__).with_name("server.py")


class Partner:
    """The process. ``url`` is its OCPI tokens endpoint."""

    def __init__(self, folder: Path, port: int) -> None:
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
    process = await asyncio.create_subprocess_exec(
        sys.executable, str(_SCRIPT), str(folder), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            port = int(await process.stdout.readline())
        yield Partner(folder, port)
    finally:
        process.kill()
        await process.wait()

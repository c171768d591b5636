"""Starts the OCSP responder process and tells it what to say."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives import serialization

from auth.plug_and_charge.pki import Made, Pki, pem
from other_party import running

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import datetime
    from pathlib import Path


class RunningResponder:
    """The process, and the PKI whose certificates name it."""

    def __init__(self, folder: Path, url: str, now: datetime) -> None:
        self._folder = folder
        self._statuses: dict[str, str] = {}
        self.url = url
        self.pki = Pki(now, responder_url=url)
        self.answers_for(self.pki.root, self.pki.sub1, self.pki.sub2)

    def answers_for(self, *issuers: Made) -> None:
        """Whose certificates it knows."""
        (self._folder / "issuers.pem").write_text(
            "".join(pem(one.certificate) + _key(one) for one in issuers)
        )
        (self._folder / "chain.pem").write_text(pem(*(one.certificate for one in issuers)))
        (self._folder / "asked.txt").write_text("")
        (self._folder / "statuses.json").write_text("{}")

    def says(self, made: Made, word: str) -> None:
        """What becomes of requests for a certificate from now on (see responder.ANSWERS)."""
        self._statuses[f"{made.serial:x}"] = word
        (self._folder / "statuses.json").write_text(json.dumps(self._statuses))

    def asked(self, made: Made) -> int:
        """How often it was asked for a certificate."""
        lines = (self._folder / "asked.txt").read_text().split()
        return lines.count(f"{made.serial:x}")


@asynccontextmanager
async def responding(folder: Path, now: datetime) -> AsyncIterator[RunningResponder]:
    """A responder process on a free port of loopback."""
    async with running("-m", "auth.plug_and_charge.responder", str(folder)) as port:
        yield RunningResponder(folder, f"http://127.0.0.1:{port}", now)


def _key(made: Made) -> str:
    return made.key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()

"""Stations' signing requests: answered at once, the certificate follows as a command (A02)."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from voltbus_auth.domain.station_certificates import read_request, request_id
from voltbus_backbone.contract.auth import SignCertificateAnswer
from voltbus_backbone.contract.config import CommandRequested
from voltbus_backbone.contract.registry import (
    COMMAND,
    SIGN_CERTIFICATE,
    SIGN_CERTIFICATE_ANSWER,
)
from voltbus_backbone.envelope import event as new_event
from voltbus_backbone.envelope import reply

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from voltbus_auth.domain.station_certificates import Authority
    from voltbus_backbone.contract.auth import SignCertificate
    from voltbus_backbone.envelope import Event, Record

log = structlog.get_logger(__name__)

TYPES = frozenset({SIGN_CERTIFICATE.name})


class Keeping(Protocol):
    """Remembers what was made for a request."""

    async def keep(self, request_id: str, chain: str, at: datetime) -> str:
        """Keep the chain; the one that was first, if there is one."""
        ...


class StationCertificates:
    """Signs, or rejects where there is no authority."""

    def __init__(
        self,
        authority: Authority | None,
        made: Keeping,
        *,
        source: str,
        now: Callable[[], datetime],
    ) -> None:
        self._authority = authority
        self._made = made
        self._source = source
        self._now = now

    async def handle(self, events: Sequence[Event]) -> list[Record]:
        """The answers of a batch, and the commands that carry certificates."""
        records: list[Record | None] = []
        for event in events:
            command = await self._command(event.message)
            answer = SignCertificateAnswer(accepted=command is not None)
            records.append(
                reply(
                    event,
                    SIGN_CERTIFICATE_ANSWER,
                    answer,
                    source=self._source,
                    now=self._now(),
                )
            )
            records.append(command)
        return [record for record in records if record is not None]

    async def _command(self, message: SignCertificate) -> Record | None:
        now = self._now()
        if self._authority is None:
            return None
        try:
            key = read_request(message.csr, message.certificate_type)
            chain = self._authority.sign(key, message.station_id, now)
        except ValueError as error:
            log.info("certificate.not_signed", station=message.station_id, reason=str(error))
            return None
        asked = request_id(message.station_id, message.csr)
        chain = await self._made.keep(asked, chain, now)
        # The chain is the same for a request sent again, and so is the command; a certificate
        # made anew when the first is forgotten goes out as a command of its own.
        cause = f"{asked[:32]}:{sha256(chain.encode()).hexdigest()[:32]}"
        payload: dict[str, Any] = {"certificateChain": chain}
        if message.certificate_type is not None:
            payload["certificateType"] = message.certificate_type
        if message.request_id is not None:
            payload["requestId"] = message.request_id
            cause = f"{cause}:{message.request_id}"
        return new_event(
            COMMAND,
            CommandRequested(
                station_id=message.station_id,
                action="CertificateSigned",
                payload=payload,
                idempotency_key=f"station-certificate:{cause}",
            ),
            id=f"station-certificate:{cause}",
            source=self._source,
            now=now,
        )

"""The external authorizer over HTTP, in OCPI's shape."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING

import httpx

from voltbus_auth.roaming.domain.ocpi import Unusable, answer_in, body_of, can_be_asked, path_of
from voltbus_backbone.contract.providers import Allowed, ProviderAuthorizeAnswer
from voltbus_backbone.errors import Unavailable

if TYPE_CHECKING:
    from voltbus_backbone.contract.providers import ProviderAuthorize

_MOST_BYTES = 64 * 1024


class OcpiDoor:
    """One server. Its addresses hold tokens: no error of the client may be shown as it is."""

    def __init__(self, client: httpx.AsyncClient, url: str, secret: str) -> None:
        self._client = client
        self._url = url.rstrip("/")
        encoded = base64.b64encode(secret.encode()).decode()
        self._headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if secret:
            self._headers["Authorization"] = f"Token {encoded}"

    async def ask(self, question: ProviderAuthorize, budget_s: float) -> ProviderAuthorizeAnswer:
        """Its answer; see `Door`."""
        if not can_be_asked(question):
            return ProviderAuthorizeAnswer(allowed=Allowed.UNKNOWN)
        request_id = secrets.token_hex(16)
        headers = {
            **self._headers,
            "X-Request-ID": request_id,
            "X-Correlation-ID": request_id,
        }
        try:
            async with self._client.stream(
                "POST",
                self._url + path_of(question),
                content=body_of(question),
                headers=headers,
                timeout=budget_s,
            ) as answer:
                content = bytearray()
                async for piece in answer.aiter_bytes():
                    content += piece
                    if len(content) > _MOST_BYTES:
                        raise Unusable("too large an answer")
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            raise Unavailable(type(error).__name__) from None
        return answer_in(answer.status_code, bytes(content), question)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

"""`Idempotency-Key` on every POST: one request, one effect, one answer for a day."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from fastapi import Response

from voltbus_backbone.rest.conventions import StoredAnswer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastapi import Request

    from voltbus_backbone.rest.conventions import Idempotency

_REFUSED = 400
_KEPT_HEADERS = ("location", "etag", "link", "cache-control")
REPLAYED = "Idempotent-Replayed"


class _RefusedError(Exception):
    """The answer refuses the request: it had no effect, and its key is free again."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


async def answered_once(
    idempotency: Idempotency,
    work: Callable[[], Awaitable[Response]],
    *,
    key: str,
    place: str,
    request: Request,
    body: bytes,
) -> Response:
    """The answer of ``work``, or the one that this caller got for the same request before.

    ``place`` is who asks and which route: keys of others mean nothing here.

    Raises:
        Problem: 422 another request has this key, 409 the first one still runs.
    """
    done: list[Response] = []

    async def operation() -> StoredAnswer:
        response = await work()
        if response.status_code >= _REFUSED:
            raise _RefusedError(response)
        done.append(response)
        headers = {
            name: response.headers[name] for name in _KEPT_HEADERS if name in response.headers
        }
        return StoredAnswer("", response.status_code, bytes(response.body), headers)

    # Hashed, because a body may hold an id token: only its digest is kept, under the key's.
    content = hashlib.sha256(body).hexdigest()
    asked = [request.method, request.url.path, request.url.query, content]
    try:
        answer = await idempotency.run(key, asked, operation, place=place)
    except _RefusedError as refused:
        return refused.response
    if done:
        return done[0]
    response = answer.response()
    response.headers[REPLAYED] = "true"
    return response

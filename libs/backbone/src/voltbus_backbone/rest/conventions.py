"""REST habits that services share: paging, entity tags, merge patch, idempotency keys."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

import orjson
from fastapi import Query, Response

from voltbus_backbone.errors import Problem

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

KEEP_KEYS_S = 24 * 3600
_LONGEST_KEY = 255
_LONGEST_CURSOR = 300


class Paging:
    """Query parameters of a list: ``limit`` 1-100 and an exclusive cursor in either direction."""

    def __init__(
        self,
        limit: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 20,
        starting_after: Annotated[
            str | None, Query(description="The id after which the page starts (exclusive).")
        ] = None,
        ending_before: Annotated[
            str | None, Query(description="The id before which the page ends (exclusive).")
        ] = None,
    ) -> None:
        if starting_after is not None and ending_before is not None:
            raise Problem(422, "invalid-request", "Give starting_after or ending_before, not both.")
        for cursor in (starting_after, ending_before):
            if cursor is not None and not 0 < len(cursor) <= _LONGEST_CURSOR:
                raise Problem(422, "invalid-request", "A cursor is the id of something listed.")
        self.limit = limit
        self.starting_after = starting_after
        self.ending_before = ending_before


class SortedPaging(Paging):
    """A page of a list that goes by the time of its things, the newest first unless asked."""

    def __init__(
        self,
        limit: Annotated[int, Query(ge=1, le=100, description="How many at most.")] = 20,
        starting_after: Annotated[
            str | None, Query(description="The id after which the page starts (exclusive).")
        ] = None,
        ending_before: Annotated[
            str | None, Query(description="The id before which the page ends (exclusive).")
        ] = None,
        sort: Annotated[
            Literal["created_at", "-created_at"],
            Query(description="The oldest first, or with - the newest."),
        ] = "-created_at",
    ) -> None:
        super().__init__(limit, starting_after, ending_before)
        self.newest_first = sort == "-created_at"


def page(items: Sequence[Any], *, has_more: bool) -> dict[str, Any]:
    """The body of a list."""
    return {"data": list(items), "has_more": has_more}


def etag(revision: int) -> str:
    """The strong entity tag of a revision."""
    return f'"{revision}"'


def require_match(if_match: str | None, revision: int, *, required: bool = True) -> None:
    """Check ``If-Match`` against the stored revision.

    Raises:
        Problem: 428 when it is missing but required, 412 when it names another revision.
    """
    if if_match is None:
        if required:
            raise Problem(
                428, "precondition-required", "Send If-Match with the ETag that you last read."
            )
        return
    tags = {tag.strip() for tag in if_match.split(",")}
    if "*" not in tags and etag(revision) not in tags:
        raise Problem(
            412, "precondition-failed", "It has changed since: read it again, then retry."
        )


def merge_patch(target: Any, patch: Any) -> Any:
    """Apply a JSON merge patch (RFC 7396); null removes a member."""
    if not isinstance(patch, dict):
        return patch
    result = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge_patch(result.get(name), value)
    return result


@dataclass(frozen=True)
class StoredAnswer:
    """What an idempotency key stands for: the request's fingerprint and, once done, its answer."""

    fingerprint: str
    status: int | None = None
    body: bytes = b""
    headers: dict[str, str] | None = None

    def response(self) -> Response:
        """The answer itself, as JSON."""
        return Response(self.body, self.status or 200, self.headers, media_type="application/json")


class KeyStore(Protocol):
    """Where idempotency keys are kept for at least 24 hours."""

    async def claim(self, key: str, fingerprint: str) -> StoredAnswer | None:
        """Take the key for this request, atomically; the holder's entry if it is taken."""
        ...

    async def finish(self, key: str, answer: StoredAnswer) -> None:
        """Keep the answer."""
        ...

    async def release(self, key: str) -> None:
        """Give the key back: the request had no effect."""
        ...


class Idempotency:
    """Runs an operation once per ``Idempotency-Key``.

    ``secret`` keeps what is stored from being guessed at: a request may hold an id token, and those
    are short.
    """

    def __init__(self, store: KeyStore, secret: bytes = b"") -> None:
        self._store = store
        self._secret = secret

    async def run(
        self,
        key: str,
        request: Any,
        operation: Callable[[], Awaitable[StoredAnswer]],
        *,
        place: str = "",
    ) -> StoredAnswer:
        """The operation's answer, or the one it gave when this key was first used in this place.

        ``request`` is what identifies the request (path and body), ``place`` whose key it is.
        ``operation`` returns its answer with an empty fingerprint.

        Raises:
            Problem: 422 for another payload under the same key, 409 while the first still runs.
        """
        if not 1 <= len(key) <= _LONGEST_KEY:
            raise Problem(422, "invalid-request", "Idempotency-Key takes 1 to 255 characters.")
        name = self._digest(orjson.dumps([place, key]))
        text = orjson.dumps(request, option=orjson.OPT_SORT_KEYS, default=str)
        fingerprint = self._digest(key.encode() + b"\n" + text)
        earlier = await self._store.claim(name, fingerprint)
        if earlier is not None:
            return _replay(earlier, fingerprint)
        try:
            done = await operation()
        except BaseException:
            await self._store.release(name)
            raise
        kept = StoredAnswer(fingerprint, done.status, done.body, done.headers)
        await self._store.finish(name, kept)
        return kept

    def _digest(self, text: bytes) -> str:
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


def _replay(earlier: StoredAnswer, fingerprint: str) -> StoredAnswer:
    if earlier.fingerprint != fingerprint:
        raise Problem(
            422, "idempotency-key-reused", "This Idempotency-Key was used for another request."
        )
    if earlier.status is None:
        raise Problem(
            409,
            "idempotency-key-in-use",
            "The first request with this Idempotency-Key still runs; try again.",
            headers={"Retry-After": "1"},
        )
    return earlier

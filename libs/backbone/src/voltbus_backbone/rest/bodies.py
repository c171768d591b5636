"""Request bodies: of bounded size, in bounded time, and never more of them than memory is for.

Parsed, a body takes up to about 25 times its bytes (``[[],[],…``). All bodies that are in memory at
once therefore share a room of bytes: who finds none waits with his body unread, and after a while
is told to come back (503). Files that a route reads piece by piece are counted one by one instead.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

from starlette.requests import ClientDisconnect, Request

from voltbus_backbone.errors import Problem
from voltbus_backbone.rest.problems import not_storable
from voltbus_backbone.rest.validation import known_place
from voltbus_backbone.values import storable

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from starlette.types import Receive, Scope

JSON = "application/json"
MERGE_PATCH = "application/merge-patch+json"
BODY_BYTES = 64 * 1024
LARGER_BODY_BYTES = 256 * 1024
LARGEST_BODY_BYTES = 1024 * 1024
ROOM_BYTES = 2 * 1024 * 1024
FILES = 4
BODY_S = 20.0  # for a whole body
PIECE_S = 20.0  # between two pieces of a file
WAIT_S = 5.0  # for room


@dataclass(frozen=True, slots=True)
class BodyRule:
    """What a route takes: at most so many bytes; ``streamed``, it reads them piece by piece."""

    limit_bytes: int = BODY_BYTES
    streamed: bool = False

    def __call__(self) -> None:
        """Depend on nothing: the rule is read from the route."""


class Room:
    """So many units for whoever comes first; the others wait in their order."""

    def __init__(self, units: int, *, wait_s: float = WAIT_S) -> None:
        self._free = units
        self._wait_s = wait_s
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @contextlib.asynccontextmanager
    async def taken(self, units: int) -> AsyncIterator[None]:
        """Hold so many units.

        Raises:
            Problem: 503, none became free in time.
        """
        await self._take(units)
        try:
            yield
        finally:
            self._free += units
            self._admit()

    async def _take(self, units: int) -> None:
        if not self._waiting and units <= self._free:
            self._free -= units
            return
        entry = (units, asyncio.get_running_loop().create_future())
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(self._wait_s):
                await entry[1]
        except BaseException as error:
            if entry in self._waiting:
                self._waiting.remove(entry)
            else:  # it was let in at the very moment
                self._free += units
            self._admit()
            if isinstance(error, TimeoutError):
                raise Problem(
                    503,
                    "overloaded",
                    "Too many requests with bodies are under way; try again.",
                    headers={"Retry-After": "2"},
                ) from None
            raise

    def _admit(self) -> None:
        while self._waiting and self._waiting[0][0] <= self._free:
            units, admitted = self._waiting.popleft()
            self._free -= units
            admitted.set_result(None)


@dataclass
class Rooms:
    """What all requests of a process share."""

    bodies: Room = field(default_factory=lambda: Room(ROOM_BYTES))
    files: Room = field(default_factory=lambda: Room(FILES))


class BoundedRequest(Request):
    """A request whose body is read within its route's bounds, once its caller may send it."""

    def __init__(self, scope: Scope, receive: Receive, rule: BodyRule) -> None:
        super().__init__(scope, receive)
        self.limit_bytes = rule.limit_bytes

    def declared_bytes(self) -> int:
        """How much may come: Content-Length, or the limit where none is given.

        Raises:
            Problem: 413, it is more than the route takes.
        """
        text = self.headers.get("content-length", "")
        declared = int(text) if text.isascii() and text.isdigit() and len(text) < 20 else None  # noqa: PLR2004 - far beyond any limit
        if declared is None:
            return self.limit_bytes if "transfer-encoding" in self.headers else 0
        if declared > self.limit_bytes:
            self._refuse_size()
        return declared

    async def stream(self) -> AsyncGenerator[bytes, None]:
        """Give the body piece by piece.

        Raises:
            Problem: 413 it is too large, 408 the next piece does not come.
        """
        pieces, received = super().stream(), 0
        while True:
            try:
                async with asyncio.timeout(PIECE_S):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise _too_slow() from None
            if piece is None:
                return
            received += len(piece)
            if received > self.limit_bytes:
                self._refuse_size()
            yield piece

    async def load(self, media_type: str, kind: Any) -> None:
        """Read the whole body, and its JSON, which says that it is of a type or plain.

        ``kind`` is what the route makes of it; it says which names may be told.

        Raises:
            Problem: 400, 408, 413, 415 or 422, with what is wrong with it.
        """
        try:
            async with asyncio.timeout(BODY_S):
                content = await self.body()
        except TimeoutError:
            raise _too_slow() from None
        except ClientDisconnect:
            raise Problem(400, "unreadable-request", "The body ended before its end.") from None
        if content:
            self._check_type(media_type)
            self._json = read_json(content, kind)

    def _check_type(self, media_type: str) -> None:
        given = self.headers.get("content-type", "").partition(";")[0].strip().lower()
        patches = {MERGE_PATCH} if self.method == "PATCH" else set()
        if given not in {JSON, media_type} | patches:
            headers = {"Accept-Patch": MERGE_PATCH} if patches else {}
            raise Problem(
                415, "unsupported-media-type", f"Send the body as {media_type}.", headers=headers
            )

    def _refuse_size(self) -> NoReturn:
        most = self.limit_bytes // 1024
        raise Problem(413, "too-large", f"A body may have {most} KiB at most here.")


def read_json(content: bytes, kind: Any = None) -> Any:
    """Parse a body that must be JSON which can be stored.

    Raises:
        Problem: 400 it is not JSON, 422 it holds what no store can keep (``storable``).
    """
    try:
        # Not orjson: it would read a whole number of more than 64 bits as another number.
        found = json.loads(content, parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise Problem(400, "invalid-json", "The body is not JSON.") from None
    try:
        storable.check(found)
        storable.check_text(found)
    except storable.NotStorableError as error:
        # Of what is nested too deep, the way to it says nothing and takes long to find.
        deep = isinstance(error, storable.TooDeepError)
        place = "body" if deep else known_place(kind, storable.place_of(found))
        raise not_storable(place, error) from None
    return found


def _no_number(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON")


def _too_slow() -> Problem:
    return Problem(408, "too-slow", "The body did not come in time.")

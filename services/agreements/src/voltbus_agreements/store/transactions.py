"""A piece of work in one MongoDB transaction, done again when it lost a write conflict."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, TypeVar

from pymongo.errors import DuplicateKeyError, OperationFailure

from voltbus_backbone.errors import Unavailable
from voltbus_backbone.mongo.store import transaction

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from motor.motor_asyncio import AsyncIOMotorClientSession

    from voltbus_backbone.mongo.store import Database, Reachable

T = TypeVar("T")

_TRIES = 12
_FIRST_PAUSE_S = 0.005
_LONGEST_PAUSE_S = 0.3


async def run_in_transaction(
    database: Database,
    reachable: Reachable,
    work: Callable[[AsyncIOMotorClientSession], Awaitable[T]],
) -> T:
    """Run ``work`` in a transaction and commit it; another writer in between makes it run again.

    Raises:
        Unavailable: MongoDB is away, or the conflicts did not end.
    """
    pause = _FIRST_PAUSE_S
    for left in reversed(range(_TRIES)):
        try:
            with reachable.watching():
                async with transaction(database) as session:
                    return await work(session)
        except DuplicateKeyError as error:  # two made the same guard or totals document
            if not left:
                raise Unavailable("too many writers at once") from error
        except Unavailable as error:
            if not left or not _is_conflict(error):
                raise
        # Spread, so that the same writers do not meet again.
        await asyncio.sleep(pause * random.uniform(0.5, 1.5))  # noqa: S311 - no secret
        pause = min(pause * 2, _LONGEST_PAUSE_S)
    raise AssertionError("the last try returns or raises")


def _is_conflict(error: Unavailable) -> bool:
    cause = error.__cause__  # a server that is away is no conflict: the caller tries again
    return isinstance(cause, OperationFailure) and cause.has_error_label(
        "TransientTransactionError"
    )

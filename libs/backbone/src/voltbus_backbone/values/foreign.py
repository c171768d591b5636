"""Reading bytes that a station or another system made: whatever a parser raises is a refusal.

Parsers raise more than they document (`cryptography` has five kinds of error that are no
ValueError, and one written in Rust may panic). A list of them is never complete, and what it lacks
ends a batch instead of one request. So each place that reads foreign bytes names its own refusal.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_PANIC = "PanicException"  # pyo3's; it is no Exception, and no module exports it


@contextmanager
def refuse_unreadable(refusal: Exception, *passing: type[Exception]) -> Iterator[None]:
    """Raise ``refusal`` in place of any exception of the block, but those of ``passing``.

    The block must do nothing but parse and look at what it parsed: libraries that parse lazily
    raise when a part is looked at, so what is used later is read here.
    """
    try:
        yield
    except passing:
        raise
    except Exception:  # noqa: BLE001 - see the module's text
        raise refusal from None
    except BaseException as error:
        if type(error).__name__ != _PANIC:
            raise
        raise refusal from None

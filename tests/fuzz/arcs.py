"""Which ways through some of our modules a run takes: pairs of lines, one after the other.

``sys.settrace`` and not ``sys.monitoring``: it is in every Python that we support.
"""

from __future__ import annotations

import sys
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import voltbus_gateway.domain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

# File, first line of the function, line before (0: it begins), line (0: it ends).
Arc = tuple[str, int, int, int]

DOMAIN = str(Path(voltbus_gateway.domain.__file__).parent)


@contextmanager
def watch(*places: str) -> Iterator[Counter[Arc]]:
    """The arcs that are taken inside, and how often each.

    ``places``: how the names of the files begin, the gateway's domain if none.
    """
    found: Counter[Arc] = Counter()
    before = sys.gettrace()
    sys.settrace(_tracer(found, places or (DOMAIN,)))
    try:
        yield found
    finally:
        sys.settrace(before)


def _tracer(found: Counter[Arc], places: tuple[str, ...]) -> Callable[[FrameType, str, Any], Any]:
    def trace_call(frame: FrameType, _event: str, _value: object) -> Any:
        code = frame.f_code
        name, first = code.co_filename, code.co_firstlineno
        if not name.startswith(places):
            return None
        last = 0

        def inside(frame: FrameType, event: str, _value: object) -> Any:
            nonlocal last
            line = frame.f_lineno if event == "line" else 0
            if event in {"line", "return"}:
                found[name, first, last, line] += 1
                last = line
            return inside

        return inside

    return trace_call

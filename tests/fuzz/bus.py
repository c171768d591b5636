"""Fuzzing the bus, led by coverage: what one record's bytes may do to whoever reads it.

As ``fuzz.guided`` does with frames: a record that takes a new way through reading, or is refused
for a new reason, is kept and varied. By hand, longer than a test may:
``PYTHONPATH=tests .venv/bin/python -m fuzz.bus --help``.
"""

from __future__ import annotations

import random
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog

import voltbus_backbone
from fuzz.arcs import watch
from fuzz.command_line import run_fuzzer
from fuzz.records_judged import Judge
from fuzz.records_made import Case, seeds, vary

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

EVERY = 2000  # runs from one line of progress to the next
NEWEST = 64  # records: half of all tries vary one of these
_HOME = str(Path(voltbus_backbone.__file__).parent)
WATCHED = (
    f"{_HOME}/envelope/",
    *(f"{_HOME}/{name}.py" for name in ("intake", "rpc", "dead_letters", "replies", "refusals")),
)


@dataclass
class Run:
    """What a run has seen, and the records that were the first to show it."""

    ways: set[Any] = field(default_factory=set)
    kept: list[Case] = field(default_factory=list)
    tried: int = 0
    broken: Case | None = None
    why: BaseException | None = None

    def __str__(self) -> str:
        """A line of progress."""
        return f"{self.tried} runs, {len(self.ways)} ways, {len(self.kept)} records kept"


def fuzz(
    runs: int,
    seed: int,
    *,
    judge: Callable[[], Judge] = Judge,
    progress: Callable[[Run], None] = lambda _: None,
) -> Run:
    """Try so many records, or until one is broken. The same seed tries the same records."""
    chance = random.Random(seed)  # noqa: S311 - a fuzzer's dice
    run = Run()
    judging = judge()
    with structlog.testing.capture_logs() as lines:
        for case in seeds():
            run.kept.append(case)
            _try(run, case, judging)
        while run.tried < runs and run.broken is None:
            near = run.kept[-NEWEST:] if chance.random() < 0.5 else run.kept
            case = vary(chance.choice(near), chance, run.kept)
            if _try(run, case, judging):
                run.kept.append(case)
            if run.tried % EVERY == 0:
                progress(run)
            lines.clear()
    return run


def _try(run: Run, case: Case, judge: Judge) -> bool:
    """Whether it took a way that no record took before."""
    before = len(run.ways)
    run.tried += 1
    reasons: Iterable[str] = ()
    try:
        with watch(*WATCHED) as arcs:
            reasons = judge.judge(case)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        run.broken, run.why = case, error
    run.ways.update((arc, often.bit_length()) for arc, often in arcs.items())
    run.ways.update(re.sub(r"\d+", "#", reason) for reason in reasons)
    return len(run.ways) > before


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and say what was found."""
    return run_fuzzer(
        fuzz,
        arguments,
        name="fuzz.bus",
        description="Give the bus's readers what anybody might write there, led by coverage.",
        cases="records",
    )


if __name__ == "__main__":
    raise SystemExit(main())

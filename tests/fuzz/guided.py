"""Fuzzing led by coverage: a case that takes a new way through the domain is kept and varied.

Ours, and not atheris: no release of it has wheels for every Python that we support (3.0 for 3.11 to
3.13, 3.1 for 3.12 to 3.14), so the lock could not name one, a new Python waits for the next, and a
test that some Pythons do not run is none. It also varies bytes, where a message is a tree.

By hand, longer than a test may: ``PYTHONPATH=tests .venv/bin/python -m fuzz.guided --help``.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from fuzz.arcs import watch
from fuzz.cases import Case, judge_case, seeds, vary
from fuzz.command_line import run_fuzzer
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.session.session import Session

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from fuzz.arcs import Arc

EVERY = 2000  # runs from one line of progress to the next
NEWEST = 64  # cases: half of all tries vary one of these


@dataclass
class Run:
    """What a run has seen, each version's apart, and the cases that were the first to show it.

    ``ways``: an arc taken once, 2 or 3 times, 4 to 7 times, ... within one case: how many things
    are under way makes a difference, also when no line is new.
    """

    ways: set[tuple[Protocol, Arc, int]] = field(default_factory=set)
    kept: dict[Protocol, list[Case]] = field(
        default_factory=lambda: {protocol: [] for protocol in Protocol}
    )
    tried: int = 0
    broken: Case | None = None
    why: BaseException | None = None

    def __str__(self) -> str:
        """A line of progress."""
        kept = sum(map(len, self.kept.values()))
        return f"{self.tried} runs, {self.arcs} arcs, {len(self.ways)} ways, {kept} cases kept"

    @property
    def arcs(self) -> int:
        """How many pairs of lines."""
        return len({(protocol, arc) for protocol, arc, _ in self.ways})


def fuzz(
    runs: int,
    seed: int,
    *,
    guided: bool = True,
    session: type[Session] = Session,
    progress: Callable[[Run], None] = lambda _: None,
) -> Run:
    """Try so many cases, or until one is broken. The same seed tries the same cases.

    Not guided, it varies nothing but the seeds: what to compare with.
    """
    chance = random.Random(seed)  # noqa: S311 - a fuzzer's dice
    run = Run()
    for case in seeds():
        run.kept[case.protocol].append(case)
        _try(run, case, session)
    versions = list(Protocol)
    while run.tried < runs and run.broken is None:
        known = run.kept[versions[run.tried % len(versions)]]
        near = known[-NEWEST:] if guided and chance.random() < 0.5 else known
        case = vary(chance.choice(near), chance, known)
        if _try(run, case, session) and guided:
            known.append(case)
        if run.tried % EVERY == 0:
            progress(run)
    return run


def _try(run: Run, case: Case, session: type[Session]) -> bool:
    """Whether it took a way that no case took before."""
    before = len(run.ways)
    run.tried += 1
    try:
        with watch() as arcs:
            judge_case(case, session)
    except Exception as error:  # noqa: BLE001 - whatever it is, it is what we look for
        run.broken, run.why = _shorter(case, session), error
    run.ways.update((case.protocol, arc, often.bit_length()) for arc, often in arcs.items())
    return len(run.ways) > before


def _shorter(case: Case, session: type[Session]) -> Case:
    """The broken case without the steps that it does not need."""
    for place in reversed(range(len(case.steps))):
        less = Case(case.protocol, case.steps[:place] + case.steps[place + 1 :])
        try:
            judge_case(less, session)
        except Exception:  # noqa: BLE001 - broken as before, or otherwise
            return _shorter(less, session)
    return case


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, and say what was found."""
    return run_fuzzer(
        fuzz,
        arguments,
        name="fuzz.guided",
        description="Give the gateway's session what a station might send, led by coverage.",
        cases="cases",
    )


if __name__ == "__main__":
    raise SystemExit(main())

"""The command line of both fuzzers: how many runs, which seed, and what was found."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


class Run(Protocol):
    """What a fuzzer has found: ``broken`` is the case that broke something, ``why`` its error."""

    @property
    def broken(self) -> Any: ...
    @property
    def why(self) -> Any: ...


def run_fuzzer(
    fuzz: Callable[..., Run],
    arguments: Sequence[str] | None,
    *,
    name: str,
    description: str,
    cases: str,
) -> int:
    """Run ``fuzz`` as the arguments say and return the exit code: 1 when something is broken."""
    parser = argparse.ArgumentParser(
        prog=f"python -m {name}",
        description=description,
        epilog=f"example: PYTHONPATH=tests .venv/bin/python -m {name} --runs 100000 --seed 7",
    )
    parser.add_argument("--runs", type=int, default=20_000, help=f"{cases} to try (%(default)s)")
    parser.add_argument("--seed", type=int, default=1, help=f"another one, other {cases}")
    options = parser.parse_args(arguments)

    def say(line: object) -> None:
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()

    run = fuzz(options.runs, options.seed, progress=say)
    say(run)
    if run.broken is None:
        say("Nothing is broken.")
        return 0
    say(f"Broken by {run.why!r}: {run.broken}")
    return 1

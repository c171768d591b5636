"""Coverage leads the fuzzer to what mutilated golden messages alone do not reach."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fuzz.cases import Act, Case, judge_case
from fuzz.guided import fuzz, main
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.session.session import Session

if TYPE_CHECKING:
    from voltbus_gateway.domain.session.effects import Effects

RUNS = 2000
SEED = 20260301


class Forgetful(Session):
    """Loses the calls that wait behind another, once an answer has come too late."""

    __slots__ = ()

    def receive(self, data: str | bytes, now: float) -> Effects:
        if self.counts["late_answer"] and self.current is not None:
            return ()
        return super().receive(data, now)


def test_whatever_happens_on_a_connection() -> None:
    """A13-A17: led by coverage, nothing breaks the session, and it takes more ways than without."""
    led = fuzz(RUNS, SEED)
    assert led.broken is None, f"{led.why!r}: {led.broken}"
    assert led.tried == RUNS
    assert len(led.ways) > len(fuzz(RUNS, SEED, guided=False).ways)


def test_the_same_seed_tries_the_same() -> None:
    """What one run finds, another finds again: the same ways, the same cases kept."""
    assert fuzz(600, SEED) == fuzz(600, SEED)


def test_a_fault_that_four_steps_lead_to_is_found() -> None:
    """A planted fault is found and told without the rest; as many blind tries miss it."""
    found = fuzz(6 * RUNS, SEED, session=Forgetful)
    assert found.broken is not None
    judge_case(found.broken)
    with pytest.raises(AssertionError):
        judge_case(found.broken, Forgetful)
    assert len(found.broken.steps) == 4
    assert fuzz(found.tried, SEED, guided=False, session=Forgetful).broken is None


def test_by_hand(capsys: pytest.CaptureFixture[str]) -> None:
    """CONTRIBUTING.md's longer run says how far it came, and that nothing broke."""
    assert main(["--runs", "2100", "--seed", "1"]) == 0
    progress, last, verdict = capsys.readouterr().out.splitlines()
    assert progress.startswith("2000 runs, ")
    assert last.startswith("2100 runs, ")
    assert verdict == "Nothing is broken."


def test_a_case_is_told_as_a_test_would_write_it() -> None:
    """What a run reports can be copied."""
    case = Case(Protocol.OCPP21, (Act.WAIT, "[2]", b"x"))
    assert eval(str(case)) == case  # noqa: S307 - our own text

"""What the guided fuzzer tries: steps of a station and of ours, and how a case is varied."""

from __future__ import annotations

import copy
import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, Any

from fuzz.frames_made import DEEP, GARBAGE, JUNK, PENDING, mutate, places, scratch, sound
from fuzz.judging import Judge
from voltbus_backbone.contract.values import Protocol
from voltbus_gateway.domain.session.session import Session
from voltbus_gateway.domain.wire.schemas import UNANSWERED, actions, preload

if TYPE_CHECKING:
    import random

MOST_STEPS = 12
MOST_BRACKETS = 200  # of a message that is varied as a tree: its depth at most
LONGEST = 20_000
IDS = ("1", "2", PENDING, "ours-2", "ours-3", "x" * 37)
ANSWERS: tuple[list[Any], ...] = (
    [3, PENDING, {"listVersion": 1}],
    [3, PENDING, {"versionNumber": 1, "customData": {"vendorId": "v", "more": [1]}}],
    [3, "ours-2", {"status": "Accepted"}],
    [3, "ours-3", {"status": "Accepted", "data": DEEP}],
    [4, PENDING, "NotImplemented", "no", {}],
    [5, PENDING, "FormatViolation", "no", {}],
)


class Act(StrEnum):
    """What happens on our side."""

    HANDLE = "HANDLE"  # the handlers finish the station's call
    ASK = "ASK"  # an operator wants another call made
    WAIT = "WAIT"  # time passes, until what is in flight is overdue

    def __repr__(self) -> str:
        """As a test would write it."""
        return f"Act.{self.name}"


Step = str | bytes | Act


@dataclass(frozen=True)
class Case:
    """One connection: what happens on it, in order."""

    protocol: Protocol
    steps: tuple[Step, ...]

    def __str__(self) -> str:
        """To be copied into a test."""
        return f"Case(Protocol.{self.protocol.name}, {self.steps!r})"


def judge_case(case: Case, session: type[Session] = Session) -> None:
    """Raise what is wrong with the session that this happens to."""
    judge = Judge(case.protocol, session)
    for step in case.steps:
        match step:
            case Act.HANDLE:
                judge.handle()
            case Act.ASK:
                judge.ask()
            case Act.WAIT:
                judge.wait()
            case _:
                judge.receive(step)
    judge.still_works()


@cache
def seeds() -> tuple[Case, ...]:
    """Where it begins: golden messages, every action's name, answers, garbage, acts of ours."""
    found: list[Case] = []
    for protocol in Protocol:
        preload(protocol)
        names = sorted(actions(protocol))
        frames: list[list[Any]] = [*ANSWERS, *([2, "1", name, {}] for name in names)]
        frames.append([2, "1", "DataTransfer", {"vendorId": "v", "data": DEEP}])
        for action, payload in sound(protocol):
            kind = 6 if action in UNANSWERED else 2
            frames.append([kind, "1", action, json.loads(payload)])
        steps: list[Step] = [*Act, *GARBAGE, *map(json.dumps, frames)]
        found += [Case(protocol, (step,)) for step in steps]
    return tuple(found)


def vary(case: Case, chance: random.Random, others: list[Case]) -> Case:
    """Another case of the same version, near to this one."""
    steps = list(case.steps)
    for _ in range(chance.choice((1, 1, 2, 4))):
        others_steps = chance.choice(others).steps
        place = chance.randrange(len(steps) + 1)
        match chance.randrange(8):
            case 0:  # the beginning of this one, the end of that one
                steps = [*steps[:place], *others_steps[chance.randrange(len(others_steps)) :]]
            case 1:
                steps.insert(place, chance.choice(others_steps))
            case 2:
                steps.insert(place, chance.choice(list(Act)))
            case 3:
                del steps[place : place + 1]
            case 4 if steps:
                steps.insert(place, chance.choice(steps))
            case _ if steps:
                place = chance.randrange(len(steps))
                step = _near(steps[place], chance, chance.choice(others_steps))
                steps[place] = step[:LONGEST] if not isinstance(step, Act) else step
    return Case(case.protocol, tuple(steps[:MOST_STEPS]) or (Act.HANDLE,))


def _near(step: Step, chance: random.Random, other: Step) -> Step:
    """A message that is changed in its structure where it has one, else in its bytes."""
    if isinstance(step, Act):
        return chance.choice(list(Act))
    frame, theirs = _frame(step), _frame(other)
    if frame is None or chance.random() < 0.2:
        return _change_bytes(step, chance)
    match chance.randrange(6):
        case 0:
            frame[1:2] = [chance.choice(IDS)]
        case 1:
            frame[0] = chance.choice((2, 3, 4, 5, 6, 7))
        case 2 if theirs is not None:
            _put(frame, chance, _at(theirs, chance.choice(places(theirs))))
        case 3:
            _put(frame, chance, chance.choice(JUNK))
        case 4 if theirs is not None and len(frame) > 2 and len(theirs) > 2:
            frame[2] = theirs[2]
        case _:
            frame = mutate(frame, chance)
    return json.dumps(frame)


def _frame(step: Step) -> list[Any] | None:
    """The message as a list with elements; None when it is none, or too deep to handle as such."""
    text = step.decode(errors="replace") if isinstance(step, bytes) else step
    if text.count("[") + text.count("{") > MOST_BRACKETS:
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) and found else None


def _at(frame: list[Any], place: tuple[Any, ...]) -> Any:
    found: Any = frame
    for key in place:
        found = found[key]
    return found


def _put(frame: list[Any], chance: random.Random, value: Any) -> None:
    """A value in the place of another."""
    place = chance.choice(places(frame))
    holder: Any = frame
    for key in place[:-1]:
        holder = holder[key]
    holder[place[-1]] = copy.deepcopy(value)


def _change_bytes(step: str | bytes, chance: random.Random) -> str | bytes:
    """A part is doubled or left out, or the text is scratched."""
    text = step if isinstance(step, str) else step.decode(errors="replace")
    if not text:
        return chance.choice(GARBAGE)
    begin = chance.randrange(len(text))
    end = chance.randrange(begin, min(len(text), begin + 64)) + 1
    match chance.randrange(4):
        case 0:
            return text[:begin] + text[end:]
        case 1:
            return text[:end] + text[begin:]
        case _:
            return scratch(text, chance)

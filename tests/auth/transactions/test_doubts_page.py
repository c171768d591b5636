"""docs/transactions.md explains every doubt that a transaction can have."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
ROOM = ROOT / "services/auth/src/voltbus_auth/transactions"
PAGE = (ROOT / "docs/transactions.md").read_text()
RAISED = re.compile(
    r'yield "(\w+)"|flags\.add\("(\w+)"\)|^(?:BACKWARDS|JUMP|UNIT|_UNCONFIRMED) = "(\w+)"',
    re.MULTILINE,
)


def raised() -> set[str]:
    """The doubts that the domain and the handlers raise."""
    texts = [
        (ROOM / name).read_text()
        for name in (
            "domain/account.py",
            "domain/review.py",
            "domain/record/folding.py",
            "handlers/bookkeeping.py",
        )
    ]
    return {word for text in texts for words in RAISED.findall(text) for word in words if word}


def test_every_doubt_is_explained() -> None:
    """Whoever bills finds each word in the table, which is sorted."""
    table = PAGE.split("## Doubts")[1].split("\n## ")[0]
    cells = re.findall(r"^\| (`.+?) \|", table, re.MULTILINE)
    words = [word for cell in cells for word in re.findall(r"`(\w+)`", cell)]
    assert len(raised()) >= 20
    assert raised() <= set(words)
    firsts = [re.findall(r"`(\w+)`", cell)[0] for cell in cells]
    assert firsts == sorted(firsts)

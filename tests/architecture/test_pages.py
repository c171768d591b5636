"""The pages to read: what they point at is there."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("deploy/**/*.md")])
LINK = re.compile(r"\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)


def anchors(page: Path) -> set[str]:
    """The anchors that Markdown renderers give a page's headings."""
    return {
        re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")
        for heading in HEADING.findall(page.read_text())
    }


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file or folder that exists, and a heading that it has."""
    dead = []
    for link in LINK.findall(page.read_text()):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (anchor and anchor not in anchors(target)):
            dead.append(link)
    assert dead == []


def test_the_verbs_that_pages_name_exist() -> None:
    """`make something` is a target of the Makefile wherever a page says so."""
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in PAGES:
        named = set(re.findall(r"`make ([a-z][a-z-]*)", page.read_text()))
        assert named <= targets, page.name


def test_every_verb_is_explained_to_contributors() -> None:
    """CONTRIBUTING.md tells what each documented verb is for."""
    makefile = (ROOT / "Makefile").read_text()
    verbs = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.MULTILINE))
    told = set(re.findall(r"`make ([a-z][a-z-]*)", (ROOT / "CONTRIBUTING.md").read_text()))
    assert verbs - told <= {"help", "install", "clean"}


@pytest.mark.parametrize(
    "path",
    re.findall(
        r"`((?:tests|libs|services|deploy|tools|docs)/[\w./-]+)`",
        (ROOT / "CONTRIBUTING.md").read_text(),
    ),
)
def test_the_places_that_the_recipes_name_exist(path: str) -> None:
    """A recipe that sends a newcomer to a missing file is worse than none."""
    made_by_the_recipe = path.startswith(("services/tariffs", "tests/tariffs"))
    assert made_by_the_recipe or (ROOT / path).exists()


def test_each_word_of_the_glossary_is_a_class() -> None:
    """A word whose class is gone would lead a newcomer nowhere."""
    page = (ROOT / "docs/glossary.md").read_text()
    named = re.findall(r"^\| .* \| `(voltbus_[\w.]+)` \|$", page, re.MULTILINE)
    assert len(named) == len(set(named)) >= 30
    for name in named:
        module, _, word = name.rpartition(".")
        assert isinstance(getattr(importlib.import_module(module), word), type), name

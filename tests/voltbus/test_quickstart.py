"""The broker's AOT cache: a gain that a start can do without."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from voltbus.embedded.folders import exclusive_or_not
from voltbus.embedded.progress import Quiet
from voltbus.embedded.quickstart import quick_start_cache

if TYPE_CHECKING:
    from pathlib import Path


class Noting(Quiet):
    """Remembers the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, sentence: str) -> None:
        """Remember."""
        self.notes.append(sentence)


@pytest.fixture
def broken_java(tmp_path: Path) -> Path:
    """A Java that only fails."""
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho no >&2\nexit 1\n", encoding="ascii")
    java.chmod(0o755)
    return java


@pytest.fixture
def classpath(tmp_path: Path) -> str:
    """Two jars that are not there."""
    folder = tmp_path / "kafka"
    folder.mkdir()
    return f"{folder / 'a.jar'}{os.pathsep}{folder / 'b.jar'}"


async def test_when_it_cannot_be_made_it_is_tried_once(
    tmp_path: Path, broken_java: Path, classpath: str
) -> None:
    """The start goes on without; the next one does not spend the time again."""
    seen = Noting()
    assert await quick_start_cache(broken_java, classpath, seen) is None
    assert await quick_start_cache(broken_java, classpath, seen) is None
    assert len(seen.notes) == 1
    assert not (tmp_path / "kafka" / "quick-start").exists()


async def test_a_start_does_not_wait_for_another_that_makes_it(
    tmp_path: Path, broken_java: Path, classpath: str
) -> None:
    """It does without, this once."""
    seen = Noting()
    with exclusive_or_not(tmp_path / "kafka" / "quick-start.lock") as ours:
        assert ours
        assert await quick_start_cache(broken_java, classpath, seen) is None
    assert seen.notes == []


async def test_one_that_is_there_is_used(tmp_path: Path, broken_java: Path, classpath: str) -> None:
    """And not made again; one of another Java's release is another file."""
    assert await quick_start_cache(broken_java, classpath, Noting()) is None
    (failed,) = (tmp_path / "kafka").glob("*.failed")
    made = failed.with_suffix(".aot")
    made.write_bytes(b"classes")
    assert await quick_start_cache(broken_java, classpath, Noting()) == made
    broken_java.write_bytes(b"#!/bin/sh\n# another release\nexit 1\n")  # noqa: ASYNC240 - a test of one file
    assert await quick_start_cache(broken_java, classpath, Noting()) is None

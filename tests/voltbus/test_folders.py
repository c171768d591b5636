"""The home of a stack: held by one, ours to empty, safe after a crash."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from voltbus.embedded.folders import LOCK, Home, default_home, running_stack, write_private
from voltbus.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from pathlib import Path
from voltbus.embedded.folders import Home
Home(Path(sys.argv[1])).acquire()
print("held", flush=True)
sys.stdin.read()
"""


def hold_elsewhere(home: Path) -> subprocess.Popen[str]:
    """Another process that holds this home until its input ends or it is killed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(home)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_two_stacks_in_one_home_are_refused(tmp_path: Path) -> None:
    """The second is told at once who holds the home, and of --home."""
    with hold_elsewhere(tmp_path) as other:
        with pytest.raises(CommandError, match=rf"process {other.pid}\) uses .*--home"):
            Home(tmp_path).acquire()
        other.communicate("")


def test_the_lock_of_a_killed_stack_is_taken_over(tmp_path: Path) -> None:
    """The kernel drops a dead process's lock; its number in the file means nothing."""
    with hold_elsewhere(tmp_path) as other:
        other.kill()
        other.communicate()
    home = Home(tmp_path)
    home.acquire()
    assert (tmp_path / LOCK).read_text() == str(os.getpid())
    home.release()


def test_a_killed_stacks_children_are_waited_for(tmp_path: Path) -> None:
    """While a child of a dead run still holds the lock, its data are not opened a second time."""
    home = Home(tmp_path)
    home.acquire()
    child = subprocess.Popen(
        [sys.executable, "-c", "import sys; sys.stdin.read()"],
        stdin=subprocess.PIPE,
        pass_fds=(home.lock_descriptor,),
    )
    with child:
        home.release()  # as if we had died: the child's copy of the lock lives on
        with pytest.raises(CommandError, match="process unknown"):
            Home(tmp_path).acquire(patience=0.1)
        child.communicate(b"")
    again = Home(tmp_path)
    again.acquire()
    again.release()


def test_emptying_removes_only_what_a_stack_makes(tmp_path: Path) -> None:
    """--fresh takes data, keys and logs; a stranger's file stays."""
    home = Home(tmp_path)
    home.acquire()
    home.folder("mongod", "data")
    home.folder("logs")
    write_private(home.path / "mongo-users.json", b"{}")
    (tmp_path / "notes.txt").write_text("mine")
    home.empty()
    assert {entry.name for entry in tmp_path.iterdir()} == {LOCK, "notes.txt"}
    home.release()


def test_a_folder_of_somebody_elses_is_refused(tmp_path: Path) -> None:
    """`--home ~ --fresh` must not touch a thing."""
    (tmp_path / "photos").mkdir()
    with pytest.raises(CommandError, match="not a stack's"):
        Home(tmp_path).acquire()
    assert [entry.name for entry in tmp_path.iterdir()] == ["photos"]


def test_a_home_that_cannot_be_made_is_a_sentence(tmp_path: Path) -> None:
    """A file in the way is told as such, with --home."""
    (tmp_path / "file").write_text("")
    with pytest.raises(CommandError, match=r"cannot be used as the home: .*--home"):
        Home(tmp_path / "file").acquire()


def test_a_private_file_is_written_whole_and_for_its_owner(tmp_path: Path) -> None:
    """No moment with a wider mode, no temporary file left."""
    target = tmp_path / "keys" / "secret"
    write_private(target, b"first")
    write_private(target, b"second", mode=0o400)
    assert target.read_bytes() == b"second"
    assert target.stat().st_mode & 0o777 == 0o400
    assert [entry.name for entry in target.parent.iterdir()] == ["secret"]


def test_a_running_stack_is_found_by_its_home(tmp_path: Path) -> None:
    """Other commands find addresses and token in the home while its stack lives, not after."""
    with hold_elsewhere(tmp_path) as other:
        write_private(tmp_path / "stack.json", json.dumps({"kafka": "127.0.0.1:9"}).encode())
        assert running_stack(tmp_path) == {"kafka": "127.0.0.1:9"}
        other.kill()
        other.communicate()
    assert running_stack(tmp_path) is None


def test_no_stack_in_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """An absent home is no error."""
    assert running_stack(tmp_path / "nowhere") is None


def test_the_cache_can_be_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """VOLTBUS_CACHE, then XDG_CACHE_HOME, then ~/.cache."""
    monkeypatch.delenv("VOLTBUS_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_home() == tmp_path / "voltbus" / "home"
    monkeypatch.setenv("VOLTBUS_CACHE", str(tmp_path / "mine"))
    assert default_home() == tmp_path / "mine" / "home"

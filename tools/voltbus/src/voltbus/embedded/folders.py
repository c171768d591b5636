"""Where the stack keeps its things: the cache of fetched jars, and one home per stack."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from voltbus.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LOCK = "voltbus.lock"
# What a stack makes in its home, and thus all that `--fresh` removes.
CONTENTS = ("mongod", "kafka", "keys", "certificates", "logs", "mongo-users.json", "stack.json")


def cache_folder() -> Path:
    """Where fetched files live, shared by all homes: VOLTBUS_CACHE, or the user's cache folder."""
    if chosen := os.environ.get("VOLTBUS_CACHE"):
        return Path(chosen)
    user_cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(user_cache) / "voltbus"


def default_home() -> Path:
    """The home of `voltbus up` when none is named."""
    return cache_folder() / "home"


class Home:
    """One stack's folder, held by one stack at a time.

    The lock is the kernel's (flock), so a dead process holds nothing. Its descriptor is handed to
    the children too: while one of a killed run is still ending, its data are not opened again.
    """

    def __init__(self, folder: Path) -> None:
        """Name the folder; nothing is touched before `acquire`."""
        self.path = folder.expanduser().absolute()
        self._lock: int | None = None

    @property
    def lock_descriptor(self) -> int:
        """The open lock, for children to inherit; only after `acquire`."""
        if self._lock is None:
            raise RuntimeError("the home is not held")
        return self._lock

    def acquire(self, patience: float = 10.0) -> None:
        """Make the folder where needed and take its lock.

        Waits `patience` seconds only for what is left of a dead run; a living one is an error.
        """
        self._make()
        descriptor = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        deadline = time.monotonic() + patience
        while not _try_lock(descriptor):
            holder = _read_holder(descriptor)
            if _is_alive(holder) or time.monotonic() > deadline:
                os.close(descriptor)
                raise CommandError(
                    f"Another stack (process {holder or 'unknown'}) uses {self.path}: stop it "
                    "first, or give this one another folder with --home."
                )
            time.sleep(0.05)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        self._lock = descriptor

    def release(self) -> None:
        """Give the lock back; the file stays, for it marks the folder as ours."""
        if self._lock is not None:
            os.ftruncate(self._lock, 0)
            os.close(self._lock)
            self._lock = None

    def empty(self) -> None:
        """Remove what a stack made here, and nothing else."""
        for name in CONTENTS:
            entry = self.path / name
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink(missing_ok=True)

    def folder(self, *names: str) -> Path:
        """A folder in the home, readable by its owner only, made where needed."""
        path = self.path.joinpath(*names)
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return path

    def _make(self) -> None:
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            entries = {entry.name for entry in self.path.iterdir()}
        except OSError as error:
            raise CommandError(
                f"{self.path} cannot be used as the home: {error.strerror}. Choose a folder that "
                "you may write to with --home."
            ) from None
        if entries and LOCK not in entries:
            raise CommandError(
                f"{self.path} holds files that are not a stack's: choose an empty or a new folder "
                "with --home."
            )


def write_private(path: Path, content: bytes, mode: int = 0o600) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).chmod(mode)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def running_stack(home: Path) -> dict[str, Any] | None:
    """What the stack that runs in this home printed with `--json`, or None when none runs."""
    try:
        found: dict[str, Any] = json.loads((home / "stack.json").read_bytes())
        with (home / LOCK).open("rb") as lock:
            holder = _read_holder(lock.fileno())
    except (OSError, ValueError):
        return None
    return found if _is_alive(holder) else None


@contextlib.contextmanager
def exclusive(
    lock: Path, on_wait: Callable[[], None], *, give_up: Callable[[], bool]
) -> Iterator[None]:
    """Hold a lock file; calls `on_wait` once when another process has it.

    Raises CommandError when `give_up` answers True while waiting.
    """
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        waited = False
        while not _try_lock(descriptor):
            if give_up():
                raise CommandError(f"Gave up waiting for {lock}.")
            if not waited:
                waited = True
                on_wait()
            time.sleep(0.1)
        yield
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive_or_not(lock: Path) -> Iterator[bool]:
    """Try to hold a lock file: yields whether it is ours, without waiting."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        yield _try_lock(descriptor)
    finally:
        os.close(descriptor)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _read_holder(descriptor: int) -> int | None:
    try:
        return int(os.pread(descriptor, 32, 0))
    except ValueError:
        return None


def _is_alive(pid: int | None) -> bool:
    if pid is None:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True

"""Kafka's jars: pinned one by one with their SHA-256, fetched once, shared by all homes.

`kafka.lock.json` beside this module is the outcome of a resolution by jgo's Python resolver
(`python -m voltbus.embedded.relock` makes it anew). A start reads only this file: it resolves
nothing, and when the cache holds the jars it needs no network.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING, Any

from voltbus.embedded.folders import exclusive
from voltbus.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from voltbus.embedded.progress import Reporter

FETCHERS = 6
TIMEOUT = 20  # seconds without an answer or a byte from the repository


@dataclass(frozen=True, slots=True)
class Jar:
    """One pinned file: Maven coordinate `group:artifact:version`, SHA-256 in hex, size in bytes."""

    coordinate: str
    sha256: str
    size: int

    @property
    def filename(self) -> str:
        """The file's name in the class path folder."""
        _group, artifact, version = self.coordinate.split(":")
        return f"{artifact}-{version}.jar"


class FetchCancelledError(Exception):
    """The start was given up while files were being fetched."""


def pinned_jars() -> tuple[Jar, ...]:
    """The jars of the broker in the order of the lock file."""
    text = resources.files("voltbus.embedded").joinpath("kafka.lock.json").read_bytes()
    return tuple(Jar(**entry) for entry in json.loads(text)["jars"])


def fetch_classpath(
    cache: Path,
    reporter: Reporter,
    cancelled: threading.Event | None = None,
    jars: Sequence[Jar] | None = None,
) -> str:
    """The Java class path of the broker, fetched first where a jar is not in the cache.

    Blocking: call it in a thread. Two starts at once do not collide: the second waits.
    """
    jars = jars or pinned_jars()
    cancelled = cancelled or threading.Event()
    folder = cache / _folder_name(jars)
    if _missing(folder, jars):

        def say() -> None:
            reporter.note("Another start is fetching Kafka; waiting for it ...")

        with exclusive(cache / "fetch.lock", say, give_up=cancelled.is_set):
            missing = _missing(folder, jars)
            if missing:
                _fetch(folder, missing, reporter, cancelled)
    return ":".join(str(folder / jar.filename) for jar in jars)


def _folder_name(jars: Sequence[Jar]) -> str:
    """A name that changes with any pin, so that versions live side by side."""
    digest = hashlib.sha256("\n".join(jar.sha256 for jar in jars).encode()).hexdigest()
    return f"kafka-{digest[:12]}"


def _missing(folder: Path, jars: Sequence[Jar]) -> list[Jar]:
    """What is not there. A jar is moved to its place only when verified, so its size suffices."""
    return [jar for jar in jars if not _has_size(folder / jar.filename, jar.size)]


def _has_size(path: Path, size: int) -> bool:
    try:
        return path.stat().st_size == size
    except FileNotFoundError:
        return False


def _fetch(
    folder: Path, jars: Sequence[Jar], reporter: Reporter, cancelled: threading.Event
) -> None:
    import requests  # noqa: PLC0415 - only a first start fetches; the others do not pay for it

    folder.mkdir(parents=True, exist_ok=True)
    for stale in folder.glob("*.aot"):  # Java compares its cache with the jars' times
        stale.unlink()
    staging = folder / "staging"
    shutil.rmtree(staging, ignore_errors=True)  # what an interrupted fetch left is not trusted
    total = sum(jar.size for jar in jars)
    title = f"Fetching Apache Kafka ({len(jars)} jars, once)"
    try:
        with (
            reporter.fetching(title, total) as advance,
            ThreadPoolExecutor(FETCHERS, thread_name_prefix="fetch") as pool,
        ):
            context = _maven_context(staging, advance, cancelled)
            jobs = [pool.submit(_fetch_one, context, jar, folder) for jar in jars]
            try:
                for job in jobs:
                    job.result()
            except BaseException:
                cancelled.set()  # the other fetches end at their next chunk
                pool.shutdown(cancel_futures=True)
                raise
    except (requests.RequestException, RuntimeError) as error:
        raise CommandError(
            f"Kafka's jars could not be fetched ({_in_short(error)}). The first start needs a "
            "network with a Maven repository (name a mirror in ~/.config/jgo.conf); or use a "
            "broker that you have with --kafka HOST:PORT."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _maven_context(
    staging: Path, advance: Callable[[int], None], cancelled: threading.Event
) -> Any:
    """Jgo's view of the Maven repositories, its downloads counted and cancellable."""
    # Imported here because only a first start fetches; the others do not pay for it.
    from jgo.config import GlobalSettings  # noqa: PLC0415 - see above
    from jgo.constants import MAVEN_CENTRAL_URL  # noqa: PLC0415 - see above
    from jgo.maven import MavenContext, PythonResolver  # noqa: PLC0415 - see above

    def count(size: int) -> None:
        if cancelled.is_set():
            raise FetchCancelledError
        advance(size)

    @contextmanager
    def watch(_filename: str, _size: int) -> Iterator[Callable[[int], None]]:
        count(0)
        yield count

    return MavenContext(
        resolver=PythonResolver(progress_callback=watch),
        repo_cache=staging,
        remote_repos={"central": MAVEN_CENTRAL_URL, **GlobalSettings.load().repositories},
        timeout=TIMEOUT,
    )


def _fetch_one(context: Any, jar: Jar, folder: Path) -> None:
    group, artifact, version = jar.coordinate.split(":")
    fetched: Path = context.project(group, artifact).at_version(version).artifact().resolve()
    digest = hashlib.sha256(fetched.read_bytes()).hexdigest()
    if digest != jar.sha256:
        raise CommandError(
            f"{jar.filename} came with other content than the pinned one (SHA-256 {digest[:12]}… "
            f"instead of {jar.sha256[:12]}…): it was not used. Check the Maven mirror."
        )
    fetched.replace(folder / jar.filename)


def _in_short(error: Exception) -> str:
    """The kind of the error without addresses: what is in its text may be a page long."""
    return type(error).__name__ if type(error) is not RuntimeError else "a jar was not found"

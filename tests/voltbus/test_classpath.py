"""Fetching Kafka's jars: pinned, shared, verified, and only once."""

from __future__ import annotations

import gc
import hashlib
import http.server
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from voltbus.embedded.classpath import FetchCancelledError, Jar, fetch_classpath, pinned_jars
from voltbus.embedded.progress import Quiet
from voltbus.embedded.relock import COORDINATES
from voltbus.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator

# jgo leaves the connection of a download that failed to the garbage collector.
pytestmark = pytest.mark.filterwarnings(
    "ignore:unclosed <socket:ResourceWarning",
    "ignore:Exception ignored in. <socket:pytest.PytestUnraisableExceptionWarning",
)

FILES = {
    "/org/example/one/1.0/one-1.0.jar": b"first jar" * 5000,
    "/org/example/two/2.0/two-2.0.jar": b"second jar" * 5000,
}


class Repository(http.server.ThreadingHTTPServer):
    """A Maven repository on loopback that counts what is asked of it."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        super().__init__(("127.0.0.1", 0), RepositoryHandler)


class RepositoryHandler(http.server.BaseHTTPRequestHandler):
    """Serves FILES."""

    server: Repository

    def do_GET(self) -> None:
        """Answer with the file, or 404 as for checksums that are not there."""
        content = FILES.get(self.path)
        if content is not None:
            self.server.asked.append(self.path)
        self.send_response(404 if content is None else 200)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, *_: object) -> None:
        """Stay silent."""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    """The mirror that jgo's own configuration file names, as an operator would."""
    gc.freeze()  # what was there before is none of our garbage: collecting is quick
    server = Repository()
    config = tmp_path / "jgo.conf"
    config.write_text(
        f"[repositories]\ncentral = http://127.0.0.1:{server.server_port}\n", encoding="utf-8"
    )
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()
    gc.collect()  # see pytestmark
    gc.unfreeze()


def jars(**wrong: str) -> tuple[Jar, ...]:
    """The pins of FILES; an artifact named in `wrong` has that SHA-256 instead."""
    pins = []
    for path, content in FILES.items():
        _empty, org, example, artifact, version, _name = path.split("/")
        digest = wrong.get(artifact) or hashlib.sha256(content).hexdigest()
        pins.append(Jar(f"{org}.{example}:{artifact}:{version}", digest, len(content)))
    return tuple(pins)


class Counting(Quiet):
    """Remembers what a person would have seen."""

    def __init__(self) -> None:
        self.total = self.came = 0

    @contextmanager
    def fetching(self, title: str, total: int) -> Iterator:  # type: ignore[type-arg]
        """Count the bytes."""
        assert "Kafka" in title
        self.total = total

        def advance(count: int) -> None:
            self.came += count

        yield advance


def test_every_jar_is_fetched_once_and_counted(repository: Repository, tmp_path: Path) -> None:
    """The first start shows all bytes; the second asks nobody."""
    seen = Counting()
    first = fetch_classpath(tmp_path / "cache", seen, jars=jars())
    assert seen.came == seen.total == sum(map(len, FILES.values()))
    assert [Path(path).read_bytes() for path in first.split(":")] == list(FILES.values())
    again = fetch_classpath(tmp_path / "cache", Counting(), jars=jars())
    assert again == first
    assert sorted(repository.asked) == sorted(FILES)


@pytest.mark.usefixtures("repository")
def test_another_content_than_the_pinned_one_is_not_used(tmp_path: Path) -> None:
    """A mirror that serves something else is found out by SHA-256, whatever it says of itself."""
    with pytest.raises(CommandError, match=r"two-2.0.jar came with other content"):
        fetch_classpath(tmp_path / "cache", Quiet(), jars=jars(two="0" * 64))
    assert not list((tmp_path / "cache").rglob("two*.jar"))


def test_after_an_interrupted_fetch_only_the_rest_is_fetched(
    repository: Repository, tmp_path: Path
) -> None:
    """What was verified stays, what was half there does not."""
    path = fetch_classpath(tmp_path / "cache", Quiet(), jars=jars())
    one, two = map(Path, path.split(":"))
    two.write_bytes(two.read_bytes()[:10])
    (one.parent / "staging").mkdir()
    repository.asked.clear()
    fetch_classpath(tmp_path / "cache", Quiet(), jars=jars())
    assert repository.asked == ["/org/example/two/2.0/two-2.0.jar"]
    assert two.read_bytes() == FILES[repository.asked[0]]
    assert not (one.parent / "staging").exists()


def test_two_starts_at_once_fetch_once(repository: Repository, tmp_path: Path) -> None:
    """The second waits for the first's lock and then finds everything."""
    found: list[str] = []
    starts = [
        threading.Thread(
            target=lambda: found.append(fetch_classpath(tmp_path / "c", Quiet(), jars=jars()))
        )
        for _ in range(2)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join(timeout=20)
    assert len(found) == 2
    assert sorted(repository.asked) == sorted(FILES)


@pytest.mark.usefixtures("repository")
def test_a_start_that_is_given_up_stops_fetching(tmp_path: Path) -> None:
    """Ctrl-C while something is fetched does not wait for its end."""
    cancelled = threading.Event()
    cancelled.set()
    with pytest.raises(FetchCancelledError):
        fetch_classpath(tmp_path / "cache", Quiet(), cancelled, jars=jars())


@pytest.mark.usefixtures("repository")
def test_a_jar_that_is_nowhere_is_a_sentence_with_two_ways_out(tmp_path: Path) -> None:
    """A mirror without the jar: name another, or use a broker that exists."""
    absent = Jar("org.example:three:3.0", "0" * 64, 1)
    with pytest.raises(CommandError, match=r"mirror in .*jgo.conf.*--kafka HOST:PORT"):
        fetch_classpath(tmp_path / "cache", Quiet(), jars=[absent])


def test_no_network_is_a_sentence_too(
    repository: Repository, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A repository that refuses the connection."""
    config = tmp_path / "elsewhere.conf"
    config.write_text("[repositories]\ncentral = http://127.0.0.1:9\n", encoding="utf-8")
    monkeypatch.setenv("JGO_CONFIG_FILE", str(config))
    with pytest.raises(CommandError, match=r"could not be fetched \(ConnectionError\)"):
        fetch_classpath(tmp_path / "cache", Quiet(), jars=jars())
    assert repository.asked == []


def test_the_pins_hold_what_the_broker_was_tried_with() -> None:
    """Each coordinate of the resolution is pinned in that version, once, with a full SHA-256."""
    pinned = {jar.coordinate: jar for jar in pinned_jars()}
    assert set(COORDINATES) <= set(pinned)
    assert len({jar.filename for jar in pinned.values()}) == len(pinned_jars())
    assert all(len(jar.sha256) == 64 and jar.size > 0 for jar in pinned.values())

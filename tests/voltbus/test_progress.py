"""What a person sees of a start."""

from __future__ import annotations

import io

from voltbus.embedded.progress import OnStream, Quiet


def test_a_fetch_without_a_terminal_is_a_line_per_tenth() -> None:
    """A log of CI shows how far it is, and not a thousand lines."""
    stream = io.StringIO()
    with OnStream(stream).fetching("Fetching Kafka", 10_000_000) as advance:
        for _ in range(1000):
            advance(10_000)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "Fetching Kafka: 10 MB ..."
    assert lines[-1] == "Fetching Kafka: 10 of 10 MB"
    assert len(lines) == 11


def test_on_a_terminal_it_is_a_bar() -> None:
    """With title, sizes and the whole at the end."""

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    stream = Terminal()
    with OnStream(stream).fetching("Fetching Kafka", 2_000_000) as advance:
        advance(2_000_000)
    assert "Fetching Kafka" in stream.getvalue()
    assert "2.0/2.0 MB" in stream.getvalue()


def test_quiet_is_quiet() -> None:
    """For tests and benchmarks."""
    with Quiet().fetching("anything", 1) as advance:
        advance(1)
    Quiet().note("anything")

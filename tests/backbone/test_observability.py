"""What reaches the log: our lines and libraries', as JSON, without values."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
from voltbus_backbone.observability import log_to_stderr
log_to_stderr("info", service="auth", instance="auth-1")
{}
"""


def lines(code: str) -> list[dict[str, object]]:
    """What a process that logs as our services do writes on standard error."""
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(code)], capture_output=True, text=True, check=True
    )
    return [json.loads(line) for line in ran.stderr.splitlines()]


def test_a_library_that_logs_a_traceback_gives_one_json_line_without_its_text() -> None:
    """An exception's text may quote a card or a password; uvicorn logged it whole (CWE-532)."""
    (line,) = lines(
        "try:\n"
        "    raise ValueError('DEADBEEF')\n"
        "except ValueError:\n"
        "    logging.getLogger('uvicorn.error').exception('Exception in ASGI application\\n')\n"
    )
    assert line["error"] == "ValueError"
    assert line["event"] == "Exception in ASGI application"
    assert line["library"] == "uvicorn.error"
    assert line["service"] == "auth"
    assert "DEADBEEF" not in json.dumps(line)


def test_a_library_s_values_stay_out() -> None:
    """The template of a message is kept, what it would be filled with is not."""
    (line,) = lines("logging.getLogger('asyncio').error('Task %r failed', 'DEADBEEF')")
    assert line["event"] == "Task %r failed"
    assert "DEADBEEF" not in json.dumps(line)


def test_a_message_that_does_not_fit_its_values_is_a_line_all_the_same() -> None:
    """Logging itself would print a traceback with the values."""
    (line,) = lines("logging.getLogger('asyncio').error('%d of %d', 'DEADBEEF')")
    assert line["level"] == "error"
    assert "DEADBEEF" not in json.dumps(line)

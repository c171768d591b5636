"""What is to be created, from a file: one JSON object, or several in a list or one a line."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

from voltbus.errors import CommandError

if TYPE_CHECKING:
    from pathlib import Path

LARGEST_BYTES = 16 * 1024 * 1024


def read_bodies(file: Path) -> list[dict[str, Any]]:
    """Read the objects in a file (``-``: stdin). Raises CommandError; no content is repeated."""
    try:
        content = sys.stdin.read() if str(file) == "-" else _content(file)
    except OSError as error:
        raise CommandError(f"{file} can't be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise CommandError(f"{file} is not UTF-8 text.") from None
    try:
        found = _parsed(content)
    except (ValueError, RecursionError):
        raise CommandError(f"{file} is not JSON: one object, a list, or one object a line.") from (
            None
        )
    if not found or not all(isinstance(one, dict) for one in found):
        raise CommandError(f"{file} holds no JSON objects.")
    return found


def _content(file: Path) -> str:
    if file.stat().st_size > LARGEST_BYTES:
        raise CommandError(f"{file} has more than 16 MiB: split it.")
    return file.read_text(encoding="utf-8")


def _parsed(content: str) -> list[Any]:
    try:
        whole = json.loads(content)
    except ValueError:
        return [json.loads(line) for line in content.splitlines() if line.strip()]
    return whole if isinstance(whole, list) else [whole]

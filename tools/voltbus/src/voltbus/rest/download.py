"""A long answer written piece by piece: to stdout, or into a file that only its owner can read."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TYPE_CHECKING, BinaryIO

from voltbus.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def download(pieces: Iterator[bytes], out: Path | None) -> None:
    """Write the pieces. A refusal leaves no empty file behind. Raises CommandError."""
    first = next(pieces, b"")
    with _private(out) if out is not None else contextlib.nullcontext(_stdout()) as target:
        target.write(first)
        for piece in pieces:
            target.write(piece)
        target.flush()


def _stdout() -> BinaryIO:
    return sys.stdout.buffer


@contextlib.contextmanager
def _private(path: Path) -> Iterator[BinaryIO]:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror}.") from None
    with os.fdopen(descriptor, "wb") as file:
        yield file

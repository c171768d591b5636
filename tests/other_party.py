"""A party of another company as a process on loopback: what it serves, and how it is started.

Its script ends in ``serve(Handler)``; a test starts it with ``running("-m", module, folder)``.
"""

from __future__ import annotations

import asyncio
import sys
from abc import ABC, abstractmethod
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_TESTS = Path(__file__).parent


class Handler(BaseHTTPRequestHandler, ABC):
    """One request to a party whose words are the files of a folder."""

    folder: ClassVar[Path]
    content_type: ClassVar[str]

    def do_POST(self) -> None:
        """Take what is sent."""
        self.take(self.rfile.read(int(self.headers["Content-Length"])))

    @abstractmethod
    def take(self, body: bytes) -> None:
        """Answer the body of a POST."""

    def stay_silent(self) -> None:
        """Wait until the asker hangs up."""
        self.rfile.read(1)

    def answer(self, status: int, content: bytes) -> None:
        """Answer; a redirection (302) leads elsewhere at this party."""
        self.send_response(status)
        self.send_header("Content-Type", self.content_type)
        self.send_header("Content-Length", str(len(content)))
        if status == 302:
            self.send_header("Location", f"http://{self.headers['Host']}/elsewhere")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def serve(handler: type[Handler]) -> None:
    """Serve the folder that is named on the command line; the port is all that is printed."""
    handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()


@asynccontextmanager
async def running(*arguments: str, deadline_s: float = 60) -> AsyncIterator[str]:
    """Python with these arguments, until the end of the block; the first line that it prints."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, *arguments, cwd=_TESTS, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(deadline_s):
            line = await process.stdout.readline()
        yield line.decode().strip()
    finally:
        process.kill()
        await process.wait()

"""A service's HTTP side as a process of its own, for tests that look at its sockets and memory.

    python -m backbone.rest_server <public key file> <most connections> [<setting>=<seconds> ...]

Prints its port, then serves until it is killed. Settings shorten the server's time limits.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import sys
from pathlib import Path
from typing import Any

import uvloop

from voltbus_backbone.rest import Router, bodies, build_app, include, scope, server
from voltbus_backbone.rest.access import Operators
from voltbus_backbone.settings import ServiceSettings

router = Router()


@router.post("/v1/things", dependencies=[scope("things:write")])
async def make(body: dict[str, Any]) -> int:
    """Take a body, and tell how many members it has."""
    return len(body)


@router.get("/v1/things", dependencies=[scope("things:read")])
async def things() -> dict[str, str]:
    """Answer whoever may read."""
    return {"ok": "yes"}


@router.get("/v1/long", dependencies=[scope("things:read")])
async def long() -> str:
    """Answer with more than sockets buffer."""
    return "x" * 64 * 1024 * 1024


async def serve(key: Path, most: int) -> None:
    """Listen on a free port of loopback."""
    settings = ServiceSettings(http_port=0, operator_key_file=key)
    app = build_app("test", Operators(settings), lambda: {"test": True})
    include(app, [router], None)
    listener = socket.create_server(("127.0.0.1", 0))
    sys.stdout.write(f"{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    gc.freeze()
    await server.make_server(app, most_connections=most).serve(sockets=[listener])


def shorten(settings: list[str]) -> None:
    """Set time limits, which are constants of the modules, for this process."""
    for setting in settings:
        name, _, seconds = setting.partition("=")
        module = server if hasattr(server, name) else bodies
        assert hasattr(module, name), name
        setattr(module, name, float(seconds))


if __name__ == "__main__":
    shorten(sys.argv[3:])
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(Path(sys.argv[1]), int(sys.argv[2])))

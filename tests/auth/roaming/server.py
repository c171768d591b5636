"""A real roaming partner as a process on loopback: ``python server.py FOLDER``.

FOLDER holds ``says.json``: by token uid either one of ``WORDS`` or an AuthorizationInfo without its
token's uid; a token that is not named is unknown (HTTP 404). It is read anew for each request. The
port is the only line on standard output; what was asked goes to ``asked.ndjson``.
"""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

# broken: HTTP 500. moved: HTTP 302. garbage: no JSON. other: JSON of another shape. unknown and
# undecided: OCPI status codes 2004 and 2002. huge: more than anybody reads. hung_up: the socket is
# closed. silent: nothing, until the asker hangs up.
WORDS = (
    "broken",
    "moved",
    "garbage",
    "other",
    "unknown",
    "undecided",
    "huge",
    "hung_up",
    "silent",
)
_CODES = {"unknown": 2004, "undecided": 2002}


def envelope(data: Any, code: int = 1000) -> bytes:
    """OCPI's envelope."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    body = {"status_code": code, "status_message": "", "timestamp": now}
    return json.dumps({**body, "data": data} if data is not None else body).encode()


def answer(word: Any) -> tuple[int, bytes]:
    """HTTP status and body."""
    if word is None:
        return 404, envelope(None, 2004)
    if isinstance(word, dict):
        return 200, envelope(word)
    if word in _CODES:
        return 200, envelope(None, _CODES[word])
    bodies = {
        "broken": (500, b"Internal Server Error"),
        "moved": (302, b""),
        "garbage": (200, b"<html>It works!</html>"),
        "other": (200, envelope({"allowed": "PERHAPS"})),
        "huge": (200, b" " * (1024 * 1024)),
    }
    return bodies[word]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    folder: Path

    def do_POST(self) -> None:
        """Answer a real-time authorization."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        address = urlsplit(self.path)
        *_, uid, last = address.path.split("/")
        asked = {
            "path": address.path.rpartition("/tokens/")[0] + "/tokens",
            "uid": unquote(uid),
            "last": last,
            "type": parse_qs(address.query).get("type"),
            "authorization": self.headers["Authorization"],
            "ids": bool(self.headers["X-Request-ID"] and self.headers["X-Correlation-ID"]),
            "body": json.loads(body),
        }
        with (self.folder / "asked.ndjson").open("a") as lines:
            lines.write(json.dumps(asked) + "\n")
        word = json.loads((self.folder / "says.json").read_text()).get(asked["uid"])
        if word == "silent":
            self.rfile.read(1)  # until the asker hangs up
            return
        if word == "hung_up":
            self.close_connection = True
            return
        status, content = answer(word)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        if status == 302:
            self.send_header("Location", f"http://{self.headers['Host']}/elsewhere")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


if __name__ == "__main__":
    Handler.folder = Path(sys.argv[1])
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"{server.server_address[1]}\n")
    sys.stdout.flush()
    server.serve_forever()

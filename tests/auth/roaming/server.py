"""A real roaming partner as a process on loopback: ``python -m auth.roaming.server FOLDER``.

FOLDER holds ``says.json``: by token uid either one of ``WORDS`` or an AuthorizationInfo without its
token's uid; a token that is not named is unknown (HTTP 404). It is read anew for each request. The
port is the only line on standard output; what was asked goes to ``asked.ndjson``.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from other_party import Handler, serve

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


class Partner(Handler):
    """One request."""

    content_type = "application/json"

    def take(self, body: bytes) -> None:
        """Answer a real-time authorization."""
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
            self.stay_silent()
            return
        if word == "hung_up":
            self.close_connection = True
            return
        self.answer(*answer(word))


if __name__ == "__main__":
    serve(Partner)

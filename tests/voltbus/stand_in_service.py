"""A service that does nothing but what a stack asks of one: two HTTP answers and an orderly end.

Run as a script with the environment that a stack gives its services. STAND_IN says how it
behaves: "" (ready at once), "never-ready", "dies" (before it is ready), "deaf" (to SIGTERM).
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import sys

BEHAVIOUR = os.environ.get("STAND_IN", "")
SHOWN = (
    "VOLTBUS_INSTANCE_ID",
    "VOLTBUS_KAFKA_BOOTSTRAP",
    "VOLTBUS_MONGO_DATABASE",
    "VOLTBUS_OCPP_PORT",
    "VOLTBUS_OCPP_TLS_PORT",
    "VOLTBUS_OCPP_MTLS_PORT",
    "VOLTBUS_STATION_CA_KEY_FILE",
    "VOLTBUS_TOKEN_KEY_FILE",
    "VOLTBUS_LOG_LEVEL",
    "VOLTBUS_HEARTBEAT_S",
)


class Answers(http.server.BaseHTTPRequestHandler):
    """Answers any path with some of its environment; /readyz with 503 while it is not ready."""

    def do_GET(self) -> None:
        """Answer."""
        ready = BEHAVIOUR != "never-ready" or self.path != "/readyz"
        self.send_response(200 if ready else 503)
        self.end_headers()
        self.wfile.write(json.dumps({name: os.environ.get(name) for name in SHOWN}).encode())

    def log_message(self, *_: object) -> None:
        """Stay silent."""


def end(*_: object) -> None:
    """Say that the end was asked for, and leave."""
    sys.stdout.write("ended in good order\n")
    sys.stdout.flush()
    os._exit(0)


if BEHAVIOUR == "dies":
    sys.exit("the stand-in has no wish to live")
signal.signal(signal.SIGTERM, signal.SIG_IGN if BEHAVIOUR == "deaf" else end)
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["VOLTBUS_HTTP_PORT"])), Answers)
server.serve_forever()

"""`voltbus up` with stand-ins for the services: a script with HOME FIRST-PORT [WORDS].

The words: "mongod-only" leaves Kafka and the services out, "fresh" empties the home, "STAND_IN=x"
makes the auth stand-in behave so.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from voltbus.commands.up import run_plan
from voltbus.embedded import Plan, Ports
from voltbus.embedded.given import settings_given
from voltbus.embedded.services import SERVICES
from voltbus.errors import CommandError

home, first_port, *words = sys.argv[1:]
stand_in = [sys.executable, str(Path(__file__).with_name("stand_in_service.py"))]
behaviour = [word.partition("=")[2] for word in words if word.startswith("STAND_IN=")]
only_mongod = "mongod-only" in words
given = settings_given(os.environ, own_kafka=True)
plan = Plan(
    home=Path(home),
    ports=Ports.consecutive(int(first_port)),
    fresh="fresh" in words,
    servers=("mongod",) if only_mongod else ("kafka", "mongod"),
    services=() if only_mongod else SERVICES,
    commands=dict.fromkeys(SERVICES, stand_in),
    environment={
        **given.by_service,
        "auth": {**given.by_service.get("auth", {}), "STAND_IN": "".join(behaviour)},
    },
)
try:
    sys.exit(asyncio.run(run_plan(plan, as_json=True, given=given)))
except CommandError as error:
    sys.stderr.write(f"{error}\n")
    sys.exit(error.exit_code)

"""Commands that work on auth's store once, started as an operator starts them."""

from __future__ import annotations

import asyncio
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from auth.conftest import Served


async def one_off(
    served: Served, module: str, environment: dict[str, str]
) -> tuple[int | None, str, str]:
    """Run `python -m <module>` on this test's database: its exit code, and what it wrote."""
    settings = served.settings
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        module,
        env={
            "VOLTBUS_MONGO_URI": settings.mongo_uri.get_secret_value(),
            "VOLTBUS_MONGO_DATABASE": settings.mongo_database,
            "VOLTBUS_HTTP_PORT": "0",
            "VOLTBUS_TOKEN_KEY_FILE": str(settings.token_key_file),
            "VOLTBUS_FIELD_KEY_FILE": str(settings.field_key_file),
        }
        | environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()

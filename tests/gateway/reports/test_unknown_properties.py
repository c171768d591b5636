"""What a maker sends beyond the schema, where the operator lets it pass: told, not flooded."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from structlog.testing import capture_logs

from voltbus_gateway.domain.wire.schemas import Extras
from voltbus_gateway.metrics import DROPPED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gateway.stage import Stage

VALUE = "04A1B2C3D4E5F6"
EXTRA = {"idTag": "ABC", "acmeTrace": VALUE}


def count_passed() -> float:
    """How many unknown properties were let pass so far."""
    return float(DROPPED.labels("unknown_property_passed")._value.get())


@pytest.mark.parametrize("direction", ["call", "answer"])
async def test_what_passes_is_counted_each_time_and_told_once(
    start: Callable[..., Awaitable[Stage]], direction: str
) -> None:
    """The line names station, action and place, and never the value (issue: refuse, or log)."""
    before = count_passed()
    stage = await start(unknown_properties=Extras.PASS)
    with capture_logs() as logs:
        for name in ("CP-1", "CP-2"):
            async with stage.station(name) as station:
                if direction == "call":
                    assert (await station.call("Authorize", EXTRA))[0] == 3
                else:
                    await stage.command(name, "ClearCache", {}, name)
                    frame = await station.receive()
                    answer = {"status": "Accepted", "acmeTrace": VALUE}
                    await station.send(3, frame[1], answer)
                    await stage.wait_for_command_end(name)
    lines = [line for line in logs if line["event"] == "message.unknown_properties"]
    assert [(line["station"], line["action"], line["places"]) for line in lines] == [
        (
            "CP-1",
            "Authorize" if direction == "call" else "ClearCache",
            ["payload: unknown property: acmeTrace"],
        )
    ]
    assert VALUE not in str(logs)
    assert count_passed() == before + 2

"""auth is killed while a list is on its way: it arrives once, under the right version."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from operating import until

if TYPE_CHECKING:
    from operating import Operator
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack


@pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])
async def test_auth_is_killed_between_a_list_and_its_answer(
    fragile: Stack, operator: Operator, protocol: Protocol
) -> None:
    """The answer is read after the restart; nothing is sent twice, and what follows fits it."""
    name, password = await operator.station()
    (first, first_ref), (second, second_ref) = await operator.token(), await operator.token()
    path = f"/v1/local-lists/stations/{name}"
    async with operator.connected(protocol, name, password) as station:
        await station.boot()
        await operator.done("PUT", "auth", path, json={"tokens": [first_ref]})
        await station.wait_for("SendLocalList")
        await fragile.signal("auth", signal.SIGSTOP)  # as early as it can be
        await fragile.kill("auth")
        await fragile.restart("auth")
        found = await _in_sync(operator, name, first_ref)
        assert found["version"] == station.local_list.version == 1
        await operator.done(
            "PUT",
            "auth",
            path,
            json={"tokens": [first_ref, second_ref]},
            headers={"If-Match": '"1"'},
        )
        found = await _in_sync(operator, name, first_ref, second_ref)
        assert found["version"] == station.local_list.version == 2
        kinds = [one["updateType"] for action, one in station.received if action == "SendLocalList"]
        assert kinds == ["Full", "Differential"]
        held = {one.rpartition(":")[2].upper() for one in station.local_list.entries}
        assert held == {first, second}


async def _in_sync(operator: Operator, name: str, *refs: str) -> dict[str, Any]:
    return await until(
        lambda: operator.done("GET", "auth", f"/v1/stations/{name}/local-list"),
        lambda found: found["status"] == "in_sync" and found["entries"] == sorted(refs),
        deadline_s=150,
    )

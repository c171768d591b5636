"""A station's password is replaced in three steps, and at no time is the station locked out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from operating import PUBLIC, until
from voltbus_backbone.bus.kafka import read_all
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from operating import Operator
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack
everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])

FINAL = {"answered", "rejected", "timed_out", "expired", "cancelled"}


@everywhere
async def test_a_password_is_rotated(operator: Operator, protocol: Protocol) -> None:
    """Both are let in until the station has accepted, then only the new one (A01.FR.03, A7)."""
    name, old = await operator.station()
    async with operator.connected(protocol, name, old) as station:
        await station.boot()
        made = await operator.done(
            "PUT",
            "auth",
            f"/v1/stations/{name}/credentials",
            json={"security_profile": 1, "keep_previous": True},
        )
        new = made["password"]
        sent = await operator.done(
            "POST",
            "config",
            f"/v1/stations/{name}/commands",
            json={"action": "set_password", "payload": {"password": new}},
        )

        async def read() -> Any:
            return await operator.done("GET", "config", f"/v1/commands/{sent['id']}")

        ended = await until(read, lambda body: body["status"] in FINAL)
        assert (ended["status"], ended["answer_status"]) == ("answered", "Accepted")
    assert await operator.lets_in(protocol, name, old)
    assert await operator.lets_in(protocol, name, new)
    await operator.done("DELETE", "auth", f"/v1/stations/{name}/credentials/previous")
    assert not await operator.lets_in(protocol, name, old)
    assert await operator.lets_in(protocol, name, new)
    await _nowhere(operator, new, str(ended))


async def _nowhere(operator: Operator, password: str, *texts: str) -> None:
    """The password is in no answer, no public event and no log (A01.FR.09)."""
    settings = KafkaSettings(bootstrap=operator.stack.kafka)
    for topic in PUBLIC:
        for record in await read_all(settings, operator.stack.topic_prefix + topic):
            assert password.encode() not in (record.value or b"")
    logs = [
        operator.stack.log(part).read_text() for part in ("gateway", "auth", "config", "agreements")
    ]
    assert not any(password in text for text in (*logs, *texts))

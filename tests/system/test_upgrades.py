"""A station is brought to a higher security profile by one request, and never back (A10, A05)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from operating import until
from tls_listeners import ORGANIZATION, listening
from voltbus.simulator import make_station

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from operating import Operator
    from tls_listeners import Listeners
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol, Station2, Station16

pytestmark = pytest.mark.stack
everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])

OVER = {"succeeded", "failed"}
FIRST = {"1.6": "ChangeConfiguration", "2.0.1": "SetNetworkProfile", "2.1": "SetNetworkProfile"}


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def listeners(
    stack: Stack, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Listeners]:
    """One more gateway, which speaks TLS, beside the shared stack's own at profile 1."""
    async with listening(stack, tmp_path_factory.mktemp("tls")) as one:
        yield one


async def connected(operator: Operator, protocol: Protocol) -> tuple[Station16 | Station2, str]:
    """A station at profile 1 that has booted, and its password."""
    name, password = await operator.station()
    station = make_station(protocol)
    await station.connect(operator.stack.ocpp(), name, password)
    await station.boot()
    return station, password


async def upgrade(operator: Operator, name: str, **body: Any) -> dict[str, Any]:
    async def ask() -> Any:
        return await operator.send(
            "POST", "auth", f"/v1/stations/{name}/security-profile", json=body
        )

    # auth learns of a station's version from its log-in, soon.
    answer = await until(ask, lambda found: found.status_code != 409)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    assert answer.headers["location"] == f"/v1/upgrades/{found['id']}"
    return found


async def ends(operator: Operator, change: dict[str, Any]) -> dict[str, Any]:
    async def read() -> Any:
        return await operator.done("GET", "auth", f"/v1/upgrades/{change['id']}")

    found: dict[str, Any] = await until(read, lambda body: body["state"] in OVER)
    return found


async def minimum(operator: Operator, name: str) -> int:
    shown = await operator.done("GET", "auth", f"/v1/stations/{name}/credentials")
    return int(shown["security_profile"])


def network(protocol: Protocol, url: str) -> dict[str, Any]:
    """What the request says beyond the profile."""
    if protocol == "1.6":
        return {}
    return {"url": url, "configuration_slot": 2, "fallback_slots": [1]}


@everywhere
@pytest.mark.parametrize("profile", [2, 3])
async def test_an_upgrade_from_the_request_to_the_shut_door(
    operator: Operator, listeners: Listeners, protocol: Protocol, profile: int
) -> None:
    """The station gets what its version has for it, restarts, and comes; then 1 is refused."""
    station, password = await connected(operator, protocol)
    name = station.station_id
    own = listeners.authority.station(name, ORGANIZATION) if profile == 3 else None
    context = listeners.context(own)

    def restarts(payload: dict[str, Any]) -> dict[str, Any]:
        # Where to is what the station was told; a 1.6 station knows it from elsewhere.
        profiles = station.settings.get("network_profiles", {})
        told = profiles[2]["ocppCsmsUrl"] if protocol != "1.6" else listeners.url(profile)
        station.move(told, context)
        station.take_password(None if profile == 3 else password)
        answer = station.answering("Reset", payload)
        assert answer is not None
        return answer

    station.answers["Reset"] = restarts
    change = await upgrade(
        operator, name, security_profile=profile, **network(protocol, listeners.url(profile))
    )
    assert bool(change["warnings"]) is (profile == 3)
    ended = await ends(operator, change)
    assert ended["state"] == "succeeded", ended
    assert await minimum(operator, name) == profile
    await station.close()
    assert await operator.login(protocol, name, password) == 401
    if protocol != "1.6":
        (told,) = [each for action, each in station.received if action == "SetNetworkProfile"]
        assert told["connectionData"]["securityProfile"] == profile


@everywhere
async def test_a_station_that_comes_back_as_it_was(operator: Operator, protocol: Protocol) -> None:
    """It has failed when the window is over, in words; nothing was raised (A05)."""
    station, password = await connected(operator, protocol)
    name = station.station_id
    url = "wss://csms.example/ocpp"
    change = await upgrade(operator, name, security_profile=2, window_s=2, **network(protocol, url))
    ended = await ends(operator, change)
    assert ended["state"] == "failed"
    assert "came back with security profile 1" in ended["detail"]
    assert await minimum(operator, name) == 1
    await station.close()
    assert await operator.login(protocol, name, password) == 101


@everywhere
async def test_a_station_that_refuses(operator: Operator, protocol: Protocol) -> None:
    """The next step is not asked for, and the station is let in as before (A05.FR.02)."""
    station, password = await connected(operator, protocol)
    name = station.station_id
    station.answers[FIRST[protocol]] = lambda _: {"status": "Rejected"}
    change = await upgrade(
        operator, name, security_profile=2, **network(protocol, "wss://csms.example/ocpp")
    )
    ended = await ends(operator, change)
    assert (ended["state"], ended["step"]) == ("failed", 0)
    assert "Rejected" in ended["detail"]
    await station.close()
    assert not {"SetVariables", "Reset"} & {action for action, _ in station.received}
    assert await minimum(operator, name) == 1
    assert await operator.login(protocol, name, password) == 101


async def test_what_is_refused_at_once(operator: Operator) -> None:
    """A lower or equal profile, or a network profile that lacks something, is 422."""
    name, password = await operator.station()
    path = f"/v1/stations/{name}/security-profile"
    away = await operator.send("POST", "auth", path, json={"security_profile": 2})
    assert away.json()["type"] == "urn:voltbus:problem:never-connected"
    async with operator.connected("2.1", name, password) as station:
        await station.boot()

        async def ask() -> Any:
            return await operator.send("POST", "auth", path, json={"security_profile": 2})

        incomplete = await until(ask, lambda found: found.status_code != 409)
        assert incomplete.status_code == 422
        assert "url and fallback_slots" in incomplete.json()["detail"]
    for body in (
        {"security_profile": 1},
        {"security_profile": 2, "url": "ws://csms.example/ocpp", "fallback_slots": []},
    ):
        assert (await operator.send("POST", "auth", path, json=body)).status_code == 422
    await operator.done(
        "PUT", "auth", f"/v1/stations/{name}/credentials", json={"security_profile": 3}
    )
    lower = await operator.send("POST", "auth", path, json={"security_profile": 2})
    assert lower.json()["type"] == "urn:voltbus:problem:no-upgrade"

"""Bad input on the real stack: each gets its proper answer, and the process goes on."""

from __future__ import annotations

import asyncio
import base64
import json
import secrets
import sys
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.typing import Subprotocol

from operating import DEADLINE_S, until
from voltbus.simulator import SUBPROTOCOLS, make_station
from voltbus_backbone.bus import envelope
from voltbus_backbone.bus.kafka import Publisher, Tail
from voltbus_backbone.contract.registry import Topic
from voltbus_backbone.settings import KafkaSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from operating import Operator
    from voltbus.embedded.stack import Stack
    from voltbus.simulator import Protocol

pytestmark = pytest.mark.stack
everywhere = pytest.mark.parametrize("protocol", ["1.6", "2.0.1", "2.1"])


@asynccontextmanager
async def raw_socket(
    operator: Operator, protocol: Protocol, subprotocols: Sequence[str] | None = None
) -> AsyncIterator[ClientConnection]:
    """A socket of a registered station, with nothing of ours at its end."""
    name, password = await operator.station()
    basic = base64.b64encode(f"{name}:{password}".encode()).decode()
    offered = [SUBPROTOCOLS[protocol]] if subprotocols is None else subprotocols
    async with connect(
        f"{operator.stack.ocpp()}/{name}",
        subprotocols=[Subprotocol(one) for one in offered] or None,
        additional_headers={"Authorization": f"Basic {basic}"},
    ) as socket:
        yield socket


async def answer_to(socket: ClientConnection, text: str) -> list[Any]:
    await socket.send(text)
    async with asyncio.timeout(DEADLINE_S):
        answer: list[Any] = json.loads(await socket.recv())
    return answer


async def still_works(socket: ClientConnection) -> bool:
    """The same socket boots and beats as if nothing had happened."""
    vendor: dict[str, Any] = {"chargePointVendor": "V", "chargePointModel": "M"}
    if socket.subprotocol != "ocpp1.6":
        station = {"vendorName": "V", "model": "M"}
        vendor = {"chargingStation": station, "reason": "PowerUp"}
    booted = await answer_to(socket, json.dumps([2, "again", "BootNotification", vendor]))
    return booted[:2] == [3, "again"] and booted[2]["status"] == "Accepted"


@everywhere
@pytest.mark.parametrize("text", ["no json at all", '{"an": "object"}', "[]", "42", '[2,"x"]'])
async def test_what_is_no_frame_gets_a_callerror(
    operator: Operator, protocol: Protocol, text: str
) -> None:
    """Not JSON, no array, too short: CALLERROR, in 2.x with id "-1" (OCPP-J 2.x P4 4.2.3)."""
    async with raw_socket(operator, protocol) as socket:
        answer = await answer_to(socket, text)
        assert answer[0] == 4
        codes = {"1.6": {"FormationViolation", "ProtocolError", "GenericError"}}
        modern = {"FormatViolation", "RpcFrameworkError", "ProtocolError"}
        assert answer[2] in codes.get(protocol, modern)
        assert len(answer[3]) <= 255
        assert await still_works(socket)


@everywhere
async def test_an_unknown_action_is_not_implemented(operator: Operator, protocol: Protocol) -> None:
    """An action that the version does not have: NotImplemented (OCPP-J table of codes)."""
    async with raw_socket(operator, protocol) as socket:
        answer = await answer_to(socket, '[2,"a","MakeCoffee",{}]')
        assert answer[:3] == [4, "a", "NotImplemented"]
        assert await still_works(socket)


@everywhere
async def test_a_payload_against_the_schema_names_its_field(
    operator: Operator, protocol: Protocol
) -> None:
    """A missing field is an occurrence violation, spelt as the version spells it (rules A15)."""
    async with raw_socket(operator, protocol) as socket:
        answer = await answer_to(socket, '[2,"b","BootNotification",{}]')
        spelt = (
            "OccurenceConstraintViolation"
            if protocol == "1.6"
            else ("OccurrenceConstraintViolation")
        )
        assert answer[:3] == [4, "b", spelt]
        assert await still_works(socket)


async def test_a_token_of_the_wrong_type_is_not_quoted(operator: Operator) -> None:
    """The description of an error never repeats a value: it could be a token."""
    async with raw_socket(operator, "1.6") as socket:
        await still_works(socket)
        answer = await answer_to(socket, '[2,"c","Authorize",{"idTag":"DEADBEEFDEADBEEFDEADBEEF"}]')
        assert answer[0] == 4
        assert "DEADBEEF" not in json.dumps(answer)


async def test_a_frame_over_the_limit_closes_with_1009(operator: Operator) -> None:
    """More than 512 KiB in one frame: close code 1009 (RFC 6455 7.4.1, rules A19)."""
    async with raw_socket(operator, "1.6") as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await answer_to(socket, '[2,"d","Heartbeat",{"x":"' + "y" * (513 * 1024) + '"}]')
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    assert (await operator.send("GET", "gateway", "/readyz")).status_code == 200


@pytest.mark.parametrize("offered", [[], ["ocpp1.5"], ["ocpp2.0", "mqtt"]])
async def test_no_common_subprotocol_is_400(operator: Operator, offered: list[str]) -> None:
    """Nothing we both speak: no upgrade (rules A3, this project's default)."""
    with pytest.raises(InvalidStatus) as refused:
        async with raw_socket(operator, "1.6", offered):
            pass
    assert refused.value.response.status_code == 400


@pytest.mark.parametrize("offered", [["ocpp9", "ocpp2.0.1", "ocpp1.6"], ["ocpp2.0.1", "ocpp2.1"]])
async def test_the_stations_first_supported_choice_wins(
    operator: Operator, offered: list[str]
) -> None:
    """A station lists its versions by preference (2.1 P4 3.1.2, rules A2)."""
    async with raw_socket(operator, "1.6", offered) as socket:
        assert socket.subprotocol == "ocpp2.0.1"


async def test_a_cut_connection_is_noticed(operator: Operator) -> None:
    """TCP dropped without a close frame: the operator sees the station gone."""
    name, password = await operator.station()
    station = make_station("1.6")
    await station.connect(operator.stack.ocpp(), name, password)

    async def connected() -> bool:
        body = await operator.done("GET", "config", f"/v1/stations/{name}")
        return bool(body["connected"])

    await until(connected, bool)
    await station.drop()
    await until(connected, lambda there: not there)


@pytest.mark.parametrize(
    ("service", "method", "path", "body"),
    [
        ("auth", "POST", "/v1/tokens", {"id_token": ""}),
        ("auth", "POST", "/v1/tokens", {"id_token": "x", "status": "perhaps"}),
        ("auth", "PUT", "/v1/stations/CP-1/credentials", {"security_profile": 9}),
        ("auth", "PUT", "/v1/stations/CP-1/credentials", {"password": "short"}),
        ("config", "POST", "/v1/stations", {"id": "has:colon"}),
        ("config", "POST", "/v1/stations", {"id": "x" * 49}),
        ("config", "POST", "/v1/stations", {"identity": "CP-1"}),
        ("agreements", "POST", "/v1/agreements", {"kind": "nonsense", "name": "n"}),
        ("agreements", "POST", "/v1/agreements", {}),
    ],
)
async def test_an_invalid_body_names_its_fields(
    operator: Operator, service: str, method: Any, path: str, body: dict[str, Any]
) -> None:
    """422 as application/problem+json with the fields at fault (RFC 9457)."""
    answer = await operator.send(method, service, path, json=body)
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["errors"]


@pytest.mark.parametrize("service", ["gateway", "auth", "config", "agreements"])
@pytest.mark.parametrize("token", [None, "nonsense"])
async def test_nobody_reads_without_a_token(
    operator: Operator, service: str, token: str | None
) -> None:
    """Every REST route needs a bearer token: 401 as a problem."""
    paths = {
        "gateway": "/v1/connections",
        "auth": "/v1/tokens",
        "config": "/v1/stations",
        "agreements": "/v1/agreements",
    }
    headers = {"Authorization": f"Bearer {token}" if token else ""}
    answer = await operator.send("GET", service, paths[service], headers=headers)
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    ("topic", "letters"),
    [
        (Topic.AUTH_REQUESTS, Topic.AUTH_DEAD_LETTER),
        (Topic.CONFIG_REQUESTS, Topic.CONFIG_DEAD_LETTER),
        (Topic.AGREEMENTS_REQUESTS, Topic.AGREEMENTS_DEAD_LETTER),
    ],
)
async def test_a_record_that_is_no_cloudevent_is_a_dead_letter(
    stack: Stack, topic: Topic, letters: Topic
) -> None:
    """On Kafka the answer to nonsense is a dead letter with its reason; the partition goes on."""
    settings = KafkaSettings(bootstrap=stack.kafka)
    mark = secrets.token_hex(8).encode()
    publisher = Publisher(settings, stack.topic_prefix)
    await publisher.start()
    async with Tail(settings, [letters], prefix=stack.topic_prefix) as tail:
        await publisher.publish([envelope.Record(topic, mark, b"garbage", [("x-mark", mark)])])
        async with asyncio.timeout(DEADLINE_S):
            async for record in tail.records():
                if envelope.header(record.headers, "x-mark") == mark:
                    break
    await publisher.stop()
    assert b"ce_id" in (envelope.header(record.headers, "dead-letter-reason") or b"")


@pytest.mark.parametrize(
    "words",
    [
        ["no-such-command"],
        ["up", "--ports-from", "99999999"],
        ["events", "--kafka", "127.0.0.1:1", "--count", "1"],
        ["simulate", "--station", "CP", "--ocpp", "ws://127.0.0.1:1/ocpp", "--id-token", "AA"],
    ],
)
async def test_the_command_line_says_it_in_one_line_and_exits_2(words: list[str]) -> None:
    """Wrong use or a server that is not there: what to do next, exit code 2, no stack trace."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "voltbus",
        *words,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        _, errors = await process.communicate()
    assert process.returncode == 2
    assert "Traceback" not in errors.decode()
    assert len([line for line in errors.decode().splitlines() if line.strip()]) == 1

"""Whatever bytes come, the process goes on, and a text is answered or the socket is closed."""

from __future__ import annotations

import asyncio
import json
import socket as sockets
from typing import TYPE_CHECKING, Any

import pytest_asyncio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed

from gateway.stage import PASSWORD, Stage, basic

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gateway.stage import Station

SETTLED = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=40),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=12,
)
frames = st.one_of(
    st.text(max_size=200),
    json_values.map(json.dumps),
    st.tuples(st.sampled_from([2, 3, 4, 5, 6, 7, -1, "2"]), json_values, json_values, json_values)
    .map(list)
    .map(json.dumps),
    st.tuples(
        st.just(2),
        st.text(min_size=1, max_size=36),
        st.sampled_from(["Authorize", "StartTransaction", "MeterValues", "BootNotification"]),
        st.dictionaries(st.sampled_from(["idTag", "connectorId", "x"]), json_values),
    )
    .map(list)
    .map(json.dumps),
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def garbage_stage() -> AsyncIterator[Stage]:
    """One gateway for all examples: what breaks it would break the next one."""
    stage = await Stage.up(answer_deadline_s=0.5)
    yield stage
    await stage.down()


async def alive(station: Station) -> bool:
    """Whether the socket still answers a Heartbeat (after whatever else it says)."""
    await station.send(2, "alive", "Heartbeat", {})
    while True:
        frame: list[Any] = await station.receive()
        if frame[1] == "alive":
            return frame[0] in {3, 4}


@SETTLED
@given(texts=st.lists(frames, max_size=8), protocol=st.sampled_from(["1.6", "2.0.1", "2.1"]))
async def test_any_texts_leave_the_connection_serving(
    garbage_stage: Stage, texts: list[str], protocol: str
) -> None:
    """Texts are answered or ignored; a socket is never left dead."""
    async with garbage_stage.station("CP-1", offers=(f"ocpp{protocol}",)) as station:
        for text in texts:
            await station.socket.send(text)
        assert await alive(station)


@SETTLED
@given(messages=st.lists(st.binary(max_size=300), max_size=4), text=st.booleans())
async def test_any_messages_of_bytes_end_orderly(
    garbage_stage: Stage, messages: list[bytes], *, text: bool
) -> None:
    """Binary messages are answered; text that is no UTF-8 closes with 1007."""
    async with garbage_stage.station("CP-1") as station:
        try:
            for message in messages:
                await station.socket.send(message, text=text)
            assert await alive(station)
        except ConnectionClosed:
            assert (await station.wait_closed())[0] == 1007


@SETTLED
@given(data=st.binary(max_size=400), upgraded=st.booleans())
async def test_any_bytes_on_tcp_disturb_nobody(
    garbage_stage: Stage, data: bytes, *, upgraded: bool
) -> None:
    """Broken HTTP and broken WebSocket frames cost one TCP connection."""
    async with garbage_stage.station("CP-1") as station:
        reader, writer = await asyncio.open_connection(
            "127.0.0.1", garbage_stage.gateway.listeners.port()
        )
        if upgraded:
            garbage_stage.services.logins["CP-2"] = garbage_stage.services.logins["CP-1"]
            writer.write(
                b"GET /ocpp/CP-2 HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n"
                b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
                b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
                b"Sec-WebSocket-Protocol: ocpp1.6\r\n"
                + f"Authorization: {basic('CP-2', PASSWORD)['Authorization']}\r\n\r\n".encode()
            )
            assert (await reader.readline()).startswith(b"HTTP/1.1 101")
        writer.write(data)
        writer.get_extra_info("socket").shutdown(sockets.SHUT_WR)
        async with asyncio.timeout(60):
            await reader.read()
        writer.close()
        assert await alive(station)

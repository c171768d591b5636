"""The bare pipe: websockets -> Kafka -> one MongoDB look-up per batch -> Kafka -> websockets.

The same parts as Voltbus with no rules at all: no schema, no session, no decision, no contract.
What it reaches is the most that this stack gives on this machine; `authorize.py` measures Voltbus
beside it in the same run. Two processes:

    python benchmarks/floor.py gateway --kafka HOST:PORT --port N
    python benchmarks/floor.py service --kafka HOST:PORT --mongo URI
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections import deque
from typing import Any

import orjson
import uvloop
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer, TopicPartition
from motor.motor_asyncio import AsyncIOMotorClient
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

REQUESTS = "floor.requests"
REPLIES = "floor.replies"
DATABASE = "floor"


class Lane:
    """One partition: a batch on its way, and what gathers behind it."""

    def __init__(self, producer: AIOKafkaProducer, topic: str, partition: int) -> None:
        self._producer = producer
        self._topic = topic
        self._partition = partition
        self._waiting: deque[tuple[bytes, bytes]] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, key: bytes, value: bytes) -> None:
        """Queue one record."""
        self._waiting.append((key, value))
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._drain())

    async def _drain(self) -> None:
        await asyncio.sleep(0)  # let what is ready in this turn of the loop join
        while self._waiting:
            batch = self._producer.create_batch()
            while self._waiting:
                key, value = self._waiting[0]
                if batch.append(key=key, value=value, timestamp=None) is None:
                    break
                self._waiting.popleft()
            await (await self._producer.send_batch(batch, self._topic, partition=self._partition))
        self._task = None


async def gateway(kafka: str, port: int, partitions: int) -> None:
    """Sockets on one side, two topics on the other."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, max_batch_size=900_000
    )
    await producer.start()
    consumer = AIOKafkaConsumer(
        bootstrap_servers=kafka, enable_auto_commit=False, auto_offset_reset="latest"
    )
    await consumer.start()
    inbox = TopicPartition(REPLIES, 0)
    consumer.assign([inbox])
    await consumer.seek_to_end(inbox)
    await consumer.position(inbox)
    lanes = [Lane(producer, REQUESTS, partition) for partition in range(partitions)]
    waiting: dict[bytes, asyncio.Future[bytes]] = {}
    count = 0

    async def read() -> None:
        while True:
            found = await consumer.getmany(inbox, timeout_ms=200)
            for record in found.get(inbox, []):
                future = waiting.pop(record.key, None)
                if future is not None and not future.done():
                    future.set_result(record.value)

    async def station(socket: ServerConnection) -> None:
        nonlocal count
        lane = lanes[hash(socket.id) % partitions]
        loop = asyncio.get_running_loop()
        async for text in socket:
            _, message_id, _, payload = orjson.loads(text)
            count += 1
            correlation = b"%d" % count
            future: asyncio.Future[bytes] = loop.create_future()
            waiting[correlation] = future
            lane.put(correlation, orjson.dumps(payload))
            answer = orjson.loads(await future)
            await socket.send(orjson.dumps([3, message_id, answer]).decode())

    reading = asyncio.create_task(read())
    async with serve(
        station,
        "127.0.0.1",
        port,
        subprotocols=[Subprotocol("ocpp1.6")],
        compression=None,
    ):
        await stopped()
    reading.cancel()
    await producer.stop()
    await consumer.stop()


async def service(kafka: str, mongo: str) -> None:
    """One look-up for each batch, one answer for each record."""
    producer = AIOKafkaProducer(
        bootstrap_servers=kafka, acks="all", enable_idempotence=True, max_batch_size=900_000
    )
    await producer.start()
    consumer = AIOKafkaConsumer(
        REQUESTS,
        bootstrap_servers=kafka,
        group_id="floor",
        enable_auto_commit=False,
        auto_offset_reset="latest",
    )
    await consumer.start()
    client: AsyncIOMotorClient[dict[str, Any]] = AsyncIOMotorClient(mongo)
    tokens = client[DATABASE]["tokens"]
    lane = Lane(producer, REPLIES, 0)

    async def work() -> None:
        while True:
            found = await consumer.getmany(timeout_ms=200, max_records=500)
            records = [record for some in found.values() for record in some]
            if not records:
                continue
            asked = [orjson.loads(record.value).get("idTag") for record in records]
            known = {
                document["_id"]
                for document in await tokens.find({"_id": {"$in": asked}}).to_list(None)
            }
            for record, token in zip(records, asked, strict=True):
                status = "Accepted" if token in known else "Invalid"
                lane.put(record.key, orjson.dumps({"idTagInfo": {"status": status}}))
            await consumer.commit()

    working = asyncio.create_task(work())
    await asyncio.wait([working, asyncio.create_task(stopped())], return_when="FIRST_COMPLETED")
    if working.done():
        working.result()
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    await producer.stop()
    await consumer.stop()


async def stopped() -> None:
    """Until SIGTERM or SIGINT."""
    event = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, event.set)
    await event.wait()


def main() -> None:
    """Run one of the two processes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("part", choices=["gateway", "service"])
    parser.add_argument("--kafka", required=True)
    parser.add_argument("--mongo", default="")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--partitions", type=int, default=6)
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        if arguments.part == "gateway":
            uvloop.run(gateway(arguments.kafka, arguments.port, arguments.partitions))
        else:
            uvloop.run(service(arguments.kafka, arguments.mongo))


if __name__ == "__main__":
    main()

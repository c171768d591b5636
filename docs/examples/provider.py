"""Another system that decides about tokens: ``python provider.py BROKER UID [UID ...]``.

It answers what auth asks on `voltbus.providers.requests`: ALLOWED for the tokens that it is given,
UNKNOWN for all others. Run two, and they share the work. Needs nothing but aiokafka.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from datetime import UTC, datetime

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

TOPIC = "voltbus.providers.requests"
QUESTION = b"voltbus.provider.authorize.v1"
ANSWER = "voltbus.provider.authorize.answered.v1"


async def serve(broker: str, known: set[str]) -> None:
    """Answer until it is stopped."""
    consumer = AIOKafkaConsumer(
        TOPIC, bootstrap_servers=broker, group_id="a-provider", auto_offset_reset="latest"
    )
    producer = AIOKafkaProducer(bootstrap_servers=broker)
    async with producer, consumer:
        await consumer.getmany(timeout_ms=1000)  # in position now
        print("ready", flush=True)
        async for record in consumer:
            headers = dict(record.headers)
            if headers["ce_type"] != QUESTION or int(headers["deadline"]) < time.time() * 1000:
                continue
            token = json.loads(record.value)["id_token"]["value"]
            allowed = "ALLOWED" if token.upper() in known else "UNKNOWN"
            answer = {"allowed": allowed, "keep": "ALLOWED", "keep_s": 60}
            await producer.send(
                headers["reply-topic"].decode(),
                json.dumps(answer).encode(),
                partition=int(headers["reply-partition"]),
                headers=[
                    ("ce_specversion", b"1.0"),
                    ("ce_type", ANSWER.encode()),
                    ("ce_id", headers["correlation-id"] + b":reply"),
                    ("ce_source", b"/a-provider"),
                    ("ce_time", datetime.now(UTC).isoformat().encode()),
                    ("content-type", b"application/json"),
                    ("correlation-id", headers["correlation-id"]),
                ],
            )


if __name__ == "__main__":
    asyncio.run(serve(sys.argv[1], {uid.upper() for uid in sys.argv[2:]}))

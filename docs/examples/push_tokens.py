"""Another system pushes its tokens: ``python push_tokens.py BROKER PROVIDER_ID < tokens.ndjson``.

Each line is what `POST /v1/tokens` takes, and at least an `id_token`; the same line twice changes
nothing. A line of `{"remove": "04A2B3C4D5E680"}` removes a token. Needs nothing but aiokafka.
"""

from __future__ import annotations

import asyncio
import json
import sys
import uuid
from datetime import UTC, datetime

from aiokafka import AIOKafkaProducer

TOPIC = "voltbus.auth.token-requests"


async def push(broker: str, provider_id: str) -> int:
    """Send every line of standard input; how many there were."""
    sent = 0
    async with AIOKafkaProducer(bootstrap_servers=broker, acks="all") as producer:
        for line in sys.stdin:
            fields = json.loads(line)
            kind = "remove-token" if "remove" in fields else "put-token"
            body = {"id_token": fields["remove"]} if "remove" in fields else fields
            # The key keeps our messages in order. It is our own id, never a token.
            await producer.send(
                TOPIC,
                json.dumps({"provider_id": provider_id, **body}).encode(),
                key=provider_id.encode(),
                headers=[
                    ("ce_specversion", b"1.0"),
                    ("ce_type", f"voltbus.auth.{kind}.v1".encode()),
                    ("ce_id", uuid.uuid4().bytes.hex().encode()),
                    ("ce_source", f"/{provider_id}".encode()),
                    ("ce_time", datetime.now(UTC).isoformat().encode()),
                    ("content-type", b"application/json"),
                ],
            )
            sent += 1
    return sent


if __name__ == "__main__":
    print(asyncio.run(push(sys.argv[1], sys.argv[2])), "sent")

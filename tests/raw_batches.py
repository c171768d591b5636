"""Kafka's record batches as bytes: sound ones, and such as no honest producer writes."""

from __future__ import annotations

import gzip
import struct
import zlib
from typing import TYPE_CHECKING

import cramjam
from aiokafka import AIOKafkaProducer, TopicPartition
from aiokafka.codec import lz4_encode
from aiokafka.protocol.produce import ProduceRequest
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c, encode_varint

if TYPE_CHECKING:
    from collections.abc import Sequence

    from voltbus_backbone.settings import KafkaSettings

    Headers = Sequence[tuple[str, bytes | None]]

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_CRC_AT = 17
ATTRIBUTES_AT = 21
HEAD = 61


def batch(
    records: Sequence[tuple[bytes | None, Headers]],
    *,
    first: int = 0,
    codec: int = 0,
    at_ms: int = 1000,
) -> bytes:
    """A batch as a producer writes it: from this offset and time on."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 2**30)
    for number, (value, headers) in enumerate(records):
        builder.append(number, at_ms + number, b"k", value, list(headers))
    return placed(bytes(builder.build()), first)


def placed(made: bytes, first: int) -> bytes:
    """The batch where a broker puts it; that is outside its checksum."""
    return struct.pack(">q", first) + made[8:]


def sealed(made: bytes) -> bytes:
    """The batch with the checksum and length that belong to what it holds now."""
    changed = bytearray(made)
    struct.pack_into(">i", changed, 8, len(changed) - 12)
    struct.pack_into(">I", changed, _CRC_AT, calc_crc32c(bytes(changed[ATTRIBUTES_AT:])))
    return bytes(changed)


def packed(body: bytes, codec: int, *, count: int = 1, at_ms: int = 1000) -> bytes:
    """A batch around a body that is already compressed."""
    head = bytearray(batch([(b"", [])], at_ms=at_ms)[:HEAD])
    struct.pack_into(">h", head, ATTRIBUTES_AT, codec)
    struct.pack_into(">i", head, 23, count - 1)
    struct.pack_into(">i", head, 57, count)
    return sealed(bytes(head) + body)


def zeros(size: int, number: int = 0) -> bytes:
    """The body of a batch: its record with this number, of so many zeros."""
    body = bytearray(b"\0")
    for field in (0, number, -1, size):  # time, offset, no key, length
        encode_varint(field, body.append)
    body += bytes(size)
    encode_varint(0, body.append)
    length = bytearray()
    encode_varint(len(body), length.append)
    return bytes(length + body)


def compress(body: bytes, codec: str) -> bytes:
    """The body of a batch by one of Kafka's codecs."""
    if codec == "none":
        return body
    if codec == "gzip":
        return gzip.compress(body)
    if codec == "snappy":
        return bytes(cramjam.snappy.compress_raw(body))
    if codec == "lz4":
        return bytes(lz4_encode(body))  # a broker takes no blocks that depend on one another
    return bytes(cramjam.zstd.compress(body))


def squeezed_zeros(size: int, at_ms: int) -> bytes:
    """A batch with one record of so many zeros, in gzip, without ever holding them."""
    record = bytearray(zeros(0)[1:-2])  # without its length, the value's, the number of headers
    encode_varint(size, record.append)
    begin = bytearray()
    encode_varint(len(record) + size + 1, begin.append)
    packer = zlib.compressobj(9, wbits=31)
    portion = bytes(2**20)
    parts = [packer.compress(bytes(begin + record))]
    parts += [packer.compress(portion) for _ in range(size // len(portion))]
    parts += [packer.compress(bytes(size % len(portion))), packer.compress(b"\0"), packer.flush()]
    return packed(b"".join(parts), CODECS["gzip"], at_ms=at_ms)


async def store(settings: KafkaSettings, topic: str, partition: int, *made: bytes) -> None:
    """Have a broker store batches as they are."""
    async with AIOKafkaProducer(bootstrap_servers=settings.bootstrap) as producer:
        await producer.partitions_for(topic)
        node = producer.client.cluster.leader_for_partition(TopicPartition(topic, partition))
        for data in made:
            request = ProduceRequest(
                transactional_id=None,
                required_acks=-1,
                timeout=60_000,
                topics=[(topic, [(partition, data)])],
            )
            answer = await producer.client.send(node, request)
            ((_, ((_, error, *_),)),) = answer.topics
            assert error == 0, f"the broker refused it: {error}"

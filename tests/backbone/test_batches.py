"""Reading Kafka's batches: whatever their bytes are, every record comes out, or its place does."""

from __future__ import annotations

import gzip
import inspect
import random
import struct
from typing import TYPE_CHECKING, Any

import cramjam
import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatchBuilder
from aiokafka.record.util import calc_crc32c, encode_varint

from voltbus_backbone.bus import Consumed, Unreadable
from voltbus_backbone.kafka import batches
from voltbus_backbone.kafka.batches import (
    MOST_BATCH_BYTES,
    MOST_RECORD_BYTES,
    TAKE_BYTES,
    Allowance,
    PartitionRecords,
    RawBatches,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    Headers = Sequence[tuple[str, bytes | None]]

PLACE = TopicPartition("t", 3)
CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}
_CRC_AT = 17
_ATTRIBUTES_AT = 21
_HEAD = 61


def batch(records: Sequence[tuple[bytes, Headers]], *, first: int = 0, codec: int = 0) -> bytes:
    """A batch as a producer writes it; its offsets begin with ``first``."""
    builder = DefaultRecordBatchBuilder(2, codec, 0, -1, -1, -1, 2**30)
    for number, (value, headers) in enumerate(records):
        builder.append(number, 1000 + number, b"k", value, list(headers))
    return placed(bytes(builder.build()), first)


def placed(made: bytes, first: int) -> bytes:
    """The batch where a broker puts it; that is outside its checksum."""
    return struct.pack(">q", first) + made[8:]


def sealed(made: bytes) -> bytes:
    """The batch with the checksum and length that belong to what it holds now."""
    changed = bytearray(made)
    struct.pack_into(">i", changed, 8, len(changed) - 12)
    struct.pack_into(">I", changed, _CRC_AT, calc_crc32c(bytes(changed[_ATTRIBUTES_AT:])))
    return bytes(changed)


def packed(body: bytes, codec: int, *, count: int = 1) -> bytes:
    """A batch around a body that is already compressed."""
    head = bytearray(batch([(b"", [])])[:_HEAD])
    struct.pack_into(">h", head, _ATTRIBUTES_AT, codec)
    struct.pack_into(">i", head, 23, count - 1)
    struct.pack_into(">i", head, 57, count)
    return sealed(bytes(head) + body)


def read(data: bytes, at: int = 0, allowance: Allowance | None = None) -> list[Any]:
    return list(reader(data, at, allowance))


def reader(data: bytes, at: int = 0, allowance: Allowance | None = None) -> PartitionRecords:
    return PartitionRecords(
        PLACE, RawBatches(data), [], at, None, allowance, True, fetcher.READ_UNCOMMITTED
    )


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


@pytest.mark.parametrize("codec", CODECS)
def test_what_a_producer_wrote_is_read(codec: str) -> None:
    """Every compression that Kafka has; key, value, headers, time and place."""
    made = batch([(b"1" * 100, [("a", b"x")]), (b"2", [("b", None)])], first=7, codec=CODECS[codec])
    assert read(made) == [
        Consumed("t", 3, 7, 1000, b"k", b"1" * 100, [("a", b"x")]),
        Consumed("t", 3, 8, 1001, b"k", b"2", [("b", None)]),
    ]


@pytest.mark.parametrize("codec", CODECS)
def test_a_header_name_that_is_not_utf_8_is_one_unreadable_record(codec: str) -> None:
    """Kafka stores it (its brokers do not look); aiokafka would raise, and lose those before it."""
    good = batch([(b"1", [("a", b"x")]), (b"2", [("bXXX", b"y")]), (b"3", [])])
    body = good[_HEAD:].replace(b"bXXX", b"b\xff\xfeX")
    made = packed(compress(body, codec), CODECS[codec], count=3)
    first, second, third = read(made)
    assert (first.value, third.value) == (b"1", b"3")
    assert isinstance(second, Unreadable)
    assert (second.offset, second.reason) == (1, "a header's name is not UTF-8")


def compress(body: bytes, codec: str) -> bytes:
    if codec == "none":
        return body
    if codec == "gzip":
        return gzip.compress(body)
    if codec == "snappy":
        return bytes(cramjam.snappy.compress_raw(body))
    return bytes(getattr(cramjam, codec).compress(body))


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_a_batch_that_unpacks_to_too_much_is_passed_over(codec: str) -> None:
    """Its place is told; what follows it is read."""
    large = packed(compress(zeros(MOST_BATCH_BYTES), codec), CODECS[codec])
    found = read(large + batch([(b"next", [])], first=1))
    assert [type(record) for record in found] == [Unreadable, Consumed]
    assert (found[0].offset, found[0].last_offset) == (0, 0)
    assert "once it is unpacked" in found[0].reason


def test_a_record_that_is_larger_than_kafka_takes_is_unreadable() -> None:
    """Compression is no way around the limit of a record; smaller ones of the batch are read."""
    body = zeros(MOST_RECORD_BYTES) + zeros(10, 1)
    made = packed(gzip.compress(body), 1, count=2)
    large, small = read(made)
    assert isinstance(large, Unreadable)
    assert "a record of more than" in large.reason
    assert small.value == bytes(10)


def test_a_take_unpacks_no_more_than_its_allowance() -> None:
    """What is left is fetched again: the position stays before the first batch that was not read.

    All partitions share it: a hundred small batches that hold much are a hundred takes' work.
    """
    one = packed(gzip.compress(zeros(900_000)), CODECS["gzip"])
    data = b"".join(placed(one, number) for number in range(20))
    allowance = Allowance()
    first = reader(data, 0, allowance)
    taken = list(first)
    assert 0 < len(taken) < 20
    assert first.next_fetch_offset == len(taken)
    assert sum(len(record.value or b"") for record in taken) <= TAKE_BYTES + MOST_BATCH_BYTES
    assert read(data, 0, allowance) == []
    allowance.renew()
    assert read(data, first.next_fetch_offset, allowance) != []


def test_a_fetch_that_begins_within_a_batch_goes_on_there() -> None:
    """A broker answers with whole batches; what was read already is not handed out again."""
    made = batch([(b"%d" % number, []) for number in range(5)], first=10)
    assert [record.offset for record in read(made, 13)] == [13, 14]
    squeezed = packed(gzip.compress(made[_HEAD:]), CODECS["gzip"], count=5)
    assert [record.offset for record in read(squeezed, 3)] == [3, 4]


def test_a_batch_that_was_cut_off_is_fetched_again() -> None:
    """The end of an answer: nothing of it is read, and the position stays before it."""
    whole = batch([(b"1", [])])
    found = reader(whole + batch([(b"2", [])], first=1)[:-3])
    assert [record.value for record in found] == [b"1"]
    assert found.next_fetch_offset == 1


def test_a_wrong_checksum_is_told_and_passed() -> None:
    """Nobody can read it, so waiting for it would stop the partition."""
    made = bytearray(batch([(b"1", []), (b"2", [])]))
    made[-3] ^= 0x55
    (record,) = read(bytes(made))
    assert (record.offset, record.last_offset) == (0, 1)
    assert record.reason.startswith("its checksum is wrong")


def test_control_batches_and_old_formats_are_no_records() -> None:
    """Marks of transactions are passed over; a format without headers holds no CloudEvent."""
    control = bytearray(batch([(b"1", [])]))
    struct.pack_into(">h", control, _ATTRIBUTES_AT, 0x20)
    old = bytearray(batch([(b"1", [])], first=1))
    old[16] = 1
    (record,) = read(sealed(bytes(control)) + bytes(old))
    assert isinstance(record, Unreadable)
    assert record.offset == 1


@pytest.mark.parametrize("seed", range(40))
def test_no_bytes_stop_the_reader(seed: int) -> None:
    """Whatever a batch holds behind a sound checksum: it ends, raises nothing, and gets past it."""
    chance = random.Random(seed)  # noqa: S311 - a fuzzer's dice
    codec = chance.choice(list(CODECS))
    good = batch(
        [(chance.randbytes(chance.randrange(40)), [("h", b"v")]) for _ in range(5)], first=3
    )
    for _ in range(25):
        body = bytearray(good[_HEAD:])
        for _ in range(chance.randrange(1, 6)):
            place = chance.randrange(len(body))
            match chance.randrange(3):
                case 0:
                    body[place] = chance.randrange(256)
                case 1:
                    del body[place : place + chance.randrange(8)]
                case _:
                    body[place:place] = chance.randbytes(chance.randrange(8))
        inner = compress(bytes(body), codec)
        if chance.random() < 0.3:
            inner = inner[: chance.randrange(len(inner) + 1)]
        made = placed(packed(inner, CODECS[codec], count=chance.choice((5, 5, 0, 9))), 3)
        after = batch([(b"after", [])], first=20)
        found = reader(made + after)
        records = list(found)
        assert records[-1].value == b"after"
        assert found.next_fetch_offset == 21


def test_the_installed_aiokafka_reads_by_these_classes() -> None:
    """They stand where its fetcher looks for its own, and are called as it calls."""
    assert fetcher.PartitionRecords is PartitionRecords
    assert fetcher.MemoryRecords is RawBatches
    source = inspect.getsource(fetcher.Fetcher._proc_fetch_request)
    assert "records = MemoryRecords(part_data[-1])" in source
    assert "partition_records = PartitionRecords(" in source
    order = list(inspect.signature(PartitionRecords).parameters)
    called = source.partition("PartitionRecords(")[2].partition(")")[0]
    given = [argument.strip().removeprefix("self._") for argument in called.split(",")]
    assert [name for name in given if name] == order
    assert batches.MOST_RECORD_BYTES < MOST_BATCH_BYTES

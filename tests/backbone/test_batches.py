"""Reading Kafka's batches: whatever their bytes are, every record comes out, or its place does."""

from __future__ import annotations

import gzip
import inspect
import random
import struct
from typing import Any

import pytest
from aiokafka import TopicPartition
from aiokafka.consumer import fetcher

from raw_batches import ATTRIBUTES_AT, CODECS, HEAD, batch, compress, packed, placed, sealed, zeros
from voltbus_backbone.bus.kafka import batches
from voltbus_backbone.bus.kafka.batches import (
    MOST_BATCH_BYTES,
    MOST_RECORD_BYTES,
    TAKE_BYTES,
    Allowance,
    PartitionRecords,
    RawBatches,
)
from voltbus_backbone.bus.ports import Consumed, Unreadable

PLACE = TopicPartition("t", 3)


def read(data: bytes, at: int = 0, allowance: Allowance | None = None) -> list[Any]:
    return list(reader(data, at, allowance))


def reader(data: bytes, at: int = 0, allowance: Allowance | None = None) -> PartitionRecords:
    return PartitionRecords(
        PLACE, RawBatches(data), [], at, None, allowance, True, fetcher.READ_UNCOMMITTED
    )


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
    body = good[HEAD:].replace(b"bXXX", b"b\xff\xfeX")
    made = packed(compress(body, codec), CODECS[codec], count=3)
    first, second, third = read(made)
    assert (first.value, third.value) == (b"1", b"3")
    assert isinstance(second, Unreadable)
    assert (second.offset, second.reason) == (1, "a header's name is not UTF-8")


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
    squeezed = packed(gzip.compress(made[HEAD:]), CODECS["gzip"], count=5)
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
    struct.pack_into(">h", control, ATTRIBUTES_AT, 0x20)
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
        body = bytearray(good[HEAD:])
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

"""Kafka's record batches, read so that no bytes of theirs can stop a reader or fill its memory.

aiokafka raises what one record's bytes cause out of ``getmany`` (a header name that is not UTF-8
is a UnicodeDecodeError), forgets the records before it, and never gets past it. It unpacks a batch
whatever its size: 500 kB of gzip become 500 MB. Here every record comes out, as ``Consumed``, or as
``Unreadable`` with its place and reason; a packed batch is unpacked into a bounded buffer; and what
one ``getmany`` unpacks altogether is bounded by an ``Allowance``.

Two classes take the places of aiokafka's own in its fetcher (docs/adr/0017-supervised-readers.md);
``tests/backbone/test_batches.py`` holds them to the installed version.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import structlog
from aiokafka.consumer import fetcher
from aiokafka.record.default_records import DefaultRecordBatch
from aiokafka.record.util import decode_varint

from voltbus_backbone.bounds import TOPIC_MESSAGE_BYTES
from voltbus_backbone.bus.kafka.unpacking import TooLargeError, unpack
from voltbus_backbone.bus.ports import Consumed, Unreadable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiokafka import TopicPartition

log = structlog.get_logger(__name__)

# What our topics take: nothing larger can come without compression.
MOST_RECORD_BYTES = TOPIC_MESSAGE_BYTES
# Honest producers pack more into a batch than a broker would take unpacked: several times as much.
MOST_BATCH_BYTES = 8 * 1024 * 1024
# Of all partitions in one getmany; the batch that passes it is still taken.
TAKE_BYTES = 8 * 1024 * 1024

# Of a batch in format 2 (Kafka protocol, RecordBatch): base offset, length, epoch, magic, CRC,
# attributes, last offset delta, first and last timestamp, producer id and epoch, sequence, count.
_HEAD = struct.Struct(">qiibIhiqqqhii")
_LENGTH = struct.Struct(">qi")
_FORMAT = 2
_CODEC = 0x07
_CONTROL = 0x20
_ATTRIBUTES_AT = struct.calcsize(">qiibI")
_LOG_APPEND_TIME = 0x08


class Allowance:
    """What one take may unpack. It stands in the place of a value deserializer, and changes none.

    That is the only thing of ours that a consumer hands to where its batches are read.
    """

    __slots__ = ("_left", "_most")

    def __init__(self, most: int = TAKE_BYTES) -> None:
        self._most = self._left = most

    def __call__(self, value: bytes | None) -> bytes | None:
        """The value as it is."""
        return value

    def renew(self) -> None:
        """Begin another take."""
        self._left = self._most

    def spend(self, size: int) -> bool:
        """Take a batch of so many bytes, or leave it to the next take."""
        if self._left <= 0:
            return False
        self._left -= size
        return True


class RawBatches:
    """What a fetch brought of one partition, cut into batches. In the place of MemoryRecords."""

    def __init__(self, data: bytes) -> None:
        self._data = memoryview(data)

    def has_next(self) -> bool:
        """Whether there is a whole batch."""
        return next(iter(self), None) is not None

    def size_in_bytes(self) -> int:
        """How much there is, whole or not."""
        return len(self._data)

    def __iter__(self) -> Iterator[memoryview]:
        """Whole batches only: a broker cuts the last one off where the answer is full."""
        at = 0
        while at + _LENGTH.size <= len(self._data):
            _, length = _LENGTH.unpack_from(self._data, at)
            end = at + _LENGTH.size + max(length, 0)
            if end > len(self._data):
                return
            yield self._data[at:end]
            at = end


class _Head(NamedTuple):
    """What of a batch's head matters."""

    first: int
    last: int
    magic: int
    attributes: int
    at: int  # of its first record: milliseconds

    @property
    def codec(self) -> int:
        return self.attributes & _CODEC


class PartitionRecords:
    """The records of one fetched partition, in order. In the place of aiokafka's own.

    ``next_fetch_offset`` is where the partition is read from next.
    """

    def __init__(  # noqa: PLR0917 - aiokafka's signature
        self,
        tp: TopicPartition,
        records: RawBatches,
        aborted_transactions: object,
        fetch_offset: int,
        key_deserializer: object,
        value_deserializer: Allowance | None,
        check_crcs: bool,  # noqa: FBT001 - aiokafka's signature
        isolation_level: int,
    ) -> None:
        del aborted_transactions, key_deserializer
        if isolation_level != fetcher.READ_UNCOMMITTED:
            raise ValueError("only read_uncommitted is read here")
        self._topic: str = tp.topic
        self._partition: int = tp.partition
        self._allowance = (
            value_deserializer if isinstance(value_deserializer, Allowance) else Allowance()
        )
        self._check_crcs = check_crcs
        self.next_fetch_offset = fetch_offset
        self._records = self._read(records)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Consumed | Unreadable:
        return next(self._records)

    def _read(self, batches: RawBatches) -> Iterator[Consumed | Unreadable]:
        for raw in batches:
            head = _head_of(raw)
            if head.last < self.next_fetch_offset:
                continue
            if head.magic >= _FORMAT and head.attributes & _CONTROL:
                self.next_fetch_offset = head.last + 1
                continue
            plain, why = self._plain(raw, head)
            if not self._allowance.spend(len(plain) if plain is not None else 0):
                return  # what is left is fetched again
            if plain is None:
                yield self._unreadable(head, self.next_fetch_offset, head.last, why)
            else:
                yield from self._each(plain, head)
            # Compaction leaves out records; the head still tells where the batch ended.
            self.next_fetch_offset = head.last + 1

    def _plain(self, raw: memoryview, head: _Head) -> tuple[memoryview | None, str]:
        """The batch without compression; None where that cannot be had, and why."""
        if head.magic < _FORMAT:
            return None, "a message format older than Kafka 0.11, which has no headers"
        if self._check_crcs and not DefaultRecordBatch(raw).validate_crc():
            return None, "its checksum is wrong"
        if head.codec == 0:
            return raw, ""
        try:
            records = unpack(head.codec, raw[_HEAD.size :], MOST_BATCH_BYTES)
        except TooLargeError:
            return None, f"a batch of more than {MOST_BATCH_BYTES} bytes once it is unpacked"
        except Exception as error:  # noqa: BLE001 - whatever these bytes cause, it is their fault
            return None, f"its compression cannot be undone ({type(error).__name__})"
        front = bytearray(raw[: _HEAD.size])
        struct.pack_into(">h", front, _ATTRIBUTES_AT, head.attributes & ~_CODEC)
        return memoryview(bytes(front) + records), ""

    def _each(self, plain: memoryview, head: _Head) -> Iterator[Consumed | Unreadable]:
        """Every record: by aiokafka's compiled reader, or one by one where that breaks."""
        topic, partition = self._topic, self._partition
        if len(plain) <= MOST_RECORD_BYTES:
            try:
                for record in DefaultRecordBatch(plain):
                    offset = record.offset
                    if offset < self.next_fetch_offset:
                        continue
                    self.next_fetch_offset = offset + 1
                    yield Consumed(
                        topic,
                        partition,
                        offset,
                        record.timestamp,
                        record.key,
                        record.value,
                        record.headers,
                    )
            except Exception as error:  # noqa: BLE001 - what one record causes must not end the rest
                log.debug("kafka.batch.one_by_one", topic=topic, error=type(error).__name__)
            else:
                return
        for found in _one_by_one(plain, head, topic, partition):
            if found.offset >= self.next_fetch_offset:
                self.next_fetch_offset = found.offset + 1
                yield found

    def _unreadable(self, head: _Head, first: int, last: int, why: str) -> Unreadable:
        first = max(first, head.first)
        log.warning(
            "kafka.batch.unreadable",
            topic=self._topic,
            partition=self._partition,
            offset=first,
            last_offset=last,
            reason=why,
        )
        if last > first:
            why = f"{why} (the records up to offset {last} are in it)"
        return Unreadable(self._topic, self._partition, first, last, head.at, why)


def _head_of(raw: memoryview) -> _Head:
    if len(raw) < _HEAD.size or raw[16] < _FORMAT:
        first, _ = _LENGTH.unpack_from(raw)
        return _Head(first, first, 0, 0, 0)
    (first, _, _, magic, _, attributes, delta, at, *_) = _HEAD.unpack_from(raw)
    return _Head(first, first + max(delta, 0), magic, attributes, at)


def _one_by_one(
    plain: memoryview, head: _Head, topic: str, partition: int
) -> Iterator[Consumed | Unreadable]:
    """Each record by its own length, so that one that cannot be read hides none behind it."""
    data = bytearray(plain)
    at, next_offset = _HEAD.size, head.first
    while at < len(data):
        end = at
        try:
            length, begin = decode_varint(data, at)
            end = begin + length
            if length <= 0 or end > len(data):
                raise ValueError("no such length")  # noqa: TRY301 - as other bytes that lie
            found = _record(data[begin:end], head, topic, partition)
            next_offset = found.offset + 1
        except Exception:  # noqa: BLE001 - whatever these bytes cause, it is their fault
            whole = at < end <= len(data)
            last = next_offset if whole else head.last
            yield Unreadable(
                topic, partition, next_offset, last, head.at, "it does not follow Kafka's format"
            )
            if not whole:
                return
            next_offset += 1
        else:
            yield found
        at = end


def _record(data: bytearray, head: _Head, topic: str, partition: int) -> Consumed | Unreadable:
    """Read one record (Kafka protocol, Record) in format 2."""
    delta, at = decode_varint(data, 1)  # after its attributes, which mean nothing yet
    offset_delta, at = decode_varint(data, at)
    key, at = _bytes(data, at)
    value, at = _bytes(data, at)
    count, at = decode_varint(data, at)
    headers: list[tuple[str, bytes | None]] = []
    misspelt = False
    for _ in range(count):
        name, at = _bytes(data, at)
        content, at = _bytes(data, at)
        try:
            headers.append(((name or b"").decode(), content))
        except UnicodeDecodeError:
            misspelt = True
    offset = head.first + offset_delta
    when = head.at if head.attributes & _LOG_APPEND_TIME else head.at + delta
    if len(data) > MOST_RECORD_BYTES:
        why = f"a record of more than {MOST_RECORD_BYTES} bytes"
        return Unreadable(topic, partition, offset, offset, when, why)
    if misspelt:
        why = "a header's name is not UTF-8"
        return Unreadable(topic, partition, offset, offset, when, why, key, value, headers)
    return Consumed(topic, partition, offset, when, key, value, headers)


def _bytes(data: bytearray, at: int) -> tuple[bytes | None, int]:
    """Read bytes after their length; a negative length is null."""
    length, at = decode_varint(data, at)
    if length < 0:
        return None, at
    if at + length > len(data):
        raise ValueError("longer than its record")
    return bytes(data[at : at + length]), at + length


def install() -> None:
    """Have every consumer of this process read so. aiokafka has no other place for it."""
    place: Any = fetcher
    place.MemoryRecords = RawBatches
    place.PartitionRecords = PartitionRecords

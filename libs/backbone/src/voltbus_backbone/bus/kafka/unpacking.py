"""Undoing the compression of a batch, into a buffer of a bounded size.

The decoders of aiokafka unpack whatever comes; a zstd frame of a few bytes may hold gigabytes.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING

import cramjam

if TYPE_CHECKING:
    from collections.abc import Callable

_GZIP_WRAPPED = 31  # zlib's word for gzip's own head and end
_XERIAL = b"\x82SNAPPY\x00"
_XERIAL_HEAD = 16
_BLOCK = struct.Struct(">i")


class TooLargeError(Exception):
    """It holds more than it may."""


def unpack(codec: int, data: memoryview, most: int) -> bytes:
    """The records of a batch. ``codec`` is Kafka's number for it.

    Raises:
        TooLargeError: they have more than ``most`` bytes.
        Exception: whatever the decoder says of bytes that are not in its format.
    """
    how = _CODECS.get(codec)
    if how is None:
        raise ValueError("no codec has this number")
    return how(data, most)


def _gzip(data: memoryview, most: int) -> bytes:
    parts: list[bytes] = []
    left: bytes | memoryview = data
    room = most
    while left:  # gzip files may follow one another (RFC 1952 2.2)
        decoder = zlib.decompressobj(_GZIP_WRAPPED)
        part = decoder.decompress(left, room + 1)
        if len(part) > room:
            raise TooLargeError
        if not decoder.eof:
            raise ValueError("it is cut off")
        parts.append(part)
        room -= len(part)
        left = decoder.unused_data
    return b"".join(parts)


def _snappy(data: memoryview, most: int) -> bytes:
    if bytes(data[: len(_XERIAL)]) != _XERIAL:
        return _snappy_block(data, most)
    parts: list[bytes] = []
    at, room = _XERIAL_HEAD, most
    while at < len(data):
        (length,) = _BLOCK.unpack_from(data, at)
        at += _BLOCK.size
        if length <= 0:
            raise ValueError("no such length")
        part = _snappy_block(data[at : at + length], room)
        parts.append(part)
        room -= len(part)
        at += length
    return b"".join(parts)


def _snappy_block(data: memoryview, most: int) -> bytes:
    block = bytes(data)
    if cramjam.snappy.decompress_raw_len(block) > most:
        raise TooLargeError
    return bytes(cramjam.snappy.decompress_raw(block))


def _into(decode: Callable[[bytes, bytearray], int]) -> Callable[[memoryview, int], bytes]:
    """By a decoder that fills a buffer, and fails when that is too small."""

    def unpacked(data: memoryview, most: int) -> bytes:
        room = bytearray(most)  # only what is written to takes memory
        try:
            size = decode(bytes(data), room)
        except cramjam.DecompressionError as error:
            if "whole buffer" in str(error):
                raise TooLargeError from None
            raise
        return bytes(memoryview(room)[:size])

    return unpacked


_CODECS: dict[int, Callable[[memoryview, int], bytes]] = {
    1: _gzip,
    2: _snappy,
    3: _into(cramjam.lz4.decompress_into),
    4: _into(cramjam.zstd.decompress_into),
}

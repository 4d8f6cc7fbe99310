"""The records of an event file (TFRecord framing), without TensorBoard's reader: damage costs what it hit, not the rest."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tb_losslens.events.crc32c import crc32c_numpy, masked_crc32c

_HEAD = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")
_FOOT = 4
_SEARCH = 1 << 18
"""Positions that are tried at a time when a header is damaged."""


@dataclass
class Damage:
    """What a scan met.

    Attributes:
        broken: places at which bytes had to be skipped.
        truncated: true if the last record is not complete: its process was killed, or is writing it right now.
        left: bytes of it that are there.
        records: how many complete ones were met.
    """

    broken: int = 0
    truncated: bool = False
    left: int = field(default=0, compare=False)
    records: int = field(default=0, compare=False)


def scan_records(data: bytes, damage: Damage, start: int = 0) -> Iterator[tuple[int, int]]:
    """Begin and end of the payload of each record of `data`, from position `start` on; notes damage in `damage`.

    Checks the CRC of each length (a wrong length would lose everything behind it), not that of payloads.
    """
    at, size = start, len(data)
    unpack, head = _HEAD.unpack_from, _HEAD.size
    while at + head <= size:
        length, crc = unpack(data, at)
        end = at + head + length + _FOOT
        if end > size or crc != masked_crc32c(data[at : at + 8]):
            if crc == masked_crc32c(data[at : at + 8]):
                # complete records may follow if it is the middle that is missing
                following = _next_record(data, at + 1)
                damage.truncated = following is None
                damage.left = size - at if damage.truncated else 0
                damage.broken += following is not None
            else:
                following = _next_record(data, at + 1)
                damage.broken += 1
            if following is None:
                return
            at = following
            continue
        damage.records += 1
        yield at + head, end - _FOOT
        at = end
    damage.truncated = damage.truncated or at != size
    damage.left = size - at


def all_records(data: bytes) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Begin and end of the payload of each record of `data`, int64, shape (records,): those that `scan_records` gives.

    The CRCs of the lengths are checked all together, which takes a fifth of the time; a file with damage is scanned anew.
    """
    starts, at, size = [], 0, len(data)
    unpack, head = _LENGTH.unpack_from, _HEAD.size
    last = size - head
    while at <= last:
        starts.append(at)
        at += unpack(data, at)[0] + head + _FOOT
    start = np.array(starts, dtype=np.int64)
    if at != size or not _lengths_hold(data, start):
        spans = np.array(list(scan_records(data, Damage())), dtype=np.int64).reshape(-1, 2)
        return spans[:, 0], spans[:, 1]
    return start + head, np.append(start[1:], at) - _FOOT if len(start) else start


def _lengths_hold(data: bytes, start: NDArray[np.int64]) -> bool:
    """True if the length of each of the records that begin at `start` has the CRC that stands behind it."""
    tables, zero = _length_crc_tables()
    raw = np.frombuffer(data, np.uint8)
    crc, stored = np.full(len(start), zero, np.uint32), np.zeros(len(start), np.uint32)
    for position in range(8):
        crc ^= tables[position][raw[start + position]]
    for position in range(4):
        stored |= raw[start + 8 + position].astype(np.uint32) << np.uint32(8 * position)
    return bool((_masked(crc) == stored).all())


def _masked(crc: NDArray[np.uint32]) -> NDArray[np.uint32]:
    """The CRCs as TFRecord stores them."""
    out: NDArray[np.uint32] = ((crc >> np.uint32(15)) | (crc << np.uint32(17))) + np.uint32(0xA282EAD8)
    return out


@lru_cache(maxsize=1)
def _length_crc_tables() -> tuple[NDArray[np.uint32], int]:
    """CRC of eight bytes as XOR of one table a byte: uint32 (8, 256), and the CRC of eight zero bytes."""
    zero = crc32c_numpy(bytes(8))
    tables = np.zeros((8, 256), np.uint32)
    for position in range(8):
        for byte in range(256):
            data = bytearray(8)
            data[position] = byte
            tables[position, byte] = crc32c_numpy(bytes(data)) ^ zero
    return tables, zero


def _next_record(data: bytes, start: int) -> int | None:
    """The first position from `start` on at which a complete record begins, or None."""
    tables, zero = _length_crc_tables()
    for begin in range(start, len(data) - _HEAD.size - _FOOT + 1, _SEARCH):
        count = min(_SEARCH, len(data) - _HEAD.size - _FOOT + 1 - begin)
        window = np.frombuffer(data, np.uint8, count + _HEAD.size - 1, begin)
        crc = np.full(count, zero, np.uint32)
        stored = np.zeros(count, np.uint32)
        for position in range(8):
            crc ^= tables[position][window[position : position + count]]
        for position in range(4):
            stored |= window[8 + position : 8 + position + count].astype(np.uint32) << np.uint32(8 * position)
        for found in np.flatnonzero(_masked(crc) == stored):
            at = begin + int(found)
            (length,) = struct.unpack_from("<Q", data, at)
            if at + _HEAD.size + length + _FOOT <= len(data):
                return at
    return None

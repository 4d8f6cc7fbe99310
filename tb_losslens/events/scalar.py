"""The event of one scalar as bytes: what protobuf makes of it, without the messages in between."""

from __future__ import annotations

import struct
from functools import lru_cache

_HEAD = struct.Struct("<Bd")
_VALUE = struct.Struct("<Bf")
_WALL_TIME, _STEP, _SUMMARY, _ENTRY, _TAG, _SIMPLE = 0x09, 0x10, 0x2A, 0x0A, 0x0A, 0x15
"""Fields of `Event`, `Summary` and `Summary.Value` with their types, as tensorboard/compat/proto has them."""

LARGEST = 3.4e38
"""Of a float of 32 bits; what is beyond it is left to protobuf."""


def scalar_event(tag: str, value: float, step: int, wall_time: float) -> bytes:
    """A serialized `Event` with one `simple_value`.

    Args:
        tag: of at most 2**20 bytes.
        value: NaN, infinite, or no larger than `LARGEST`.
        step: from 0 to 2**63 - 1.
        wall_time: seconds since 1970.
    """
    head, tail = _named(tag)
    number = _VALUE.pack(_SIMPLE, value)
    # a step of 0 is what an event has without one
    at = b"" if not step else bytes((_STEP, step)) if step < 128 else bytes((_STEP,)) + _varint(step)
    return b"".join((_HEAD.pack(_WALL_TIME, wall_time), at, head, tail, number))


@lru_cache(maxsize=4096)
def _named(tag: str) -> tuple[bytes, bytes]:
    name = tag.encode()
    inner = bytes((_TAG,)) + _varint(len(name)) + name if name else b""
    size = len(inner) + _VALUE.size
    entry = bytes((_ENTRY,)) + _varint(size)
    return bytes((_SUMMARY,)) + _varint(len(entry) + size), entry + inner


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    out.append(number)
    return bytes(out)

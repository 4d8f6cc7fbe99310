"""One column over thousands of chunks, decoded in bulk: chunk by chunk would spend ten times as long in Python."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.errors import CorruptChunkError, UnknownEncodingError
from tb_losslens.events import losslens_pb2 as pb
from tb_losslens.events.arrays import decode_array, inflate
from tb_losslens.events.codec import Packed
from tb_losslens.store.pieces import Piece

_FLOATS = ("<f4", "<f8")
_INTEGERS = ("<i8", "<i4", "<i2", "|i1", "<u4", "<u2", "|u1")
_TYPES = {name: np.dtype(name) for name in (*_FLOATS, *_INTEGERS)}
_NOTHING = -2
_ABSENT = (_NOTHING, "", 0)
_DECODED = (-1, "", 0)
"""Kinds of parts beside those on disk: a chunk without the column, and one to be looked at alone."""
_ZLIB = int(pb.ZLIB_SHUFFLE)

EXACT = ("loss", "time")
"""Columns that are float64 in memory, however short they could be stored."""


@dataclass
class Trouble:
    """What could not be decoded: names of columns in an unknown encoding, and how many parts of columns are damaged."""

    unknown: set[str] = field(default_factory=set)
    damaged: int = 0


Stored = Sequence[Mapping[str, Any]]
"""The columns of some pieces as they are stored, one mapping a piece."""


def stored_of(pieces: Sequence[Piece]) -> Stored | None:
    """What `join` takes as `stored`: None unless all rows of each piece are wanted, as they are stored."""
    found = [piece.chunk.columns for piece in pieces]
    packed = [columns.raw for columns in found if isinstance(columns, Packed)]
    return packed if len(packed) == len(found) and not any(piece.skip for piece in pieces) else None


def join(name: str, pieces: Sequence[Piece], trouble: Trouble, stored: Stored | None = None) -> NDArray[Any] | None:
    """Column `name` of all rows of `pieces`, possibly read-only; None if none of them has it.

    `stored` is that of `stored_of`, for who joins many columns.

    Int64 if every part is an integer, with -1 where unknown; else float32 if every part is, else float64, with NaN
    where unknown (-1 in the parts that are integers).
    """
    parts = _alike(name, stored) if stored else None
    if parts:
        joined = _bulk(parts[0].encoding, parts[0].dtype, parts, [piece.chunk.count for piece in pieces])
        if joined is not None:
            return _glue([joined], exact=name in EXACT)
    arrays: list[NDArray[Any] | int] = []
    known = False
    for (encoding, dtype, _), members in _groups(name, pieces):
        if encoding == _NOTHING:
            arrays.append(sum([len(piece) for _, piece in members]))
            continue
        columns = [part for part, _ in members]
        joined = _bulk(encoding, dtype, columns, [piece.chunk.count for _, piece in members])
        found = [joined] if joined is not None else [_single(name, part, piece, trouble) for part, piece in members]
        arrays += found
        known = known or any(not isinstance(array, int) for array in found)
    return _glue(arrays, exact=name in EXACT) if known else None


def _alike(name: str, stored: Stored) -> list[Any] | None:
    """The parts of column `name` where each piece has one and all are of one kind, as nearly always; else None."""
    parts = [columns.get(name) for columns in stored]
    known = [part for part in parts if part is not None]
    if len(known) < len(parts) or len({(part.encoding, part.dtype) for part in known}) != 1:
        return None
    return known


def _groups(name: str, pieces: Sequence[Piece]) -> Iterator[tuple[tuple[int, str, int], list[tuple[Any, Piece]]]]:
    """Parts of the same kind in a row, which are decoded together: encoding, number type, and rows where they matter."""
    last: tuple[int, str, int] | None = None
    group: list[tuple[Any, Piece]] = []
    for piece in pieces:
        chunk = piece.chunk
        columns = chunk.columns
        if type(columns) is Packed:
            part: Any = columns.raw.get(name)
            if part is None:
                kind = _ABSENT
            elif piece.skip:
                kind = _DECODED
            else:
                encoding = part.encoding
                if last is not None and encoding == last[0] and encoding != _ZLIB and part.dtype == last[1]:
                    group.append((part, piece))  # as most are: no key is made
                    continue
                kind = (encoding, part.dtype, chunk.count if encoding == _ZLIB else 0)
        else:
            part = columns.get(name)
            kind = _ABSENT if part is None else _DECODED
        if kind != last:
            if last is not None:
                yield last, group
            last, group = kind, []
        group.append((part, piece))
    if last is not None:
        yield last, group


def _bulk(encoding: int, type_name: str, parts: list[Any], counts: list[int]) -> NDArray[Any] | None:
    """Parts of one kind as one array, or None where they must be looked at one by one."""
    dtype = _TYPES.get(type_name)
    if dtype is None:
        return None
    width, rows = dtype.itemsize, sum(counts)
    if encoding == pb.RAW:
        data = b"".join([part.data for part in parts])
        return np.frombuffer(data, dtype) if len(data) == rows * width else None
    if encoding in (pb.CONSTANT, pb.LINEAR) and [part.shape[0] if part.shape else -1 for part in parts] != counts:
        return None
    if encoding == pb.CONSTANT:
        data = b"".join([part.data for part in parts])
        return np.repeat(np.frombuffer(data, dtype), counts) if len(data) == len(parts) * width else None
    if encoding == pb.LINEAR and dtype.kind in "iu":
        data = b"".join([part.data for part in parts])
        if len(data) != 2 * len(parts) * width:
            return None
        first, difference = np.frombuffer(data, dtype).reshape(-1, 2).T
        starts = np.cumsum(counts) - counts
        index = (np.arange(rows) - np.repeat(starts, counts)).astype(dtype)
        values: NDArray[Any] = index * np.repeat(difference, counts) + np.repeat(first, counts)
        return values
    if encoding == pb.ZLIB_SHUFFLE:
        return _unshuffled(parts, counts, dtype)
    return None


def _unshuffled(parts: list[Any], counts: list[int], dtype: np.dtype[Any]) -> NDArray[Any] | None:
    """Parts whose bytes were sorted by their place in a number before they were compressed; None if one is damaged."""
    width = dtype.itemsize
    try:
        found = [inflate("", part.data, count * width) for part, count in zip(parts, counts, strict=True)]
    except CorruptChunkError:
        return None
    if [len(data) for data in found] != [count * width for count in counts]:
        return None
    every = np.asarray(counts)
    starts = np.cumsum(every) - every
    out = np.empty(int(every.sum()), dtype)
    for count in {*counts}:  # a few: most chunks are full, and the last one of each epoch is not
        mine = np.flatnonzero(every == count)
        planes = np.frombuffer(b"".join([found[k] for k in mine.tolist()]), np.uint8).reshape(len(mine), width, count)
        rows = np.ascontiguousarray(planes.transpose(0, 2, 1)).view(dtype).reshape(len(mine), count)
        if len(mine) == len(counts):
            return rows.reshape(-1)
        out[starts[mine][:, None] + np.arange(count)] = rows
    return out


def _single(name: str, part: Any, piece: Piece, trouble: Trouble) -> NDArray[Any] | int:
    """The wanted rows of one part; their number if they cannot be read."""
    try:
        array = decode_array(part) if isinstance(part, pb.Column) else part
    except UnknownEncodingError:
        trouble.unknown.add(name)
        return len(piece)
    except CorruptChunkError:
        trouble.damaged += 1
        return len(piece)
    if array.shape != (piece.chunk.count,) or array.dtype.kind not in "biuf":
        trouble.damaged += 1
        return len(piece)
    rows: NDArray[Any] = array[piece.skip :]
    return rows


def _glue(arrays: list[NDArray[Any] | int], *, exact: bool) -> NDArray[Any]:
    """Arrays one after the other; a number stands for so many rows without a value."""
    known = [array.dtype for array in arrays if not isinstance(array, int)]
    integer = all(dtype.kind in "biu" for dtype in known)
    narrow = not exact and all(dtype.kind == "f" and dtype.itemsize <= 4 for dtype in known)
    dtype = np.dtype(np.int64 if integer else np.float32 if narrow else np.float64)
    if len(arrays) == 1 and not isinstance(arrays[0], int) and arrays[0].dtype == dtype:
        return arrays[0]
    missing = -1 if integer else math.nan
    out = np.empty(sum(array if isinstance(array, int) else len(array) for array in arrays), dtype)
    at = 0
    for array in arrays:
        rows = array if isinstance(array, int) else len(array)
        target = out[at : at + rows]
        target[:] = missing if isinstance(array, int) else array
        if not isinstance(array, int) and not integer and array.dtype.kind in "iu":
            target[array == -1] = math.nan  # -1 means "unknown" among integers only
        at += rows
    return out

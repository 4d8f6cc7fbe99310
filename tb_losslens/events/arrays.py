"""One array and its bytes: narrowing without loss, byte shuffle, compression."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.errors import CorruptChunkError, UnknownEncodingError
from tb_losslens.events import losslens_pb2 as pb

LEVEL = 4
"""zlib level; higher ones take longer and save nothing on shuffled floats."""

WORTH = 0.75
"""Bytes are kept raw unless compression brings them below this share: reading raw ones is ten times faster."""

RUNS = 0.3
"""Compression is tried where at least this share of bytes repeats the one before it, in the order of the shuffle."""

MAX_BYTES = 1 << 28
"""A column that claims to be larger is corrupt, not real: one event is read as a whole and gRPC ends at 256 MiB."""

MOST_STEPS = 2
"""Numbers of which any are a sequence with equal steps."""

_UINT24 = "<u3"
"""Our own number type: the low three bytes of an unsigned 32-bit integer."""


def narrow(array: NDArray[Any]) -> NDArray[Any]:
    """The same values in the smallest type that holds each of them exactly.

    Floats become float32 if all survive the way there and back (NaN counts as surviving), integers the smallest signed
    type, or the smallest unsigned one of at least 16 bits where none is negative.
    """
    if array.dtype == np.float64:
        return narrow_floats(array.reshape(1, -1))[0][0].reshape(array.shape)
    if array.dtype.kind in "iu" and array.size:
        low, high = int(array.min()), int(array.max())
        kinds = (np.uint16, np.uint32) if low >= 0 else (np.int8, np.int16, np.int32)
        for kind in kinds:
            if np.iinfo(kind).min <= low and high <= np.iinfo(kind).max:
                return array.astype(kind)
    return array


def narrow_floats(table: NDArray[np.float64]) -> tuple[list[NDArray[Any]], list[bool]]:
    """Each row of a table as float32 if that holds all its values, else as it is; and whether it has any but NaN."""
    with np.errstate(over="ignore"):
        short = table.astype(np.float32)
    unknown = np.isnan(table)
    same = short == table
    same |= unknown
    exact: list[bool] = np.asarray(same.all(axis=1)).tolist()
    empty: list[bool] = np.asarray(unknown.all(axis=1)).tolist()
    return [short[i] if fits else table[i] for i, fits in enumerate(exact)], [not nothing for nothing in empty]


def encode_arrays(arrays: Mapping[str, NDArray[Any]], body: pb.Body) -> None:
    """Adds what `encode_array` makes of each of them; those of one type and length are looked at together, which is faster."""
    alike: dict[tuple[np.dtype[Any], int], list[str]] = {}
    columns: dict[str, pb.Column] = {}
    for name, array in arrays.items():
        columns[name] = body.columns.add()
        if array.ndim == 1 and array.size and array.dtype.kind in "biuf":
            alike.setdefault((array.dtype, len(array)), []).append(name)
        else:
            encode_array(name, array, columns[name])
    for names in alike.values():
        if len(names) > 1:
            _encode_table(names, np.stack([arrays[name] for name in names]), [columns[name] for name in names])
        else:
            encode_array(names[0], arrays[names[0]], columns[names[0]])


def _encode_table(names: list[str], table: NDArray[Any], columns: list[pb.Column]) -> None:
    """Columns of one type, shape (columns, rows)."""
    table = np.ascontiguousarray(table, dtype=table.dtype.newbyteorder("<"))
    count, rows = table.shape
    width = table.dtype.itemsize
    bits = table.view(f"u{width}")  # NaN is equal to itself
    differs = bits[:, 1:] ^ bits[:, :-1]
    constant = (~differs.any(axis=1)).tolist()
    repeats = np.add.reduce(differs.view(np.uint8) == 0, axis=1, dtype=np.int32).tolist()
    steps = [False] * count
    if table.dtype.kind in "iu" and rows > MOST_STEPS:
        differences = table[:, 1:] - table[:, :-1]
        steps = (differences == differences[:, :1]).all(axis=1).tolist()
    three = [bool((bits[i] < 1 << 24).all()) for i in range(count)] if table.dtype == np.uint32 else [False] * count
    raw, octets = table.tobytes(), rows * width
    alike = pb.Column(dtype=table.dtype.str, shape=(rows,))
    for i, (name, column) in enumerate(zip(names, columns, strict=True)):
        column.CopyFrom(alike)  # half as long as to set these fields
        column.name = name
        if constant[i]:
            column.encoding, column.data = pb.CONSTANT, raw[i * octets : i * octets + width]
        elif steps[i]:
            column.encoding = pb.LINEAR
            column.data = np.concatenate([table[i, :1], table[i, 1:2] - table[i, :1]]).tobytes()
        elif three[i]:
            column.dtype = _UINT24
            _store(column, table[i], _planes(table[i])[:-1], repeats[i] - (rows - 1))
        elif repeats[i] > RUNS * octets:
            _store(column, table[i], _planes(table[i]), repeats[i])
        else:
            column.data = raw[i * octets : (i + 1) * octets]


def _planes(array: NDArray[Any]) -> NDArray[np.uint8]:
    """The first bytes of all numbers, then the second ones, and so on; shape (bytes a number, numbers)."""
    return np.ascontiguousarray(array.reshape(-1).view(np.uint8).reshape(-1, array.dtype.itemsize).T)


def encode_array(name: str, array: NDArray[Any], column: pb.Column | None = None) -> pb.Column:
    """`array` (bool, integer or float, any shape with at least one axis) as a column; its type is kept exactly.

    Args:
        name: of the column.
        array: its values.
        column: an empty one that is filled; by default a new one.
    """
    if array.dtype.kind not in "biuf" or array.ndim == 0:
        raise ValueError(f"column {name!r} must be an array of numbers with at least one axis, got {array.dtype} {array.shape}")
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    column = pb.Column() if column is None else column
    column.name, column.dtype = name, array.dtype.str
    column.shape.extend(array.shape)
    if not array.size:
        return column
    rows = array.view(f"u{array.dtype.itemsize}").reshape(len(array), -1)  # as bits: NaN is equal to itself
    if (rows == rows[0]).all():
        column.encoding = pb.CONSTANT
        column.data = rows[0].tobytes()
        return column
    if array.dtype.kind in "iu" and array.ndim == 1 and _is_linear(array):
        column.encoding = pb.LINEAR
        column.data = np.concatenate([array[:1], array[1:2] - array[:1]]).tobytes()
        return column
    planes = _planes(array)
    if array.dtype == np.uint32 and not planes[3].any():
        column.dtype = _UINT24
        planes = planes[:3]
    _store(column, array, planes, int(np.count_nonzero(planes[:, 1:] == planes[:, :-1])))
    return column


def _store(column: pb.Column, array: NDArray[Any], planes: NDArray[np.uint8], repeats: int) -> None:
    """Compressed where that pays, else as it is; `repeats` bytes of the planes are like the one before.

    Where they are few it is not tried: compressing noise in vain would take most of a recorder's time.
    """
    if repeats > RUNS * planes.size:
        packed = zlib.compress(planes.tobytes(), LEVEL)
        if len(packed) < WORTH * planes.size:
            column.encoding = pb.ZLIB_SHUFFLE
            column.data = packed
            return
    column.data = array.tobytes() if len(planes) == array.dtype.itemsize else planes.T.tobytes()


def _is_linear(array: NDArray[Any]) -> bool:
    # wraps around as the way back does, so that any integers may be tried
    difference = array[1:] - array[:-1]
    return len(array) > MOST_STEPS and bool((difference == difference[0]).all())


def linear(first: np.integer[Any], difference: np.integer[Any], count: int) -> NDArray[Any]:
    """`count` integers from `first` on, each `difference` more than the one before, in their own type (which may wrap)."""
    values: NDArray[Any] = np.arange(count).astype(first.dtype) * difference + first
    return values


def decode_array(column: pb.Column) -> NDArray[Any]:
    """The array of a column; read-only.

    Raises:
        UnknownEncodingError: its encoding or number type is not known here.
        CorruptChunkError: its bytes do not fit its shape.
    """
    dtype, width = _number_type(column)
    shape = tuple(column.shape)
    size = math.prod(shape) * width
    if not shape or size > MAX_BYTES:
        raise CorruptChunkError(f"column {column.name!r} claims the shape {shape}")
    data = column.data
    if column.encoding == pb.CONSTANT:
        element = size // shape[0] if shape[0] else len(data)
        if len(data) != element:
            raise CorruptChunkError(f"column {column.name!r} has {len(data)} bytes for one element of {element}")
        return np.broadcast_to(_from_rows(data, dtype, width).reshape(shape[1:]), shape)
    if column.encoding == pb.LINEAR:
        if len(data) != 2 * width or width != dtype.itemsize or dtype.kind not in "iu" or len(shape) != 1:
            raise CorruptChunkError(f"column {column.name!r} is no sequence of integers")
        first, difference = np.frombuffer(data, dtype)
        return linear(first, difference, shape[0])
    if column.encoding == pb.ZLIB_SHUFFLE:
        data = inflate(column.name, data, size)
    if len(data) != size:
        raise CorruptChunkError(f"column {column.name!r} has {len(data)} bytes where its shape needs {size}")
    if column.encoding == pb.ZLIB_SHUFFLE:
        data = np.frombuffer(data, np.uint8).reshape(width, -1).T.tobytes()
    return _from_rows(data, dtype, width).reshape(shape)


def _number_type(column: pb.Column) -> tuple[np.dtype[Any], int]:
    """The numpy type of a column and the bytes that one number takes on disk."""
    if column.encoding not in (pb.RAW, pb.ZLIB_SHUFFLE, pb.CONSTANT, pb.LINEAR):
        raise UnknownEncodingError(f"column {column.name!r} has the unknown encoding {column.encoding}")
    if column.dtype == _UINT24:
        return np.dtype("<u4"), 3
    try:
        dtype = np.dtype(column.dtype)
    except (TypeError, ValueError, SyntaxError):
        dtype = np.dtype(object)
    if dtype.kind not in "biuf" or dtype.itemsize > 8:  # 16-byte floats differ from machine to machine
        raise UnknownEncodingError(f"column {column.name!r} has the unknown number type {column.dtype!r}")
    return dtype, dtype.itemsize


def _from_rows(data: bytes, dtype: np.dtype[Any], width: int) -> NDArray[Any]:
    if width == dtype.itemsize:
        return np.frombuffer(data, dtype)
    wide = np.zeros((len(data) // width, dtype.itemsize), np.uint8)
    wide[:, :width] = np.frombuffer(data, np.uint8).reshape(-1, width)
    return wide.view(dtype).reshape(-1)


def inflate(name: str, data: bytes, size: int) -> bytes:
    """Decompresses to at most one byte more than expected, so that a hostile column cannot fill the memory."""
    try:
        return zlib.decompressobj().decompress(data, size + 1)
    except zlib.error as error:
        raise CorruptChunkError(f"column {name!r} cannot be decompressed: {error}") from error

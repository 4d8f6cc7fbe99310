"""A chunk, a run of consecutive batches with what happened between them, and its bytes (losslens.proto)."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from google.protobuf.message import DecodeError
from numpy.typing import NDArray

from tb_losslens.errors import CorruptChunkError, NewerFormatError, UnknownEncodingError
from tb_losslens.events import losslens_pb2 as pb
from tb_losslens.events.arrays import decode_array, encode_arrays
from tb_losslens.events.crc32c import crc32c
from tb_losslens.events.metadata import FORMAT

LENGTHS = ".len"
"""A list-valued column `x` has its lists one after the other, and their lengths in `x.len`."""

MAX_COUNT = 1 << 20
"""More batches than this in a chunk are a damaged count: a recorder closes one at 256."""


@dataclass(frozen=True)
class Record:
    """Something that happened before batch `batch` of the session (an index) and after the one before it.

    `step` is the user's own there, `time` in seconds since 1970, `fields` what a JSON object can hold.
    """

    kind: str
    batch: int
    step: int = 0
    time: float = 0.0
    text: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


class Encoded(Mapping[str, Any]):
    """Fields of a record as the JSON text that goes to disk, which is made once; parsed only where somebody looks into it.

    Args:
        text: a JSON object, in ASCII.
    """

    def __init__(self, text: str) -> None:
        self.text = text

    @cached_property
    def _values(self) -> dict[str, Any]:
        values: dict[str, Any] = json.loads(self.text)
        return values

    def __getitem__(self, name: str) -> Any:
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)


def fields_text(record: Record) -> str:
    """The fields of a record as a JSON object, "{}" without any."""
    fields = record.fields
    return fields.text if isinstance(fields, Encoded) else json.dumps(dict(fields), default=str)


@dataclass(frozen=True)
class Chunk:
    """Batches `first_batch <= i < first_batch + count` of a session.

    Attributes:
        session: id of the session.
        first_batch: index of the first batch in the session.
        count: batches; 0 if there are records only.
        columns: one array of length `count` by name; for lists `name`, shape (total,) or (total, k), with `name.len`.
        records: in the order in which they were made.
        unknown: names of columns that this release cannot decode.
    """

    session: str
    first_batch: int
    count: int
    columns: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    records: tuple[Record, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def end(self) -> int:
        """Index of the batch after the last one."""
        return self.first_batch + self.count


def encode_chunk(chunk: Chunk) -> bytes:
    """The bytes of a chunk, exactly as `decode_chunk` gives it back.

    Raises:
        ValueError: a column is not numeric or has the wrong length.
    """
    _check_lengths(chunk.count, chunk.columns, ValueError)
    parts = pb.Body(records=[_encode_record(record) for record in chunk.records])
    encode_arrays(chunk.columns, parts)
    body = parts.SerializeToString()
    return pb.Chunk(
        format=FORMAT,
        session=chunk.session,
        first_batch=chunk.first_batch,
        count=chunk.count,
        body=body,
        body_crc32c=crc32c(body),
    ).SerializeToString()


class Packed(Mapping[str, NDArray[Any]]):
    """Columns that are decoded when they are asked for; that may raise what `decode_array` raises.

    Attributes:
        raw: the columns as they are stored, for decoding many chunks at once (store/columns.py).
    """

    def __init__(self, raw: dict[str, pb.Column]) -> None:
        self.raw = raw

    def __getitem__(self, name: str) -> NDArray[Any]:
        return decode_array(self.raw[name])

    def __contains__(self, name: object) -> bool:
        return name in self.raw

    def __iter__(self) -> Iterator[str]:
        return iter(self.raw)

    def __len__(self) -> int:
        return len(self.raw)


def open_chunk(data: bytes) -> Chunk:
    """The chunk of these bytes, checked as a whole, its columns still `Packed`.

    Raises:
        CorruptChunkError: they are damaged.
        NewerFormatError: a later release wrote them.
    """
    try:
        outer = _outer(data)
        body = pb.Body.FromString(outer.body)
    except DecodeError as error:
        raise CorruptChunkError("these bytes are not a chunk") from error
    columns = {column.name: column for column in body.columns}
    _check_count(outer, columns)
    records = tuple(_decode_record(record) for record in body.records)
    return Chunk(outer.session, outer.first_batch, outer.count, Packed(columns), records)


def check_chunk(data: bytes) -> None:
    """Checks these bytes without unpacking what is in them.

    Raises:
        CorruptChunkError: they are damaged.
        NewerFormatError: a later release wrote them.
    """
    try:
        _outer(data)
    except DecodeError as error:
        raise CorruptChunkError("these bytes are not a chunk") from error


def _outer(data: bytes) -> pb.Chunk:
    outer = pb.Chunk.FromString(data)
    if outer.format > FORMAT:
        raise NewerFormatError(outer.format, FORMAT)
    if outer.format == 0 or not outer.session or outer.first_batch < 0 or not outer.body:
        raise CorruptChunkError("these bytes are not a chunk")
    if crc32c(outer.body) != outer.body_crc32c:
        raise CorruptChunkError(f"chunk at batch {outer.first_batch} of session {outer.session} has a wrong checksum")
    return outer


def _check_count(outer: pb.Chunk, columns: Mapping[str, pb.Column]) -> None:
    """The count stands outside of what the checksum covers; a wrong one could ask for any amount of memory."""
    one_a_batch = next((column for name, column in columns.items() if name + LENGTHS not in columns), None)
    rows = outer.count if one_a_batch is None else one_a_batch.shape[0] if one_a_batch.shape else 0
    if rows != outer.count or rows > MAX_COUNT:
        raise CorruptChunkError(f"chunk at batch {outer.first_batch} claims {outer.count} batches, its columns have {rows}")


def decode_chunk(data: bytes) -> Chunk:
    """The chunk of these bytes with all its columns.

    Raises:
        CorruptChunkError: they are damaged.
        NewerFormatError: a later release wrote them.
    """
    chunk = open_chunk(data)
    columns, unknown = {}, []
    for name in chunk.columns:
        try:
            columns[name] = chunk.columns[name]
        except UnknownEncodingError:
            unknown.append(name)
    for name in unknown:  # the two columns of a list make sense only together
        columns.pop(name.removesuffix(LENGTHS), None)
        columns.pop(name + LENGTHS, None)
    _check_lengths(chunk.count, columns, CorruptChunkError)
    return replace(chunk, columns=columns, unknown=tuple(unknown))


def _check_lengths(count: int, columns: Mapping[str, NDArray[Any]], error: type[Exception]) -> None:
    lists = {name.removesuffix(LENGTHS): array for name, array in columns.items() if name.endswith(LENGTHS)}
    for name, array in columns.items():
        expected = int(lists[name].sum()) if name in lists else count
        if len(array) != expected:
            raise error(f"column {name!r} must have {expected} elements, it has {len(array)}")
        if name.endswith(LENGTHS) and (array.dtype.kind not in "iu" or (array < 0).any()):
            raise error(f"column {name!r} must hold the lengths of lists")


def _encode_record(record: Record) -> pb.Record:
    fields = fields_text(record)
    return pb.Record(
        kind=record.kind,
        batch=record.batch,
        step=record.step,
        time=record.time,
        text=record.text,
        fields=fields if fields != "{}" else "",
    )


def _decode_record(record: pb.Record) -> Record:
    try:
        fields = json.loads(record.fields) if record.fields else {}
    except ValueError as error:
        raise CorruptChunkError(f"the fields of a record of kind {record.kind!r} are not JSON") from error
    if not isinstance(fields, dict):
        raise CorruptChunkError(f"the fields of a record of kind {record.kind!r} are not a JSON object")
    return Record(record.kind, record.batch, record.step, record.time, record.text, fields)

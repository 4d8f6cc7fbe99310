"""Turns what a session gathered into events: chunks with their tags, in shards."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tensorboard.compat.proto import event_pb2, summary_pb2, tensor_pb2, tensor_shape_pb2, types_pb2

from tb_losslens.events.arrays import narrow, narrow_floats
from tb_losslens.events.codec import Chunk, Record, encode_chunk
from tb_losslens.events.metadata import CHUNKS_PER_SHARD, PLUGIN_NAME, batch_tag, ids_tag
from tb_losslens.events.tail import join_lists
from tb_losslens.record.disk.layout import MISSING

LARGE_LISTS = ("sample_ids", "per_sample")
"""List-valued signals that are kept apart, under the tag of ids: readers load them only when asked."""

_SCALAR = tensor_shape_pb2.TensorShapeProto()
_METADATA = summary_pb2.SummaryMetadata(
    plugin_data=summary_pb2.SummaryMetadata.PluginData(plugin_name=PLUGIN_NAME), data_class=summary_pb2.DATA_CLASS_TENSOR
)


@dataclass(frozen=True)
class OpenChunk:
    """What a session gathered for one chunk.

    Attributes:
        first_batch: index of the first batch.
        rows: batches.
        layout: name and type ("q" int64, "d" float64) of each column of `table`.
        table: rows of 8 bytes a column.
        lists: arrays by row for each list-valued signal.
        records: in the order in which they were made.
    """

    first_batch: int
    rows: int
    layout: Sequence[tuple[str, str]]
    table: bytes
    lists: dict[str, dict[int, NDArray[Any]]]
    records: tuple[Record, ...]


class ChunkWriter:
    """Gives each chunk its tag and step. One for a session; called by one thread, in the order of batches."""

    def __init__(self, session: str) -> None:
        self._session = session
        self._batches = _Shards()
        self._ids = _Shards()

    def events(self, chunk: OpenChunk) -> list[bytes]:
        """The serialized events of a chunk: its columns and records, and its ids if it has any."""
        large = {name: chunk.lists[name] for name in chunk.lists if name in LARGE_LISTS}
        small = {name: chunk.lists[name] for name in chunk.lists if name not in LARGE_LISTS}
        columns = _columns(chunk) | _lists(small, chunk.rows)
        data = encode_chunk(Chunk(self._session, chunk.first_batch, chunk.rows, columns, chunk.records))
        out = [chunk_event(batch_tag(self._session, self._batches.place(chunk.first_batch)), chunk.first_batch, data)]
        if large:
            data = encode_chunk(Chunk(self._session, chunk.first_batch, chunk.rows, _lists(large, chunk.rows)))
            out.append(chunk_event(ids_tag(self._session, self._ids.place(chunk.first_batch)), chunk.first_batch, data))
        return out


class _Shards:
    """Numbers the shards of one kind of tag: ten chunks each, with rising steps."""

    def __init__(self) -> None:
        self._shard = 0
        self._chunks = 0
        self._step = -1

    def place(self, step: int) -> int:
        """The shard for a chunk that begins at batch `step`."""
        # a chunk of records alone begins where the next one begins; TensorBoard would drop the first of two equal steps
        if self._chunks == CHUNKS_PER_SHARD or (self._chunks and step <= self._step):
            self._shard += 1
            self._chunks = 0
        self._chunks += 1
        self._step = step
        return self._shard


def chunk_event(tag: str, step: int, data: bytes) -> bytes:
    """A serialized tensor-summary event with the bytes of a chunk, as TensorBoard keeps it for our plugin.

    Without `data_class` TensorBoard would not list it.
    """
    tensor = tensor_pb2.TensorProto(dtype=types_pb2.DT_STRING, string_val=[data], tensor_shape=_SCALAR)
    value = summary_pb2.Summary.Value(tag=tag, metadata=_METADATA, tensor=tensor)
    event = event_pb2.Event(wall_time=time.time(), step=step, summary=summary_pb2.Summary(value=[value]))
    return bytes(event.SerializeToString())


def _columns(chunk: OpenChunk) -> dict[str, NDArray[Any]]:
    """The columns of a chunk as they go to disk; those without any known value are left out."""
    count = len(chunk.layout)
    table = np.frombuffer(chunk.table, np.int64, chunk.rows * count).reshape(chunk.rows, count).T.copy()
    found: dict[int, NDArray[Any]] = {}
    floats = [i for i, (_, code) in enumerate(chunk.layout) if code == "d"]
    if floats and chunk.rows:
        numbers = (table if len(floats) == count else table[floats]).view(np.float64)
        found.update((i, array) for i, array, known in zip(floats, *narrow_floats(numbers), strict=True) if known)
    for i, (_, code) in enumerate(chunk.layout):
        if code == "q" and (table[i] != MISSING["q"]).any():
            found[i] = narrow(table[i])
    return {name: found[i] for i, (name, _) in enumerate(chunk.layout) if i in found}


def _lists(lists: dict[str, dict[int, NDArray[Any]]], rows: int) -> dict[str, NDArray[Any]]:
    out: dict[str, NDArray[Any]] = {}
    for name, values in lists.items():
        out.update({key: narrow(array) for key, array in join_lists(name, values, rows).items()})
    return out

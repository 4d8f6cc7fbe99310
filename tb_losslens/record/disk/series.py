"""Rows that are all of one kind, put straight into the memory of the chunk: what a plain training step can afford."""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable
from functools import lru_cache
from threading import RLock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.events.tail import ENTRY, LIST, list_description
from tb_losslens.record.disk.layout import Layout
from tb_losslens.record.disk.ring import Segment

_BATCH, _BATCH_AT = struct.Struct("<q"), 8
"""Of the head of a log entry, where its batch stands."""


@lru_cache(maxsize=64)
def _packer(codes: str) -> Callable[..., None]:
    """Puts values of these types into memory."""
    return struct.Struct("=" + codes).pack_into


@lru_cache(maxsize=64)
def _head(size: int) -> bytes:
    """What the log entry of a row with so many ids begins with; the batch is filled in."""
    description = list_description("sample_ids", np.empty(0, "<i8"))
    return ENTRY.pack(len(description) + 8 * size, LIST, len(description), 0) + description


class Series:
    """Rows of the same columns, one after the other, each with a list of ids of the same length.

    Each row lies in the tail when `put` returns, as one of `Buffer.store` does. Everything else that is known of a row is
    made of these bytes once the series has ended, many rows at a time.

    Args:
        segment: the open chunk; the columns that `put` is given come first in its layout.
        layout: its columns.
        count: rows that it has so far.
        constants: the other columns that have a value, the same in each row.
        size: ids of a row, -1 for rows without.
        lock: held while a row is stored.
        due: when the chunk is to be closed, by `time.perf_counter`.

    Attributes:
        begin: rows of the chunk before the first one of this.
        count: rows of the chunk.
        capacity: no more rows than these are taken; 0 once the series has ended.
        block: what was put, once it has ended.
    """

    __slots__ = (
        "_batch",
        "_codes",
        "_due",
        "_entry",
        "_head_bytes",
        "_led",
        "_log",
        "_log_start",
        "_log_word",
        "_memory",
        "_pack",
        "_row_bytes",
        "_rows",
        "_rows_word",
        "_size",
        "_store_lock",
        "_template",
        "_words",
        "begin",
        "block",
        "capacity",
        "count",
    )

    def __init__(
        self,
        segment: Segment,
        layout: Layout,
        count: int,
        names: tuple[str, ...],
        constants: dict[str, float],
        *,
        size: int,
        lock: RLock,
        due: float,
    ) -> None:
        self._memory, self._words = segment.memory, segment.words
        self._rows, self._rows_word, self._row_bytes = segment.rows, segment.rows_word, layout.row_bytes
        self._codes = "".join(code for _, code in layout.columns)
        self._led = self._codes[: len(names)].encode()
        self._pack = _packer(self._codes[: len(names)])
        self._size, self._due, self._store_lock = size, due, lock
        self.begin = self.count = count
        self.block: Block | None = None
        self.capacity = layout.capacity
        self._log, self._log_word, self._log_start = segment.log_end, segment.log_word, segment.log_start
        self._entry, self._batch, self._template = 0, segment.first_batch, b""
        if size >= 0:
            self._template = _head(size)
            self._head_bytes = len(self._template)
            self._entry = self._head_bytes + 8 * size
            self.capacity = min(self.capacity, count + segment.room // max(self._entry, 1))
        # what does not differ stands there before: a row is counted later than it is complete
        row = bytearray(layout.row_bytes)
        layout.pack(row, 0, *layout.values(constants))
        rows = max(0, self.capacity - count)
        begin = self._rows + count * self._row_bytes
        self._memory[begin : begin + rows * self._row_bytes] = bytes(row) * rows

    def put(self, values: list[float], ids: array[int] | None, now: float) -> bool:
        """Stores a row; False, and nothing stored, if it has to go another way.

        Args:
            values: of the columns, in their order.
            ids: dataset indices of the batch, int64.
            now: the time by `time.perf_counter`.
        """
        count = self.count
        if now >= self._due or (len(ids) if ids is not None else -1) != self._size:
            return False
        with self._store_lock:
            if count >= self.capacity:  # it is full, or another thread has closed the chunk
                return False
            memory = self._memory
            try:
                self._pack(memory, self._rows + count * self._row_bytes, *values)
            except struct.error:  # a value of another type than usual
                return False
            if ids is not None:
                # by the count and not from the last end: what an interrupt left half done is written over
                at = self._log + (count - self.begin) * self._entry
                end = at + self._entry
                memory[at : at + self._head_bytes] = self._template
                _BATCH.pack_into(memory, at + _BATCH_AT, self._batch + count)
                memory[at + self._head_bytes : end] = ids
                self._words[self._log_word] = end - self._log_start
            self.count = count + 1
            self._words[self._rows_word] = count + 1
        return True

    def end(self, segment: Segment) -> Block:
        """Takes no more rows; what was put. The segment's log goes on behind it."""
        self.capacity = 0
        rows = self.count - self.begin
        segment.rewind(self._log + rows * self._entry, self.count)
        size = self._row_bytes
        table = np.frombuffer(self._memory[self._rows + self.begin * size : self._rows + self.count * size], np.int64)
        table = table.reshape(rows, size // 8)
        ids = None
        if self._size >= 0:
            log = np.frombuffer(self._memory[self._log : self._log + rows * self._entry], "<i8").reshape(rows, self._entry // 8)
            ids = log[:, log.shape[1] - self._size :]
        self.block = Block(table, self._codes, ids, self._log + max(0, rows - 1) * self._entry)
        return self.block

    def forget(self) -> None:
        """Takes no more rows: the memory is another process's."""
        self.capacity = 0


class Block:
    """What a series was put.

    Attributes:
        table: the rows, int64 of shape (rows, columns); the bits of float64 where a column is of these.
        ids: int64, shape (rows, samples); None for rows without.
        mark: where the log ended before the newest row.
    """

    def __init__(self, table: NDArray[np.int64], codes: str, ids: NDArray[np.int64] | None, mark: int) -> None:
        self.table, self._codes, self.ids, self.mark = table, codes, ids, mark

    def __len__(self) -> int:
        return len(self.table)

    def column(self, place: int) -> NDArray[Any]:
        """A column by its place, int64 or float64, shape (rows,)."""
        column = np.ascontiguousarray(self.table[:, place])
        return column if self._codes[place] == "q" else column.view(np.float64)

    def last(self, columns: int) -> list[float]:
        """So many columns of the newest row."""
        return [self.column(place)[-1].item() for place in range(columns)]

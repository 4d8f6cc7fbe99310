"""The chunk that is being filled: its rows in a segment of the ring, its lists and records in the segment's log and here."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from contextlib import suppress
from threading import RLock
from typing import Any, NamedTuple

from numpy.typing import NDArray

from tb_losslens.events.codec import Record
from tb_losslens.events.tail import RECORD, record_payload
from tb_losslens.record.disk.chunks import OpenChunk
from tb_losslens.record.disk.layout import Layout
from tb_losslens.record.disk.lists import Lists
from tb_losslens.record.disk.ring import Ring, Segment, segment_size
from tb_losslens.record.disk.series import Series

HandOver = Callable[[OpenChunk, Callable[[], None]], None]


class _Turn(NamedTuple):
    """From one chunk to the next.

    Attributes:
        chunk: what is handed over; None where nothing is and `records` move on.
        release: gives its memory back.
        first_batch: of the next chunk.
        layout: of the next chunk.
        records: what the next chunk begins with.
    """

    chunk: OpenChunk | None
    release: Callable[[], None]
    first_batch: int
    layout: Layout
    records: tuple[Record, ...] = ()


class Buffer:
    """Fills one chunk after the other.

    Not thread-safe, and it knows no clock: `Session` decides when a chunk is closed. An exception that comes from outside,
    as a KeyboardInterrupt does, may end any call at any point: a row is there once it is counted, and the next call
    finishes or takes back what the interrupted one had begun.

    Args:
        make_ring: makes the memory, given the bytes that a segment must have at least (0: any).
        hand_over: takes a closed chunk, and a function that gives its memory back; after an interrupt it may get a chunk again.
        wait: returns when every chunk handed over before is written, or cannot be.

    Attributes:
        count: rows of the chunk.
        capacity: rows that it may hold.
        full: true if the next row should go into another chunk, for want of room.
        stuck: true if no segment came free: nothing can be stored any more.
        open_series: the series that is on.
    """

    def __init__(self, make_ring: Callable[[int], Ring], hand_over: HandOver, wait: Callable[[], None]) -> None:
        self._make_ring = make_ring
        self._hand_over = hand_over
        self._wait = wait
        self._ring = make_ring(0)
        self._names: list[str] = []
        self.open_series: Series | None = None
        self._turn: _Turn | None = None
        self.stuck = False
        self._open(0, Layout())

    def _open(self, first_batch: int, layout: Layout) -> None:
        """Begins an empty chunk."""
        self._layout = layout
        self.first_batch = first_batch
        self.count = 0
        self.capacity = self._layout.capacity
        self.full = False
        self._names = list(self._layout.names)
        self._pack, self._row_bytes = self._layout.pack, self._layout.row_bytes
        self._lists = Lists()
        self._records: list[Record] = []
        self._newest = (0, 0)  # end of the log, and number of records, before the newest row
        self._begun = -1  # the row whose lists are, or were, being added
        segment = self._acquire(first_batch)
        if segment is None:
            self.stuck = True
            return
        self._segment = segment
        self._memory, self._words = self._ring.memory, self._ring.words
        self._rows_word = segment.rows_word
        self._first_row = segment.rows

    def _acquire(self, first_batch: int) -> Segment | None:
        for _ in range(2):
            try:
                segment = self._ring.acquire(first_batch, self._layout.columns, self._layout.capacity)
            except ValueError:  # rows of thousands of columns: once in a run
                self._wait()
                self._ring.close(remove=self._ring.empty)
                self._ring = self._make_ring(segment_size(self._layout.columns, self._layout.capacity))
                continue
            if segment is not None:
                return segment
            self._wait()
        return None

    @property
    def next_batch(self) -> int:
        """Index of the batch that the next row will be."""
        if self.open_series is not None:
            return self.first_batch + self.open_series.count
        return self.first_batch + self.count if self._turn is None else self._turn.first_batch

    def close(self, layout: Layout | None = None) -> None:
        """Hands the chunk over, unless nothing is in it, and begins the next one, with the same layout or another."""
        self._resume()
        if not self.count and not self._records:
            return
        table = self._segment.table(self.count)
        chunk = OpenChunk(self.first_batch, self.count, self._segment.layout, table, self._lists.arrays, tuple(self._records))
        self._turn = _Turn(chunk, self._segment.releaser(), self.first_batch + self.count, layout or self._layout)
        self._resume()

    def _resume(self) -> None:
        """Ends what an interrupted call had begun: a chunk is handed over, half a row is forgotten; and a series."""
        if self.open_series is not None:
            self.settle()
        turn = self._turn
        if turn is not None:
            if turn.chunk is not None:
                self._hand_over(turn.chunk, turn.release)
            self._open(turn.first_batch, turn.layout)
            for record in turn.records:
                self._log(record)
            if turn.chunk is None and not self.stuck:
                turn.release()
            self._turn = None
        elif self._begun == self.count:
            self._take_back(self.count)

    @property
    def on_disk(self) -> bool:
        """True if the rows outlive the process."""
        return self._ring.path is not None

    def end(self) -> None:
        """Lets go of the memory; the tail file is removed if everything that was put stands in the event file."""
        if not self.stuck and not self.count and not self._records:
            self._segment.releaser()()
        self._ring.close(remove=self._ring.empty)

    def forget(self) -> None:
        """Lets go of the memory in a forked child; the file is the parent's."""
        if self.open_series is not None:
            self.open_series.forget()
            self.open_series = None
        with suppress(BufferError, ValueError):  # the fork interrupted a use of it: it stays mapped, and unused
            self._ring.close(remove=False)

    def store(self, row: Mapping[str, Any], lists: Mapping[str, NDArray[Any]]) -> None:
        """Adds a row and its list values; there must be room (`count < capacity`), unless it has a new column.

        Raises:
            ValueError: a value is not a number.
        """
        count = self.count
        if self._begun == count or self._turn is not None or self.open_series is not None:
            self._resume()
            count = self.count
        if self._names == [*row]:
            cells: Any = row.values()
        else:
            if not self._layout.fits(row):
                row = self._relayout(row)
                count = self.count
            cells = self._layout.values(row)
        if self.stuck:
            return
        if lists and count and sum(values.nbytes + 256 for values in lists.values()) > self._segment.room:
            self.close()
            count = self.count
            if self.stuck:
                return
        self._newest = (self._segment.log_end, len(self._records))
        self._begun = count
        if lists:
            for name, numbers in lists.items():
                self.full |= not self._lists.add(self._segment, count, name, numbers)
        try:
            self._pack(self._memory, self._first_row + count * self._row_bytes, *cells)
        except struct.error:  # a value of another type than usual
            self._take_back(self.count)
            self.store(self._relayout(row), lists)
            return
        self.count = count = count + 1
        self._words[self._rows_word] = count

    # --- many rows of one kind --------------------------------------------------------------------------------------

    def lead(self, names: tuple[str, ...]) -> bool:
        """Makes these the first columns, in a new chunk if need be; False if some of them are not there yet."""
        self._resume()
        if self.stuck or not self._layout.columns or not set(names).issubset(self._names):
            return False
        layout = self._layout.led_by(names)
        if layout is not self._layout and self.count:
            self.close(layout)
        elif layout is not self._layout:
            self._turn = _Turn(None, self._segment.releaser(), self.first_batch, layout, tuple(self._records))
            self._resume()
        return True

    def series(
        self,
        names: tuple[str, ...],
        constants: dict[str, float],
        size: int,
        lock: RLock,
        due: float,
    ) -> Series | None:
        """Begins to take rows by `Series.put`, see there, until the next call of another method; None if that cannot be."""
        self._resume()
        fits = self._layout.fits(constants) and self._layout.names[: len(names)] == names
        if self.stuck or self.full or not fits:
            return None
        self.open_series = Series(self._segment, self._layout, self.count, names, constants, size=size, lock=lock, due=due)
        return self.open_series

    def settle(self) -> None:
        """Ends the series that is on, if there is one: its rows are then like all others."""
        series = self.open_series
        if series is None:
            return
        first = series.begin
        try:
            block = series.end(self._segment)
        except Exception:  # else every other call would fail, too
            self.count, self.open_series = series.count, None
            raise
        if len(block):
            if block.ids is not None:
                self._lists.extend(first, "sample_ids", block.ids)
            self._newest = (block.mark, len(self._records))
        self.count = first + len(block)
        self.open_series = None

    # --- later ------------------------------------------------------------------------------------------------------

    def amend(self, values: Mapping[str, Any]) -> None:
        """Sets columns of the newest row of this chunk, if it has one.

        Raises:
            ValueError: a value is not a number.
        """
        self._resume()
        if not self.count:
            return
        places, position = self._layout.places, self._first_row + (self.count - 1) * self._layout.row_bytes
        try:
            for name, value in values.items():
                offset, pack = places[name]
                pack(self._memory, position + offset, value)
        except (KeyError, struct.error):
            self._replace_newest(values)

    def log(self, record: Record) -> None:
        """Adds a record."""
        self._resume()
        self._log(record)

    def _log(self, record: Record) -> None:
        self._records.append(record)
        if self.stuck or not self._segment.append(RECORD, record.batch, b"", record_payload(record)):
            self.full = True

    def _relayout(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Makes room for the columns of `row`, and gives it back as plain numbers.

        A chunk has one layout: the rows so far are handed over, and `row` will be the first of the next chunk.
        """
        layout, plain = self._layout.converted(row)
        if layout is self._layout:
            return plain
        if self.count:
            self.close(layout)
        else:
            self._turn = _Turn(None, self._segment.releaser(), self.first_batch, layout, tuple(self._records))
            self._resume()
        return plain

    def _take_back(self, rows: int) -> dict[str, NDArray[Any]]:
        """Forgets rows from `rows` on, and what was logged since the newest one began; gives the lists of row `rows`."""
        mark, records = self._newest
        self._segment.rewind(mark, rows)
        del self._records[records:]
        self.count, self._begun = rows, -1
        return self._lists.take(rows)

    def _replace_newest(self, values: Mapping[str, Any]) -> None:
        """Puts the newest row again, with `values`: it may go into a chunk of another layout."""
        _, plain = self._layout.converted(values)  # raises before anything is changed
        position = self._first_row + (self.count - 1) * self._layout.row_bytes
        row = dict(zip(self._layout.names, self._layout.unpack(self._memory, position), strict=True))
        row.update(plain)
        records = self._records[self._newest[1] :]
        lists = self._take_back(self.count - 1)
        self.store(row, lists)
        for record in records:
            self.log(record)

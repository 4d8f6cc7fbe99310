"""The memory that rows are written into: a few segments that are the tail file at the same time (events/tail.py)."""

from __future__ import annotations

import errno
import json
import mmap
import os
import socket
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from pathlib import Path

from tb_losslens.events.metadata import FORMAT
from tb_losslens.events.tail import (
    CAPACITY,
    COLUMNS,
    ENTRY,
    FIRST,
    GENERATION,
    HEADER_BYTES,
    LAYOUT,
    LOG,
    MAGIC,
    ROWS,
    WORDS,
    padded,
    tail_name,
)
from tb_losslens.record.disk.locks import lock

SEGMENTS = 6
SEGMENT_BYTES = 512 << 10
"""Room for 64 KiB of columns, and for the ids of 256 batches of 128 samples."""

_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})

LOG_ROOM = 4096
"""Bytes that a segment must have left for lists and records."""


Columns = tuple[tuple[str, str], ...]
"""Name and type, "q" or "d", of each column of a row."""


@lru_cache(maxsize=4)
def _text(layout: Columns) -> bytes:
    return json.dumps(layout).encode()


def segment_size(layout: Columns, capacity: int) -> int:
    """Bytes that a segment needs at least for `capacity` rows of `layout`."""
    return WORDS * 8 + padded(len(_text(layout))) + capacity * len(layout) * 8 + LOG_ROOM


class Segment:
    """One chunk being filled. Positions are in bytes from the start of `ring.memory`.

    Attributes:
        first_batch: index of its first batch.
        rows: position of row 0.
        rows_word: index in `ring.words` of the number of rows; counts a row once it is stored.
        log_word: the same of the bytes of the log.
        log_end: where the log ends now, for `rewind`.
        capacity: rows that it may hold.
    """

    def __init__(self, ring: Ring, index: int) -> None:
        self._ring = ring
        self._start = HEADER_BYTES + index * ring.segment_bytes
        self._word = self._start // 8
        self.free = True
        self.first_batch = self.rows = self.log_end = self.capacity = self._generation = 0
        self.layout: Columns = ()
        self.rows_word = self._word + ROWS
        self.log_word = self._word + LOG

    def open(self, generation: int, first_batch: int, layout: Columns, capacity: int) -> bool:
        """Makes it ready for `capacity` rows of `layout`; False if they do not fit."""
        if segment_size(layout, capacity) > self._ring.segment_bytes:
            return False
        text = _text(layout)
        words = self._ring.words
        words[self._word + GENERATION] = 0
        numbers = {FIRST: first_batch, ROWS: 0, LOG: 0, LAYOUT: len(text), COLUMNS: len(layout), CAPACITY: capacity}
        for position, value in numbers.items():
            words[self._word + position] = value
        self._ring.memory[self._start + WORDS * 8 : self._start + WORDS * 8 + len(text)] = text
        words[self._word + GENERATION] = generation
        self._generation = generation
        self.first_batch, self.capacity, self.layout = first_batch, capacity, layout
        self.rows = self._start + WORDS * 8 + padded(len(text))
        self.log_end = self._log_start = self.rows + capacity * len(layout) * 8
        self.free = False
        return True

    def append(self, kind: int, batch: int, description: bytes, payload: bytes | memoryview) -> bool:
        """Adds a log entry; False if there is no room."""
        size = len(payload)
        begin = self.log_end + ENTRY.size + len(description)
        end = begin + padded(size)
        if end > self._start + self._ring.segment_bytes:
            return False
        memory = self._ring.memory
        ENTRY.pack_into(memory, self.log_end, len(description) + size, kind, len(description), batch)
        memory[self.log_end + ENTRY.size : begin] = description
        memory[begin : begin + size] = payload
        self.log_end = end
        self._ring.words[self._word + LOG] = end - self._log_start
        return True

    @property
    def memory(self) -> mmap.mmap:
        """The memory of all segments."""
        return self._ring.memory

    @property
    def words(self) -> memoryview:
        """The same as numbers of 8 bytes."""
        return self._ring.words

    @property
    def log_start(self) -> int:
        """Where the log begins."""
        return self._log_start

    @property
    def room(self) -> int:
        """Bytes that are left for the log."""
        return self._start + self._ring.segment_bytes - self.log_end

    def rewind(self, mark: int, rows: int) -> None:
        """Takes back rows from `rows` on and log entries from `mark` on."""
        self._ring.words[self.rows_word] = rows
        self.log_end = mark
        self._ring.words[self._word + LOG] = mark - self._log_start

    def table(self, rows: int) -> bytes:
        """The bytes of the first `rows` rows."""
        return self._ring.memory[self.rows : self.rows + rows * len(self.layout) * 8]

    def releaser(self) -> Callable[[], None]:
        """Gives the segment back when it is called and its chunk of now stands in the event file; another call does nothing."""
        generation = self._generation

        def release() -> None:
            if not self._ring.closed and not self.free and self._generation == generation:
                self._ring.words[self._word + GENERATION] = 0
                self.free = True

        return release


class Ring:
    """Segments in a preallocated, memory-mapped tail file, or in plain memory where no file can be made.

    Args:
        logdir: directory of the run; None for one that is not on this machine, whose rows stay in plain memory.
        session: id of the session.
        warn: called with a sentence if the tail file cannot be made.
        full: called in its place where that is for want of room, by default the same.
        segment_bytes: size of a segment.
    """

    def __init__(
        self,
        logdir: Path | None,
        session: str,
        warn: Callable[[str], None],
        segment_bytes: int = SEGMENT_BYTES,
        full: Callable[[str], None] | None = None,
    ) -> None:
        self.segment_bytes = segment_bytes
        self.closed = False
        self.path = where = None if logdir is None else logdir / tail_name(session)
        self._fd = -1
        size = HEADER_BYTES + SEGMENTS * segment_bytes
        try:
            self.memory = mmap.mmap(-1, size) if self.path is None else self._map(self.path, size)
        except (OSError, ValueError) as error:
            self._remove()
            self.memory = mmap.mmap(-1, size)  # first: where there is no memory at all, that is what the one warning says
            said = f"LossLens cannot keep the newest batches in {where} ({error}); if this process is killed they are lost"
            if getattr(error, "errno", None) in _NO_ROOM:
                (full or warn)(f"{said}, and others for as long as there is no room. `losslens report` counts what is missing.")
            else:
                warn(f"{said}.")
        self._view = memoryview(self.memory)
        self.words = self._view.cast("q")
        self._write_header(session)
        self._segments = [Segment(self, index) for index in range(SEGMENTS)]
        self._generation = 0

    def _map(self, path: Path, size: int) -> mmap.mmap:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_BINARY", 0), 0o644)
        lock(self._fd)  # says that this process lives; where there are no locks its number must do
        # really allocated: a write to a hole of a mapped file on a full disk would kill the process
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._fd, 0, size)
        else:
            os.write(self._fd, bytes(size))
        return mmap.mmap(self._fd, size)

    def _write_header(self, session: str) -> None:
        header = json.dumps(
            {
                "format": FORMAT,
                "session": session,
                "byteorder": sys.byteorder,
                "segments": SEGMENTS,
                "segment_bytes": self.segment_bytes,
                "start": time.time(),
                "pid": os.getpid(),
                "host": socket.gethostname(),
            }
        ).encode()
        blob = len(header).to_bytes(4, "little") + header
        self.memory[len(MAGIC) : len(MAGIC) + len(blob)] = blob
        self.memory[: len(MAGIC)] = MAGIC

    def acquire(self, first_batch: int, layout: Columns, capacity: int) -> Segment | None:
        """A free segment, ready for `capacity` rows; None while all are waiting to be written.

        Raises:
            ValueError: the rows do not fit into any segment.
        """
        for segment in self._segments:
            if segment.free:
                self._generation += 1
                if not segment.open(self._generation, first_batch, layout, capacity):
                    raise ValueError(f"{capacity} rows of {len(layout)} columns do not fit into {self.segment_bytes} bytes")
                return segment
        return None

    @property
    def empty(self) -> bool:
        """True if everything that was ever in it stands in the event file."""
        return all(segment.free for segment in self._segments)

    def close(self, *, remove: bool) -> None:
        """Lets go of the memory; the file is removed if told so."""
        self.closed = True
        self.words.release()
        self._view.release()
        self.memory.close()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
        if remove:
            self._remove()

    def _remove(self) -> None:
        if self.path is not None:
            with suppress(OSError):  # a tail that stays is read, and found to hold nothing new
                self.path.unlink(missing_ok=True)
            self.path = None

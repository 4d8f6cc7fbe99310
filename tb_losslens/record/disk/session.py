"""Keeps the rows, events and ids of one recording session, and hands them over to disk.

Contract (framework-free; called by record/writer.py, which knows torch):

    session = Session(logdir, event_file, warn=callback)
    session.put({"loss": 0.3, "step": 7, ...}, ids=array|None, classes=array|None, lists={"per_sample": array}|None)
                                          # -> batch index of the new row
    session.amend({"grad_norm": 1.2})     # later values for the newest row, until the next put or flush
    session.record("epoch_end", batch=None, step=0, text="", fields={...})           # None: before the next row
    session.flush()                       # closes the chunk; what was put is readable by TensorBoard afterwards
    session.close()                       # flush, remove the tail

A row is stored in the memory of a tail file at once (a microsecond or two) and survives the death of the process. A full
chunk is compressed and written by the thread of the event file.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from tb_losslens import __version__
from tb_losslens.events.codec import Encoded, Record
from tb_losslens.record.disk.buffer import Buffer
from tb_losslens.record.disk.chunks import LARGE_LISTS, ChunkWriter, OpenChunk
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.forks import forget_in_child
from tb_losslens.record.disk.lists import as_list
from tb_losslens.record.disk.recover import recover
from tb_losslens.record.disk.ring import SEGMENT_BYTES, Ring
from tb_losslens.record.disk.series import Block, Series
from tb_losslens.record.disk.sinks import is_remote
from tb_losslens.record.disk.text import writable
from tb_losslens.record.disk.written import Written

SHORTEST, LONGEST, SHARE = 0.5, 60.0, 0.001
"""A chunk is closed after this share of the run so far, but not before SHORTEST and not after LONGEST seconds."""

_ENCODER = json.JSONEncoder(default=str, skipkeys=True, ensure_ascii=False)


def new_session_id() -> str:
    """Unique, in the order of start times when sorted, without slashes."""
    now = datetime.now(timezone.utc)
    return f"{now:%Y%m%dT%H%M%S.%f}-{os.getpid():x}{os.urandom(3).hex()}"  # never from a generator that a training seeds


class Session:
    """One writer's batches, from its first to its last.

    Once it exists nothing here raises for a reason of the disk. While the event file cannot be written the newest chunks
    wait; of older ones only the records are kept, and the hole in the batch indices says how many batches were lost.

    Args:
        logdir: directory of the run.
        event_file: where chunks go; it is flushed, never closed here.
        warn: called with a sentence when something cannot be recorded, possibly on another thread.
        disk_failed: called in its place where that is for want of room or a write that failed, which others may have said.
        facts: what is known at the start: fields of the first record, of kind "facts".
    """

    def __init__(
        self,
        logdir: str | os.PathLike[str],
        event_file: EventFile,
        warn: Callable[[str], None] | None = None,
        *,
        disk_failed: Callable[[str], None] | None = None,
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        self.id = new_session_id()
        self._logdir = None if is_remote(logdir) else Path(logdir)
        self._file = event_file
        self._warn = warn or (lambda _: None)
        self._disk_failed = disk_failed or self._warn
        self._lock = threading.RLock()
        self._busy = False  # inside a call: a signal handler that comes then must not touch the buffer
        self._flush_later = False
        self._closed = False
        self._off = event_file.failed
        self._begin = self._due = time.monotonic()
        self._close_next = False
        self._next = 0
        self._said: set[str] = set()
        self._chunks = ChunkWriter(self.id)
        self._written = Written(event_file)
        if self._logdir is not None:
            recover(self._logdir, event_file)
        self._buffer = Buffer(self._make_ring, self._hand_over, event_file.flush)
        self._set_due()
        forget_in_child(self)
        self.record("facts", fields={"start": time.time(), "version": __version__, **(facts or {})})

    @property
    def batches(self) -> int:
        """Index of the next batch."""
        return self._buffer.next_batch if self._buffer.open_series is not None else self._next

    @property
    def disabled(self) -> bool:
        """True if nothing is recorded any more: the event file failed, it was closed, or this is a forked child."""
        return self._off

    def put(
        self,
        row: Mapping[str, float],
        ids: Any = None,
        classes: Any = None,
        lists: Mapping[str, Any] | None = None,
    ) -> int:
        """Stores the row of a new batch and returns its index in the session.

        Args:
            row: plain numbers by column name; NaN or -1 where unknown, or simply absent.
            ids: dataset indices of the batch, in order; shape (samples,).
            classes: pairs (class, count) of its targets; shape (k, 2).
            lists: further list-valued signals by name, as `per_sample`; shape (any,) each.

        Raises:
            ValueError: a value is not a number; the row is not counted then.
        """
        arrays = {name: as_list(values) for name, values in lists.items()} if lists else {}
        if ids is not None:
            arrays["sample_ids"] = as_list(ids)
        if classes is not None:
            arrays["classes"] = as_list(classes)
        with self._lock:
            buffer = self._buffer
            if buffer.open_series is not None:
                self._settle()
            batch = self._next
            self._busy = True
            try:
                if not self._off:
                    self._make_room()
                    buffer.store(row, arrays)
                    if buffer.stuck:
                        self._off = True
                    loss = row.get("loss", 0.0)
                    if loss is not None and loss - loss != 0:
                        self._close_next = True  # at the next row: until then this one may be amended, and the tail has it
                    if arrays and not self._said.issuperset(arrays):
                        self._say_lists(arrays)
                self._next = batch + 1
            except BaseException:
                if not self._off:  # an interrupt may have come right after the row was stored
                    self._next = buffer.next_batch
                raise
            finally:
                self._busy = False
        if self._flush_later:
            self.flush()
        return batch

    # --- many rows of one kind --------------------------------------------------------------------------------------

    def lead(self, names: tuple[str, ...]) -> bool:
        """Prepares a series of rows that differ in these columns: they come first from now on. False if they cannot."""
        with self._lock:
            self._settle()
            return not self._off and self._buffer.lead(names)

    def series(self, names: tuple[str, ...], constants: dict[str, float], size: int) -> Series | None:
        """Takes rows by `Series.put` after the newest one, until any other call; None if that cannot be now.

        Args:
            names: the columns that differ, which `lead` has prepared.
            constants: the other columns that have a value.
            size: ids of each row, -1 for rows without.
        """
        with self._lock:
            self._settle()
            if self._off or self._busy:
                return None
            self._busy = True
            try:
                self._make_room()
                due = time.perf_counter() + self._due - time.monotonic()
                series = self._buffer.series(names, constants, size, self._lock, due)
            finally:
                self._busy = False
        if self._flush_later:
            self.flush()
        return series

    def settle(self, series: Series) -> Block | None:
        """Ends a series, and gives what it was put."""
        with self._lock:
            self._settle()
            return series.block

    def _settle(self) -> None:
        if self._buffer.open_series is not None:
            self._buffer.settle()
            self._next = self._buffer.next_batch

    # --- later ------------------------------------------------------------------------------------------------------

    def amend(self, values: Mapping[str, float]) -> None:
        """Sets columns of the newest row; does nothing once its chunk is closed (by put, flush or the end of an epoch).

        Raises:
            ValueError: a value is not a number.
        """
        with self._lock:
            self._settle()
            self._busy = True
            try:
                if not self._off and self._buffer.count:
                    self._buffer.amend(values)
                    self._off = self._off or self._buffer.stuck
                    loss = values.get("loss", 0.0)
                    if loss is not None and loss - loss != 0:
                        self._close_next = True
            finally:
                self._busy = False
        if self._flush_later:
            self.flush()

    def record(
        self,
        kind: str,
        batch: int | None = None,
        step: int = 0,
        text: str = "",
        fields: Mapping[str, Any] | None = None,
        *,
        when: float | None = None,
    ) -> None:
        """Notes that something happened before batch `batch`, by default the next one.

        Args:
            kind: see `Record.kind` in losslens.proto.
            batch: index in the session.
            step: the user's own step.
            text: one line for a reader.
            fields: anything that JSON can hold; other objects are kept as their text.
            when: seconds since 1970, by default now.
        """
        known = _encoded(fields or {})
        moment = time.time() if when is None else when
        with self._lock:
            self._settle()
            self._busy = True
            try:
                if not self._off:
                    at = self._next if batch is None else batch
                    self._buffer.log(Record(kind, at, int(step), moment, writable(text), known))
                    if kind == "epoch_end" and self._buffer.count:
                        self._close_chunk()
            finally:
                self._busy = False
        if self._flush_later:
            self.flush()

    def flush(self) -> None:
        """Closes the chunk; when it returns, everything stands in the event file.

        May be called from a signal handler: if it interrupted a call of this session, that call flushes when it ends,
        and until then the tail holds the rows.
        """
        with self._lock:
            if self._busy:
                self._flush_later = True
                return
            self._settle()
            self._flush_later = False
            if not self._off:
                self._busy = True
                try:
                    self._close_chunk()
                finally:
                    self._busy = False
        self._file.flush(insist=True)

    def close(self) -> None:
        """Flushes, and removes the tail if everything stands in the event file. A second call does nothing."""
        with self._lock:
            if self._closed or self._busy:
                self._flush_later = not self._closed
                return
            self._closed = True
        if self._file.trouble:
            self.flush()  # the last record goes into a chunk of its own, for which a full disk may still have room
        if not self._off:
            self.record("closed")
        self.flush()
        with self._lock:
            lost = self._written.lost(self._next, kept=self._buffer.on_disk)
            self._off = True
            self._buffer.end()
        if lost:
            self._disk_failed(f"LossLens could not write {lost:,} of {self._next:,} batches ({self._written.why}).")

    def forget(self) -> None:
        """In a forked child: every later call does nothing."""
        self._off = self._closed = True
        self._busy = self._flush_later = False
        self._lock = threading.RLock()
        self._buffer.forget()

    def _make_ring(self, least: int) -> Ring:
        size = max(SEGMENT_BYTES, least)
        if self._off:  # an unwritable directory has been complained of already
            return Ring(self._logdir, self.id, lambda _: None, size)
        return Ring(self._logdir, self.id, self._warn, size, self._disk_failed)

    def _set_due(self) -> None:
        now = time.monotonic()
        self._due = now + max(SHORTEST, min(LONGEST, SHARE * (now - self._begin)))

    def _make_room(self) -> None:
        """Closes the chunk where the next row belongs into another one."""
        buffer = self._buffer
        ended = buffer.count >= buffer.capacity or self._close_next or time.monotonic() >= self._due
        if buffer.full or (buffer.count and ended):
            self._close_chunk()

    def _close_chunk(self) -> None:
        self._close_next = False
        self._buffer.close()
        self._set_due()
        self._off = self._off or self._buffer.stuck

    def _hand_over(self, chunk: OpenChunk, release: Callable[[], None]) -> None:
        complete = chunk

        def make() -> list[bytes]:
            nonlocal complete
            complete = self._written.completed(chunk)
            return self._chunks.events(complete)

        def done(good: bool) -> None:
            if good:
                self._written.add(complete)
                release()
            elif self._file.failed:
                self._off = True  # what was not written stays in the tail
            else:
                self._written.drop(complete)
                release()

        self._file.add_job(make, done)

    def _say_lists(self, arrays: dict[str, Any]) -> None:
        """Readers load large lists only when asked, so their names must be known before."""
        self._said.update(arrays)
        names = sorted(self._said.intersection(LARGE_LISTS))
        self._buffer.log(Record("facts", self._next, 0, time.time(), "", {"lists": names}))


def _encoded(fields: Mapping[str, Any]) -> Encoded:
    text = _ENCODER.encode(dict(fields))
    return Encoded(text if text.isascii() else json.dumps(json.loads(writable(text))))

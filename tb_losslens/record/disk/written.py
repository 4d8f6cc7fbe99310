"""Which chunks of a session stand in the event file, and what is told of those that could not be written."""

from __future__ import annotations

import time
from dataclasses import replace

from tb_losslens.events.codec import Record
from tb_losslens.record.disk.chunks import OpenChunk
from tb_losslens.record.disk.event_file import EventFile

MOST_RECORDS = 4096
"""Records of chunks without a place on disk that are kept; the oldest give way."""


class Written:
    """Counts the batches of a session on their way to disk. Used by the thread of the event file.

    Args:
        event_file: where they go.

    Attributes:
        why: what the event file said when a batch could not be written; empty if that never happened.
    """

    def __init__(self, event_file: EventFile) -> None:
        self._file = event_file
        self.why = ""
        self._there = 0
        self._dropped = 0
        self._told = False
        self._records: tuple[Record, ...] = ()

    def completed(self, chunk: OpenChunk) -> OpenChunk:
        """The chunk with the records of those that were dropped before it, and with the reason for which they were."""
        if not self._file.trouble and not self._records and (self._told or not self._dropped):
            return chunk
        self.why = self._file.trouble or self.why
        self._told = not self._file.trouble
        batch = chunk.first_batch + chunk.rows
        reason = Record("unwritten", batch, 0, time.time(), "", {"why": self.why})
        records, self._records = self._records, ()
        return replace(chunk, records=(*records, *chunk.records, reason))

    def add(self, chunk: OpenChunk) -> None:
        """A chunk stands in the file."""
        self._there += chunk.rows

    def drop(self, chunk: OpenChunk) -> None:
        """A chunk gave way to newer ones; what happened between its batches will be told with a later one."""
        self._dropped += chunk.rows
        self._told = False
        self.why = self._file.trouble or self.why
        told = [record for record in chunk.records if record.kind != "unwritten"]
        self._records = (*self._records, *told)[-MOST_RECORDS:]

    def lost(self, batches: int, *, kept: bool) -> int:
        """How many of `batches` are nowhere; with `kept`, those that still wait stand in a tail on disk.

        None where nothing ever was written: why that is was said when the file could not be made.
        """
        if not self.why:
            return 0
        return self._dropped if kept else max(0, batches - self._there)

"""Moves what a killed process left in its tail into the event file of the next writer, so that remote readers see it too."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from tb_losslens.errors import LossLensError
from tb_losslens.events.arrays import narrow
from tb_losslens.events.codec import LENGTHS, Chunk, encode_chunk
from tb_losslens.events.metadata import batch_tag, ids_tag
from tb_losslens.events.tail import read_tail, tail_name
from tb_losslens.record.disk.chunks import LARGE_LISTS, chunk_event
from tb_losslens.record.disk.event_file import EventFile
from tb_losslens.record.disk.locks import is_dead, lock

SHARD = 1_000_000
"""Shard for recovered chunks: the dead process may have used any lower one. A tail holds fewer than ten chunks."""


def recover(logdir: Path, event_file: EventFile) -> None:
    """Has every tail in `logdir` whose process is dead written to `event_file` and removed, in the background.

    Chunks that stand in the old event file as well are harmless: readers count a batch once. What cannot be read is
    left as it is.
    """
    try:
        tails = sorted(logdir.glob(tail_name("*")))
    except OSError:
        return
    for path in tails:
        with suppress(OSError):
            _recover(path, event_file)


def _recover(path: Path, event_file: EventFile) -> None:
    fd = os.open(path, os.O_RDWR)
    locked = lock(fd)
    try:
        tail = read_tail(path) if locked is not False else None
    except (LossLensError, OSError):
        tail = None
    if tail is None or (locked is None and not is_dead(tail.header)):
        os.close(fd)
        return
    chunks = tail.chunks

    def done(written: bool) -> None:
        if written:
            with suppress(OSError):
                path.unlink()
        os.close(fd)

    event_file.add_job(lambda: [event for chunk in chunks for event in _events(chunk)], done)


def _events(chunk: Chunk) -> list[bytes]:
    """The events of a chunk out of a tail, as its own process would have written them."""
    large = {key for name in LARGE_LISTS for key in (name, name + LENGTHS)}
    columns = {name: narrow(array) for name, array in chunk.columns.items()}
    small = replace(chunk, columns={name: array for name, array in columns.items() if name not in large})
    lists = replace(chunk, columns={name: array for name, array in columns.items() if name in large}, records=())
    events = []
    if chunk.count or chunk.records:
        events.append(chunk_event(batch_tag(chunk.session, SHARD), chunk.first_batch, encode_chunk(small)))
    if lists.columns:
        events.append(chunk_event(ids_tag(chunk.session, SHARD), chunk.first_batch, encode_chunk(lists)))
    return events

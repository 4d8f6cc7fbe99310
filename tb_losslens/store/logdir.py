"""Reads the recordings below a directory straight from their files, without TensorBoard's sampling and at full speed."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterator
from contextlib import suppress
from pathlib import Path, PurePath
from typing import NamedTuple

from google.protobuf.message import DecodeError
from tensorboard.compat.proto import event_pb2

from tb_losslens.errors import CorruptChunkError, LogdirError, NewerFormatError
from tb_losslens.events.codec import Chunk, check_chunk, open_chunk
from tb_losslens.events.crc32c import masked_crc32c
from tb_losslens.events.metadata import PLUGIN_NAME, parse_tag
from tb_losslens.events.tail import read_tail
from tb_losslens.store.assemble import assemble
from tb_losslens.store.ranks import merge, rank_of
from tb_losslens.store.recording import Recording
from tb_losslens.store.records import Damage, scan_records
from tb_losslens.store.run import Run
from tb_losslens.store.uncollected import uncollected

_NEEDLE = PLUGIN_NAME.encode()

_HEAD, _HEAD_BYTES = b"brain.Event:", 64
"""In the first record of each event file, which is short and says nothing of a training."""

_WRITING = 0.02
"""Seconds after which a file that ends within a record is looked at again: a record is written at once."""


def load_runs(logdir: str | os.PathLike[str]) -> dict[str, Run]:
    """Every recorded run below `logdir`, by the name that TensorBoard gives it; empty if nothing was recorded.

    A name is the path from `logdir`, `.` for the directory itself. Directories `rank1`, `rank2`... of a distributed run
    belong to the run above them, with which they are merged.

    Raises:
        LogdirError: there is no such directory.
    """
    root = _root(logdir)
    runs = {}
    for directory in sorted(run_directories(root)):
        name = directory.relative_to(root).as_posix()
        run = _read(directory, name)
        if run is not None:
            others = {rank_of(path): _read(path, name) for path in rank_directories(directory)}
            runs[name] = merge(run, {rank: other for rank, other in others.items() if other is not None})
    return runs


def _read(directory: Path, name: str) -> Run | None:
    with uncollected():
        recording = read_recording(directory)
        return assemble(name, recording) if recording.anything else None


def rank_directories(directory: Path) -> list[Path]:
    """Where the further processes of the run in `directory` wrote."""
    return sorted(path for path in directory.iterdir() if rank_of(path) and path.is_dir())


def unrecorded(logdir: str | os.PathLike[str], recorded: Collection[str]) -> tuple[str, ...]:
    """Names of the runs below `logdir` that have event files but nothing of ours, sorted.

    What lies below a recorded run is part of it: `add_scalars` and `add_hparams` write there.

    Args:
        logdir: as for `load_runs`.
        recorded: names of the recorded runs.

    Raises:
        LogdirError: there is no such directory.
    """
    return tuple(plain_directories(logdir, recorded))


def plain_directories(logdir: str | os.PathLike[str], recorded: Collection[str]) -> dict[str, Path]:
    """The directories of the runs that `unrecorded` names, by name, sorted.

    Raises:
        LogdirError: there is no such directory.
    """
    root = _root(logdir)
    named = {directory.relative_to(root): directory for directory in run_directories(root)}
    mine = {PurePath(name) for name in recorded}
    found = {name.as_posix(): path for name, path in named.items() if name not in mine and mine.isdisjoint(name.parents)}
    return dict(sorted(found.items()))


def _root(logdir: str | os.PathLike[str]) -> Path:
    root = Path(logdir)
    if root.is_dir():
        return root
    what = "is not a directory" if root.exists() else "does not exist, so it is not a directory of runs"
    raise LogdirError(f"{root} {what}: give the directory that TensorBoard's --logdir gets.")


def run_directories(root: Path) -> Iterator[Path]:
    """The directories below `root`, itself included, that hold event files or tails; no ranks."""
    found = set()
    for path, below, files in os.walk(root, followlinks=True):
        below[:] = [name for name in below if not _leads_back(Path(path, name))]
        if any(is_event_file(name) or is_tail(name) for name in files):
            found.add(Path(path))
    for directory in found:
        if not is_rank(directory, found):
            yield directory


def _leads_back(directory: Path) -> bool:
    """True for a link to a directory that it lies in, which would be walked for ever."""
    return directory.is_symlink() and directory.parent.resolve().is_relative_to(directory.resolve())


def is_rank(run: PurePath, runs: Collection[PurePath]) -> bool:
    """True for what a further process of a distributed run wrote: `rank<r>` in a directory that is a run itself."""
    return rank_of(run) > 0 and run.parent in runs


def event_files(directory: Path) -> list[Path]:
    """The event files of one run's directory, oldest first."""
    return sorted(path for path in directory.iterdir() if is_event_file(path.name) and path.is_file())


def events_in(data: bytes) -> Iterator[event_pb2.Event]:
    """Every event of an event file that can be read."""
    for begin, end in scan_records(data, Damage()):
        event = event_of(data[begin:end])
        if event is not None:  # a damaged event is none
            yield event


def event_of(payload: bytes) -> event_pb2.Event | None:
    """The event in the payload of a record; None if it is damaged."""
    try:
        return event_pb2.Event.FromString(payload)
    except DecodeError:
        return None


def is_event_file(name: str) -> bool:
    """True for a file name that TensorBoard takes for an event file."""
    return "tfevents" in name


def is_tail(name: str) -> bool:
    """True for the file name of a tail."""
    return name.startswith(f"{PLUGIN_NAME}.") and name.endswith(".tail")


def read_recording(directory: Path) -> Recording:
    """Everything of ours in the files of one run's directory."""
    recording = Recording()
    read_tails(directory, recording)  # first: a chunk leaves its tail only when it stands in the event file
    ids: list[StoredChunk] = []
    for path in event_files(directory):
        try:
            recording.last_write = max(recording.last_write, path.stat().st_mtime)
            _read_event_file(path, recording, ids)
        except OSError as error:
            recording.unreadable.append(f"{path.name} could not be read: {error.strerror}.")
    recording.has_ids = bool(ids)
    _check_ids(recording, ids)

    def decode_ids() -> Iterator[Chunk]:
        for stored in ids:
            try:
                yield opened(stored)
            except (CorruptChunkError, NewerFormatError):
                continue  # its batches have no ids then; their columns may be whole

    recording.ids = decode_ids
    return recording


def read_tails(directory: Path, recording: Recording) -> None:
    """Adds the tails of a directory to a recording."""
    for path in sorted(directory.iterdir()):
        if not is_tail(path.name):
            continue
        try:
            tail = read_tail(path)
        except FileNotFoundError:
            continue  # its writer was closed this moment: everything stands in the event file
        except (CorruptChunkError, OSError):
            recording.corrupt += 1
        except NewerFormatError as error:
            recording.newer[error.format] = recording.newer.get(error.format, 0) + 1
        else:
            recording.tails += [tail] if tail is not None else []


def _read_event_file(path: Path, recording: Recording, ids: list[StoredChunk]) -> None:
    data = path.read_bytes()
    damage = Damage()
    heads = 0
    for begin, end in scan_records(data, damage):
        heads += end - begin < _HEAD_BYTES and data.find(_HEAD, begin, end) >= 0
        for chunk in chunks_of(data, begin, end):
            if chunk.kind == "i":
                ids.append(chunk)
            else:
                add_chunk(recording, chunk)
    recording.corrupt += damage.broken
    recording.records += damage.records - heads
    cut = damage.truncated and not _grows(path, len(data))
    if not damage.broken and (not damage.records or (cut and damage.records == heads)):
        recording.nothing_in[path.name] = len(data)
    elif cut:
        recording.cut.append(damage.left)


def _grows(path: Path, size: int) -> bool:
    """True if a file that had `size` bytes is being written right now."""
    time.sleep(_WRITING)
    return path.stat().st_size != size


def _check_ids(recording: Recording, ids: list[StoredChunk]) -> None:
    """Counts the batches whose ids cannot be read; they are decoded when they are asked for, if ever."""
    bad = []
    for stored in ids:
        try:
            check_chunk(stored.data)
        except CorruptChunkError:
            bad.append(stored)
        except NewerFormatError as error:
            recording.newer[error.format] = recording.newer.get(error.format, 0) + 1
            bad.append(stored)
    if bad:
        rows = {(chunk.session, chunk.first_batch): chunk.count for chunk in recording.chunks}
        recording.without_ids = sum(rows.get((stored.session, stored.first_batch), 0) for stored in bad)
        recording.corrupt += len(bad) if not recording.without_ids and not recording.newer else 0


def add_chunk(recording: Recording, stored: StoredChunk) -> None:
    """Opens a chunk of batch columns into a recording, or counts why that failed."""
    try:
        recording.chunks.append(opened(stored))
    except CorruptChunkError:
        recording.corrupt += 1
    except NewerFormatError as error:
        recording.newer[error.format] = recording.newer.get(error.format, 0) + 1


def opened(stored: StoredChunk) -> Chunk:
    """The chunk of these bytes, if it is the one that its tag and step say.

    Raises:
        CorruptChunkError: it is damaged.
        NewerFormatError: a later release wrote it.
    """
    chunk = open_chunk(stored.data)
    if (chunk.session, chunk.first_batch) != (stored.session, stored.first_batch):
        raise CorruptChunkError(f"the chunk at batch {stored.first_batch} of session {stored.session} says it is another")
    return chunk


class StoredChunk(NamedTuple):
    """A chunk as an event file has it: what its tag and its step say, and its bytes."""

    session: str
    kind: str
    first_batch: int
    data: bytes


def chunks_of(data: bytes, begin: int, end: int) -> Iterator[StoredChunk]:
    """The chunks in the serialized event `data[begin:end]`; a damaged event that may be ours is an empty chunk."""
    if data.find(_NEEDLE, begin, end) < 0:
        return
    payload = data[begin:end]
    event = None
    if masked_crc32c(payload).to_bytes(4, "little") == data[end : end + 4]:
        with suppress(DecodeError):
            event = event_pb2.Event.FromString(payload)
    if event is None:
        yield StoredChunk("", "b", 0, b"")
        return
    for value in event.summary.value:
        tag = parse_tag(value.tag)
        if tag is not None and value.HasField("tensor"):
            yield StoredChunk(tag[0], tag[1], event.step, value.tensor.string_val[0] if value.tensor.string_val else b"")

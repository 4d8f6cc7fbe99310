"""The tail: rows that are not in the event file yet, in a memory-mapped file that survives the death of its process.

A file `losslens.<session>.tail` is a fixed number of segments behind a header of HEADER_BYTES: MAGIC, the length of a JSON
object (uint32) and that object: `format`, `session`, `byteorder`, `segments`, `segment_bytes`, `start`, `pid`, `host`.
A segment holds one chunk while it is filled and until it stands in the event file:

    WORDS numbers of 8 bytes   generation, first batch, rows, log bytes, bytes of the layout, columns
    layout                     JSON, [[name, "q" or "d"], ...], padded to 8 bytes
    rows                       `capacity` rows of 8 bytes a column, int64 ("q") or float64 ("d")
    log                        what has no fixed size: list values and records, one entry after the other

Each number is stored at once by the processor, and a count after what it counts: a reader never sees half a row that
is counted, whenever the writer was killed. The generation is 0 while a segment is free or being opened.
"""

from __future__ import annotations

import json
import struct
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.errors import CorruptChunkError, NewerFormatError
from tb_losslens.events.codec import LENGTHS, Chunk, Record, fields_text
from tb_losslens.events.metadata import FORMAT

MAGIC = b"LLTAIL\r\n"
HEADER_BYTES = 4096
WORDS = 8
GENERATION, FIRST, ROWS, LOG, LAYOUT, COLUMNS, CAPACITY = range(7)
"""Position of each number in a segment's head."""

ENTRY = struct.Struct("<IHHq")
"""Head of a log entry: bytes of its payload, LIST or RECORD, bytes of a list's description, batch."""
LIST, RECORD = 1, 2
ATTEMPTS = 3


@dataclass(frozen=True)
class Tail:
    """What stands in a tail file.

    Attributes:
        session: id of the session.
        start: when it began, seconds since 1970.
        chunks: one for each segment in use, in the order of batches; some may be in the event file too.
        header: the JSON object of the file.
    """

    session: str
    start: float
    chunks: tuple[Chunk, ...]
    header: dict[str, Any]


def tail_name(session: str) -> str:
    """File name of a session's tail."""
    return f"losslens.{session}.tail"


def padded(size: int) -> int:
    """`size` rounded up to a multiple of 8 bytes."""
    return (size + 7) & ~7


def read_tail(path: Path) -> Tail | None:
    """Reads a tail, also while its process is writing it; None while it is being made.

    Raises:
        OSError: it cannot be read (it vanishes when its writer is closed).
        CorruptChunkError: it is not a tail, or is cut short.
        NewerFormatError: a later release wrote it.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _read_once(path)
        except CorruptChunkError:  # a column was added at this very moment, which takes rows back and puts them again
            continue
    return _read_once(path)


def _read_once(path: Path) -> Tail | None:
    with path.open("rb") as file:
        data = file.read()
        file.seek(0)
        again = file.read()
    if not any(data[: len(MAGIC)]):  # the magic is written last
        return None
    header = _header(data, path)
    chunks = []
    for index in range(header["segments"]):
        start = HEADER_BYTES + index * header["segment_bytes"]
        segment = memoryview(data)[start : start + header["segment_bytes"]]
        words = np.frombuffer(segment, np.int64, WORDS)
        if words[GENERATION] == 0 or again[start : start + 8] != segment[:8]:
            continue  # free, or given to another chunk meanwhile: its rows stand in the event file by now
        chunks.append(_read_segment(segment, words, header["session"], path))
    chunks.sort(key=lambda chunk: (chunk.first_batch, chunk.count))
    return Tail(header["session"], float(header["start"]), tuple(chunks), header)


def tail_token(path: Path) -> tuple[Any, ...]:
    """A value that changes whenever the tail gets another batch or record; cheap. Only the name if it cannot be read."""
    try:
        with path.open("rb") as file:
            header = _header(file.read(HEADER_BYTES), path, whole=False)
            heads = []
            for index in range(header["segments"]):
                file.seek(HEADER_BYTES + index * header["segment_bytes"])
                heads.append(file.read(8 * (LOG + 1)))
    except (OSError, CorruptChunkError, NewerFormatError):
        return (path.name,)
    return (path.name, *heads)


def _header(data: bytes, path: Path, *, whole: bool = True) -> dict[str, Any]:
    if data[: len(MAGIC)] != MAGIC or len(data) < len(MAGIC) + 4:
        raise CorruptChunkError(f"{path.name} is not a tail of LossLens")
    (length,) = struct.unpack_from("<I", data, len(MAGIC))
    try:
        header = json.loads(data[len(MAGIC) + 4 : len(MAGIC) + 4 + length])
        if header["format"] > FORMAT:
            raise NewerFormatError(header["format"], FORMAT)
        expected = HEADER_BYTES + header["segments"] * header["segment_bytes"]
        if (whole and len(data) < expected) or header["byteorder"] != sys.byteorder:
            raise CorruptChunkError(
                f"{path.name} has {len(data)} bytes, {expected} in {header['byteorder']} order were expected"
            )
        float(header["start"]), str(header["session"])
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptChunkError(f"the header of {path.name} is damaged: {error}") from error
    return dict(header)


def _read_segment(segment: memoryview, words: NDArray[np.int64], session: str, path: Path) -> Chunk:
    first, rows, columns, capacity = (int(words[i]) for i in (FIRST, ROWS, COLUMNS, CAPACITY))
    begin = WORDS * 8
    body = begin + padded(int(words[LAYOUT]))
    log = body + capacity * columns * 8
    try:
        layout = json.loads(bytes(segment[begin : begin + int(words[LAYOUT])]))
        if len(layout) != columns or not 0 <= rows <= capacity or not 0 <= log + int(words[LOG]) <= len(segment):
            raise CorruptChunkError(f"a segment of {path.name} is damaged")
        arrays = unpack_rows(segment[body:log], rows, [(str(name), str(code)) for name, code in layout])
        lists, records = _read_log(segment[log : log + int(words[LOG])], first, rows)
    except (ValueError, TypeError, KeyError, struct.error) as error:
        raise CorruptChunkError(f"a segment of {path.name} is damaged: {error}") from error
    for name, values in lists.items():
        arrays.update(join_lists(name, values, rows))
    return Chunk(session, first, rows, arrays, tuple(records))


def unpack_rows(data: memoryview | bytes, rows: int, layout: Sequence[tuple[str, str]]) -> dict[str, NDArray[Any]]:
    """Columns of the rows of a segment: copies, int64 or float64, shape (rows,)."""
    table = np.frombuffer(data, np.int64, rows * len(layout)).reshape(rows, len(layout)).T.copy()
    return {name: table[i] if code == "q" else table[i].view(np.float64) for i, (name, code) in enumerate(layout)}


def join_lists(name: str, values: dict[int, NDArray[Any]], rows: int) -> dict[str, NDArray[Any]]:
    """The two columns of a list-valued signal, from its arrays by row."""
    lengths = np.zeros(rows, np.int64)
    for row, array in values.items():
        lengths[row] = len(array)
    full = [values[row] for row in sorted(values) if len(values[row])]
    return {name: np.concatenate(full) if full else np.empty(0, np.int64), name + LENGTHS: lengths}


def list_description(name: str, array: NDArray[Any]) -> bytes:
    """What a log entry says about a list: its name, number type, and numbers an element."""
    text = json.dumps([name, array.dtype.str, array.shape[1] if array.ndim > 1 else 0]).encode()
    return text.ljust(padded(len(text)))


def record_payload(record: Record) -> bytes:
    """A record as the payload of a log entry."""
    about = json.dumps([record.kind, record.step, record.time, record.text], default=str)
    return f"{about[:-1]}, {fields_text(record)}]".encode()


def _entries(log: memoryview) -> Iterator[tuple[int, int, memoryview, memoryview]]:
    """Kind, batch, description and payload of each entry."""
    at = 0
    while at < len(log):
        size, kind, described, batch = ENTRY.unpack_from(log, at)
        at += ENTRY.size
        yield kind, batch, log[at : at + described], log[at + described : at + size]
        at += padded(size)


def _read_log(log: memoryview, first: int, rows: int) -> tuple[dict[str, dict[int, NDArray[Any]]], list[Record]]:
    lists: dict[str, dict[int, NDArray[Any]]] = {}
    records = []
    for kind, batch, description, payload in _entries(log):
        if kind == RECORD:
            name, step, time, text, fields = json.loads(bytes(payload))
            records.append(Record(name, batch, step, time, text, fields))
        elif kind == LIST and batch - first < rows:  # else its row was not counted any more
            name, dtype, width = json.loads(bytes(description))
            array = np.frombuffer(payload, np.dtype(dtype)).copy()
            lists.setdefault(name, {})[batch - first] = array.reshape(-1, width) if width else array
    return lists, records

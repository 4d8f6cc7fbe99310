"""The chunks at the end of local event files that TensorBoard has not loaded yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tb_losslens.store.logdir import StoredChunk, chunks_of, event_files
from tb_losslens.store.records import Damage, scan_records

FURTHEST = 32 << 20
"""Bytes from the end of a file that are looked at: far more than is written while TensorBoard sleeps."""


@dataclass
class Newer:
    """Stored chunks, of batches and of ids."""

    batches: list[StoredChunk] = field(default_factory=list)
    ids: list[StoredChunk] = field(default_factory=list)


class Follower:
    """Remembers how far each event file is known, so that looking again costs what is new."""

    def __init__(self) -> None:
        self._known: dict[Path, int] = {}

    def newer(self, directory: Path, ends: Mapping[str, int]) -> Newer:
        """The chunks in the event files of `directory` that begin at or behind the batch in `ends` of their session."""
        out = Newer()
        for path in event_files(directory):
            try:
                self._read(path, ends, out)
            except OSError:
                continue  # TensorBoard's own view of it stands
        return out

    def _read(self, path: Path, ends: Mapping[str, int], out: Newer) -> None:
        size = path.stat().st_size
        start = max(self._known.get(path, 0), size - FURTHEST)
        if size <= start:
            return
        with path.open("rb") as file:
            file.seek(start)
            data = file.read(size - start)
        known = 0
        everything_known = True
        for begin, end in scan_records(data, Damage()):
            for chunk in chunks_of(data, begin, end):
                if chunk.first_batch >= ends.get(chunk.session, 0):
                    everything_known = False
                    (out.ids if chunk.kind == "i" else out.batches).append(chunk)
            if everything_known:
                known = end + 4
        self._known[path] = start + known

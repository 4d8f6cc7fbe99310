"""List-valued signals of a run; large ones (sample ids) are read when they are first asked for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tb_losslens.errors import CorruptChunkError, UnknownEncodingError
from tb_losslens.events.codec import LENGTHS, Chunk
from tb_losslens.store.pieces import resolve
from tb_losslens.store.run import Ragged


class Lists(Mapping[str, Ragged]):
    """Named lists, some of which are loaded on first use; `in` and `len` load nothing.

    Args:
        eager: those at hand.
        lazy: names of the others.
        load: gives the others, called at most once.
    """

    def __init__(self, eager: Mapping[str, Ragged], lazy: frozenset[str], load: Callable[[], Mapping[str, Ragged]]) -> None:
        self._known = dict(eager)
        self._lazy = lazy - self._known.keys()
        self._names = tuple(sorted(self._known.keys() | self._lazy))
        self._load = load
        self._lock = threading.Lock()

    def __getitem__(self, name: str) -> Ragged:
        if name not in self._known and name in self._lazy:
            with self._lock:
                if name not in self._known:
                    self._known.update(self._load())
        return self._known[name]

    def loaded(self) -> dict[str, Ragged]:
        """Those that are in memory now; loads nothing."""
        return dict(self._known)

    def __contains__(self, name: object) -> bool:
        return name in self._names

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


def gather(name: str, rows: Sequence[tuple[str, NDArray[np.int64]]], chunks: Iterable[Chunk]) -> Ragged:
    """List-valued signal `name` for each row of a run, empty where a batch has none.

    Args:
        name: of the signal.
        rows: for each session, in order, its id and the indices of its batches that are rows; int64, rising.
        chunks: of any session, in any order, doubles allowed.
    """
    by_session: dict[str, list[Chunk]] = {}
    for chunk in chunks:
        if name in chunk.columns and name + LENGTHS in chunk.columns:
            by_session.setdefault(chunk.session, []).append(chunk)
    values, lengths = [], []
    for session, kept in rows:
        found, counts = _session_lists(name, by_session.get(session, []), kept)
        lengths.append(counts)
        if len(found):
            values.append(found)
    same = [array for array in values if array.shape[1:] == values[0].shape[1:]]
    if len(same) < len(values):  # elements of different widths cannot stand in one array
        return Ragged(np.empty(0, np.int64), np.zeros(sum(map(len, lengths)) + 1, np.int64))
    joined = np.concatenate(values) if values else np.empty(0, np.int64)
    return Ragged(joined, np.concatenate([[0], *(np.atleast_1d(c) for c in lengths)]).cumsum().astype(np.int64))


def _session_lists(name: str, chunks: list[Chunk], kept: NDArray[np.int64]) -> tuple[NDArray[np.generic], NDArray[np.int64]]:
    """Values of the batches `kept` of one session, one after the other, and the length of each batch's list."""
    total = int(kept[-1]) + 1 if len(kept) else 0
    lengths = np.zeros(total, np.int64)
    parts = []
    wanted = np.zeros(total, np.bool_)
    wanted[kept] = True
    for piece in resolve(chunks)[0]:
        first, end = piece.chunk.first_batch + piece.skip, min(piece.chunk.end, total)
        if first >= end:
            continue
        try:
            counts = piece.chunk.columns[name + LENGTHS].astype(np.int64)
            values = piece.chunk.columns[name]
        except (CorruptChunkError, UnknownEncodingError):
            continue  # these batches have no list then
        if len(counts) != piece.chunk.count or len(values) != counts.sum() or (counts < 0).any():
            continue
        starts = np.concatenate([[0], counts.cumsum()])
        begin, stop = piece.skip, piece.skip + end - first
        values = values[starts[begin] : starts[stop]]
        counts, mask = counts[begin:stop], wanted[first:end]
        parts.append(values if mask.all() else values[np.repeat(mask, counts)])
        lengths[first:end] = counts
    widths = {part.shape[1:] for part in parts}
    if not parts or len(widths) > 1:
        return np.empty(0, np.int64), np.zeros(len(kept), np.int64)
    return np.concatenate(parts), lengths[kept]

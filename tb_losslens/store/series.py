"""The points of one scalar over all event files of a run, without those that a newer file overtook."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.store.scalar_events import FileScalars

_FILE = 1 << 40
"""Numbers of events that each file has at most: `order` is the file times this, and the event in it."""


@dataclass(frozen=True)
class Series:
    """Points in the order of writing; arrays of equal length. `order` rises with it over all tags and files, int64."""

    order: NDArray[np.int64]
    step: NDArray[np.int64]
    time: NDArray[np.float64]
    value: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.step)

    def where(self, keep: NDArray[np.bool_]) -> Series:
        """Some of the points."""
        return Series(self.order[keep], self.step[keep], self.time[keep], self.value[keep])

    def before(self, other: Series) -> NDArray[np.int64]:
        """How many points of this one come before each of `other`, int64, shape (len(other),).

        By the order of writing, unless the log was put together tag by tag, as a conversion does: then by steps, where a point
        of the same step is taken to come before.
        """
        if not len(self) or not len(other):
            return np.zeros(len(other), dtype=np.int64)
        found = np.searchsorted(self.order, other.order)
        by_tag = len(other) > 1 and ((found == 0).all() or (found == len(self)).all())
        if by_tag and not (np.diff(self.step) < 0).any():
            return np.searchsorted(self.step, other.step, side="right").astype(np.int64)
        return found.astype(np.int64)


def joined(files: list[FileScalars], tag: str, ends: list[int]) -> Series:
    """The points of `tag`, of each file those before the event of number `ends`."""
    parts = []
    for number, (file, end) in enumerate(zip(files, ends, strict=True)):
        points = file.points.get(tag)
        if points is not None:
            keep = points.place < end
            place = points.place[keep] + number * _FILE
            parts.append((place, points.step[keep], points.time[keep], points.value[keep]))
    if not parts:
        return Series(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0), np.empty(0))
    return Series(*(np.concatenate(column) for column in zip(*parts, strict=True)))


def cut(files: list[FileScalars], tag: str) -> tuple[list[int], tuple[Mapping[str, Any], ...], int]:
    """(the event of each file from which on a newer one overtook it, the files that have `tag` as sessions, points overtaken).

    A newer file begins at the first step of `tag` in it, or where its writer asked to purge: what an older one has from that
    step on was done again.
    """
    ends, sessions, overtaken = [_FILE] * len(files), [], 0
    limit: int | None = None
    for number in reversed(range(len(files))):
        points = files[number].points.get(tag)
        if points is None or not len(points.step):
            continue
        kept = len(points.step)
        if limit is not None:
            beyond = np.flatnonzero(points.step >= limit)
            if len(beyond):
                kept = int(beyond[0])
                ends[number] = int(points.place[kept])
                overtaken += len(points.step) - kept
        first, last = int(points.step[0]), int(points.step[-1])
        session = {"id": str(number), "first_step": first, "last_step": last, "batches": kept, "start": float(points.time[0])}
        sessions.append(session)
        begins = first if files[number].purge_step is None else min(first, int(files[number].purge_step or 0))
        limit = begins if limit is None else min(limit, begins)
    return ends, tuple(reversed(sessions)), overtaken

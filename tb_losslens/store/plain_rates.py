"""The learning rate of each row of a plain log: known where the log says it there, or where it does not change."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tb_losslens.store.plain_epochs import UNKNOWN
from tb_losslens.store.series import Series

_MOST = 8
"""Groups of parameters that are read."""


def rates(
    rows: Series, epoch: NDArray[np.int64] | None, tags: Mapping[str, Series]
) -> tuple[dict[str, NDArray[np.float64]], list[str]]:
    """Columns `lr`, `lr.1`, ..., float64, shape (n,), and the tags of rates that change where the log does not tell.

    A rate that is written about as often as the loss belongs to the loss of the same step, or to the next one. One that is
    written once at the start of each epoch holds in all of it. One that is written at the ends of epochs may be that of the
    epoch which ends or of the one to come, and is not placed unless it never changes.
    """
    columns: dict[str, NDArray[np.float64]] = {}
    unplaced = []
    for tag, points in list(tags.items())[:_MOST]:
        column = _rate(rows, epoch, points)
        if column is None:
            unplaced.append(tag)
        elif np.isfinite(column).any():
            columns[f"lr.{len(columns)}" if columns else "lr"] = column
    return columns, unplaced


def _rate(
    rows: Series, epoch: NDArray[np.int64] | None, points: Series, *, often: float = 0.9
) -> NDArray[np.float64] | None:
    """One rate for each row, NaN where unknown; None where it changes at rows that are unknown."""
    known = np.isfinite(points.value)
    points = points.where(known)
    if not len(points) or not len(rows):
        return np.full(len(rows), np.nan)
    if np.ptp(points.value) <= 1e-6 * float(np.abs(points.value).max()):
        return np.full(len(rows), float(points.value[0])) if len(points) > 1 else np.full(len(rows), np.nan)
    if (np.diff(rows.step) < 0).any() or (np.diff(points.step) < 0).any():
        return None
    here = np.searchsorted(points.step, rows.step, side="right") - 1
    newest = points.step[np.maximum(here, 0)]
    before = np.concatenate([[rows.step[0] - 1], rows.step[:-1]])
    fresh = (here >= 0) & (newest > before) | ((here >= 0) & (newest == rows.step))
    if fresh.mean() >= often:
        return np.where(fresh, points.value[np.maximum(here, 0)], np.nan)
    return _by_epoch(rows, epoch, points)


def _by_epoch(
    rows: Series, epoch: NDArray[np.int64] | None, points: Series, *, early: float = 0.1
) -> NDArray[np.float64] | None:
    """A rate that is written once an epoch, at its start; None else."""
    if epoch is None or not (epoch != UNKNOWN).any():
        return None
    place = rows.before(points)
    out = np.full(len(rows), np.nan)
    for number in np.unique(epoch[epoch != UNKNOWN]).tolist():
        mine = np.flatnonzero(epoch == number)
        room = max(1, round(early * len(mine)))
        at = np.flatnonzero((place >= mine[0]) & (place <= mine[0] + room) & (place < mine[-1]))
        inside = np.flatnonzero((place > mine[0] + room) & (place < mine[-1]))
        if len(at) != 1 or len(inside):
            return None
        out[mine] = points.value[at[0]]
    return out

"""One number of each layer over the batches of a run, as a map of layer by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.per_layer import PER_LAYER
from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.text import number, times
from tb_losslens.store.downsample import bucket_starts
from tb_losslens.store.run import Run


@dataclass(frozen=True)
class LayerMap:
    """Means of what was read of each layer.

    Attributes:
        names: of the layers, in the order of the model.
        layers: how many the model has; more than `names` where only those that change most are here.
        batch: int64, shape (c,): the first batch that was read for each column.
        read: batches that were read in the range.
        cells: float64, shape (names, c); NaN where a layer has no number.
    """

    names: list[str]
    layers: int
    batch: NDArray[np.int64]
    read: int
    cells: Floats


def layer_map(run: Run, column: str, first: int, last: int, *, columns: int = 160, rows: int = 96) -> LayerMap:
    """The map of a list-valued signal of `PER_LAYER` in the rows `first <= row < last`; empty where nothing was read.

    A column is a bucket of batches of which some were read. Rows whose number of values is not that of the names are left out.
    """
    names = layer_names(run, column)
    ragged = run.ragged.get(column)
    if ragged is None or not names or len(ragged) < last or last <= first:
        return LayerMap([], len(names), np.empty(0, dtype=np.int64), 0, np.empty((0, 0)))
    offsets = ragged.offsets[first : last + 1]
    read = np.flatnonzero(np.diff(offsets) == len(names))
    if not len(read):
        return LayerMap(names[:rows], len(names), np.empty(0, dtype=np.int64), 0, np.empty((min(rows, len(names)), 0)))
    at = offsets[read][:, None] + np.arange(len(names))
    table = np.asarray(ragged.values[at], dtype=np.float64).reshape(len(read), len(names), -1)[:, :, 0]
    starts = bucket_starts(first, last, columns)
    bucket = np.searchsorted(starts, read + first, side="right")
    edges = np.flatnonzero(np.diff(bucket, prepend=-1))
    fine = np.isfinite(table)
    count = np.add.reduceat(fine, edges, axis=0, dtype=np.float64)
    total = np.add.reduceat(np.where(fine, table, 0.0), edges, axis=0)
    cells = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0).T
    kept = _telling(cells, rows)
    return LayerMap([names[k] for k in kept], len(names), read[edges] + first, len(read), cells[kept])


def layer_names(run: Run, column: str) -> list[str]:
    """The names of the layers that a signal was read of; empty where they are unknown."""
    fact = run.facts.get(PER_LAYER[column])
    names = fact.get("names") if isinstance(fact, dict) else fact
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else []


def said(found: LayerMap) -> str:
    """Which layers are largest and smallest, and which changed most from the first to the last tenth of what is shown."""
    with_value = np.isfinite(found.cells).sum(axis=1) > 0
    if not with_value.any():
        return ""
    level = np.array(
        [np.median(row[np.isfinite(row)]) if ok else np.nan for row, ok in zip(found.cells, with_value, strict=True)]
    )
    large, small = int(np.nanargmax(level)), int(np.nanargmin(level))
    words = f"Largest: {found.names[large]} (median {number(level[large], 2)})"
    if large != small:
        words += f"; smallest: {found.names[small]} ({number(level[small], 2)})"
    return f"{words}. {_change(found)}".strip()


def _change(found: LayerMap) -> str:
    columns = found.cells.shape[1]
    tenth = max(1, columns // 10)
    if columns < 4:
        return ""
    begin, end = _level(found.cells[:, :tenth]), _level(found.cells[:, -tenth:])
    known = (begin > 0) & (end > 0)
    if not known.any():
        return ""
    moved = np.where(known, np.abs(np.log(np.where(known, end, 1.0) / np.where(known, begin, 1.0))), -1.0)
    most = int(np.argmax(moved))
    change = f"{number(begin[most], 2)} to {number(end[most], 2)} ({times(float(end[most] / begin[most]))})"
    return f"From first to last {found.names[most]} changed most: {change}."


def _level(cells: Floats) -> Floats:
    fine = np.isfinite(cells)
    count = fine.sum(axis=1)
    out: Floats = np.divide(np.where(fine, cells, 0.0).sum(axis=1), count, out=np.full(len(cells), np.nan), where=count > 0)
    return out


def _telling(cells: Floats, rows: int) -> list[int]:
    """At most `rows` layers, those whose number spreads most (as a factor), in the order of the model."""
    if len(cells) <= rows:
        return list(range(len(cells)))
    size = np.log(np.where(np.isfinite(cells) & (cells > 0), cells, np.nan))
    fine = np.isfinite(size)
    filled = np.where(fine, size, 0.0)
    count = np.maximum(fine.sum(axis=1), 1)
    spread = np.where(fine, (size - (filled.sum(axis=1) / count)[:, None]) ** 2, 0.0).sum(axis=1) / count
    return sorted(np.argsort(-spread, kind="stable")[:rows].tolist())

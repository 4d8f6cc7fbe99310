"""One number of each layer over the batches of a run, as a map of layer by batch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.per_layer import PER_LAYER
from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.text import number, some, times
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
        cells: float64, shape (names, c); NaN where a layer has no finite number.
        infinite: those of `names` that were infinite at some batch.
    """

    names: list[str]
    layers: int
    batch: NDArray[np.int64]
    read: int
    cells: Floats
    infinite: tuple[str, ...] = ()


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
    infinite: NDArray[np.bool_] = np.any(np.isinf(table), axis=0)
    kept = _telling(cells, infinite, rows)
    without_end = tuple(names[k] for k in kept if infinite[k])
    return LayerMap([names[k] for k in kept], len(names), read[edges] + first, len(read), cells[kept], without_end)


def layer_names(run: Run, column: str) -> list[str]:
    """The names of the layers that a signal was read of; empty where they are unknown."""
    fact = run.facts.get(PER_LAYER[column])
    names = fact.get("names") if isinstance(fact, dict) else fact
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else []


def said(found: LayerMap) -> str:
    """Which layers are largest and smallest, and which changed most from the first to the last tenth of what is shown."""
    endless = f"Infinite at times: {some(found.infinite, 3)}." if found.infinite else ""
    with_value = np.isfinite(found.cells).sum(axis=1) > 0
    if not with_value.any():
        return endless
    level = np.array(
        [np.median(row[np.isfinite(row)]) if ok else np.nan for row, ok in zip(found.cells, with_value, strict=True)]
    )
    large, small = int(np.nanargmax(level)), int(np.nanargmin(level))
    words = f"Largest: {found.names[large]} (median {number(level[large], 2)})"
    if large != small:
        words += f"; smallest: {found.names[small]} ({number(level[small], 2)})"
    return " ".join(part for part in (f"{words}.", endless, _change(found)) if part)


def _change(found: LayerMap) -> str:
    columns = found.cells.shape[1]
    tenth = max(1, columns // 10)
    if columns < 4:
        return ""
    begin, end = _level(found.cells[:, :tenth]), _level(found.cells[:, -tenth:])
    known = (begin >= 0) & (end >= 0) & ((begin > 0) | (end > 0))
    if not known.any():
        return ""
    moved = np.where(known, np.abs(np.log(_above_zero(end) / _above_zero(begin))), -1.0)
    moved = np.where(known & (end == 0), np.inf, moved)  # a layer that died changed more than any other
    most = int(np.argmax(moved))
    factor = f" ({times(float(end[most] / begin[most]))})" if begin[most] > 0 and end[most] > 0 else ""
    return f"From first to last {found.names[most]} changed most: {number(begin[most], 2)} to {number(end[most], 2)}{factor}."


def _above_zero(values: Floats) -> Floats:
    """The values for a logarithm: a zero is a tenth of the smallest above zero, NaN below; 1 throughout where none is above."""
    above = values > 0
    out: Floats = np.where(above, values, np.where(values == 0, 0.1 * np.min(values, where=above, initial=np.inf), np.nan))
    return out if above.any() else np.ones_like(values)


def _level(cells: Floats) -> Floats:
    fine = np.isfinite(cells)
    count = fine.sum(axis=1)
    out: Floats = np.divide(np.where(fine, cells, 0.0).sum(axis=1), count, out=np.full(len(cells), np.nan), where=count > 0)
    return out


def _telling(cells: Floats, infinite: NDArray[np.bool_], rows: int) -> list[int]:
    """At most `rows` layers, infinite ones, then those whose number spreads most (as a factor), in the order of the model."""
    if len(cells) <= rows:
        return list(range(len(cells)))
    size = np.log(_above_zero(cells))
    fine = np.isfinite(size)
    filled = np.where(fine, size, 0.0)
    count = np.maximum(fine.sum(axis=1), 1)
    spread = np.where(fine, (size - (filled.sum(axis=1) / count)[:, None]) ** 2, 0.0).sum(axis=1) / count
    spread[infinite] = np.inf
    return sorted(np.argsort(-spread, kind="stable")[:rows].tolist())

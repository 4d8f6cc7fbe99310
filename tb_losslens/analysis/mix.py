"""The classes of each batch as a table of shares."""

from __future__ import annotations

import numpy as np

from tb_losslens.analysis.stats import Floats
from tb_losslens.store.run import Run


def class_shares(run: Run, first: int, last: int, *, most: int = 64) -> Floats:
    """Share of each class in the batches `first <= row < last`, shape (rows, classes), the `most` frequent classes.

    A row adds up to 1 where all classes of the batch are among them and were counted, to less where some are not, and to
    0 where the classes of the batch are unknown. No column if nothing is known.
    """
    ragged = run.ragged["classes"]
    offsets = np.asarray(ragged.offsets[first : last + 1])
    pairs = np.asarray(ragged.values[offsets[0] : offsets[-1]], dtype=np.int64).reshape(-1, 2)
    table = np.zeros((last - first, 0))
    if len(pairs):
        row = np.repeat(np.arange(last - first), np.diff(offsets))
        names, column = np.unique(pairs[:, 0], return_inverse=True)
        count = pairs[:, 1].astype(np.float64)
        size = np.bincount(row, weights=count, minlength=last - first)
        rest = run.float("class_rest")[first:last]
        size += np.where(np.isfinite(rest), rest, 0.0)
        total = np.bincount(column, weights=count, minlength=len(names))
        place = np.full(len(names), -1)
        kept = np.sort(np.argsort(-total, kind="stable")[:most])
        place[kept] = np.arange(len(kept))
        column = place[column]
        known = column >= 0
        table = np.zeros((last - first, len(kept)))
        np.add.at(table, (row[known], column[known]), count[known])
        table /= np.maximum(size, 1)[:, None]
    return table


def class_names(run: Run, *, most: int = 32) -> list[int]:
    """The classes that the columns of `class_shares` stand for, of the whole run."""
    pairs = np.asarray(run.ragged["classes"].values, dtype=np.int64).reshape(-1, 2)
    names, column = np.unique(pairs[:, 0], return_inverse=True)
    total = np.bincount(column, weights=pairs[:, 1].astype(np.float64), minlength=len(names))
    return [int(name) for name in names[np.sort(np.argsort(-total, kind="stable")[:most])]]


def class_totals(run: Run, first: int, last: int) -> dict[int, int]:
    """Samples of each class in the batches `first <= row < last`; of those whose classes were counted."""
    ragged = run.ragged["classes"]
    pairs = np.asarray(ragged.values[ragged.offsets[first] : ragged.offsets[last]], dtype=np.int64).reshape(-1, 2)
    names, column = np.unique(pairs[:, 0], return_inverse=True)
    total = np.zeros(len(names), dtype=np.int64)
    np.add.at(total, column, pairs[:, 1])
    return dict(zip(names.tolist(), total.tolist(), strict=True))

"""Each visit of a sample, flat: which sample, in which batch, and what it lost there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.stats import Floats
from tb_losslens.analysis.whole import is_whole
from tb_losslens.store.run import Epoch, Run

Ids = NDArray[np.int64]


@dataclass(frozen=True)
class Visits:
    """All visits in the order of the batches; arrays of shape (visits,).

    Attributes:
        ids: sample, 0 or more.
        row: batch.
        loss: of the sample there, NaN where it was not read.
        of: number of the sample among those that were seen, 0..distinct - 1.
        names: id of each number, shape (distinct,), sorted.
        turn: how often the sample was seen before.
        before: batches since it was last seen, -1 at its first visit.
    """

    ids: Ids
    row: Ids
    loss: Floats
    of: Ids
    names: Ids
    turn: Ids
    before: Ids


def count_of(run: Run) -> int:
    """Visits in all, without reading them into memory of their own."""
    return int(run.ragged["sample_ids"].offsets[-1]) if run.has("sample_ids") else 0


def visits(run: Run) -> Visits:
    """The visits of a run whose sample ids are known. Losses count where their number is that of the ids of the batch."""
    ragged = run.ragged["sample_ids"]
    sizes = np.diff(ragged.offsets)
    ids = np.asarray(ragged.values[ragged.offsets[0] : ragged.offsets[-1]], dtype=np.int64)
    row = np.repeat(np.arange(len(run), dtype=np.int64), sizes)
    loss = np.full(len(ids), np.nan)
    if run.has("per_sample"):
        own = run.ragged["per_sample"]
        given = np.diff(own.offsets)
        alike = (given == sizes) & (given > 0)
        values = np.asarray(own.values[own.offsets[0] : own.offsets[-1]], dtype=np.float64).reshape(-1)
        loss[np.repeat(alike, sizes)] = values[np.repeat(alike, given)]
    known = ids >= 0
    ids, row, loss = ids[known], row[known], loss[known]
    names, of = _numbered(ids)
    order = np.argsort(of, kind="stable")
    first = np.concatenate([[True], np.diff(of[order]) > 0]) if len(order) else np.zeros(0, dtype=bool)
    place = np.arange(len(order))
    turn, before = np.zeros(len(order), dtype=np.int64), np.full(len(order), -1, dtype=np.int64)
    turn[order] = place - np.maximum.accumulate(np.where(first, place, 0))
    sorted_rows = row[order]
    before[order] = np.where(first, -1, sorted_rows - np.concatenate([sorted_rows[:1], sorted_rows[:-1]]))
    return Visits(ids, row, np.where(np.isfinite(loss), loss, np.nan), of, names, turn, before)


def _numbered(ids: Ids) -> tuple[Ids, Ids]:
    """The different ids, sorted, and the number of each: as `np.unique` gives them, by counting where the ids are dense."""
    if not len(ids) or ids.max() > 4 * len(ids):
        names, of = np.unique(ids, return_inverse=True)
        return names, of.astype(np.int64)
    there = np.zeros(int(ids.max()) + 1, dtype=bool)
    there[ids] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[ids]


def whole_epochs(run: Run) -> list[Epoch]:
    """Epochs of which every batch is there with its sample ids, and that the loop did not leave early."""
    sizes = np.diff(run.ragged["sample_ids"].offsets)
    return [e for e in run.epochs if e.fields.get("complete") and is_whole(run, e) and (sizes[e.first : e.last] > 0).all()]


def data_set_size(run: Run) -> int | None:
    """Samples that the loader can draw from, None where unknown."""
    sizes = {(e.fields.get("loader") or {}).get("dataset_size") for e in run.epochs}
    known = {size for size in (*sizes, run.facts.get("dataset_size")) if isinstance(size, int) and size > 0}
    return known.pop() if len(known) == 1 else None


def group_mean(group: Ids, values: Floats) -> Floats:
    """Mean of the values in the group of each, shape of `values`; all must be finite."""
    total, count = np.bincount(group, weights=values), np.bincount(group)
    out: Floats = (total / np.maximum(count, 1))[group]
    return out

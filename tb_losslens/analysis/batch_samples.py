"""The samples of one batch: which they are, their classes against the data set's, and where else they were seen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tb_losslens.analysis.once import once_a_run
from tb_losslens.analysis.text import plural
from tb_losslens.store.downsample import spread
from tb_losslens.store.run import Epoch, Run

MOST_VISITS = 4_000_000
"""Visits of samples that are looked through; of longer runs some epochs, evenly chosen."""
_NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Mix:
    """How often each class is in a run: `names` int64, rising, `share` of all samples whose class is known."""

    names: NDArray[np.int64]
    share: NDArray[np.float64]


@once_a_run
def run_mix(run: Run) -> Mix:
    """Shares of the classes over the whole run; empty where none is known."""
    pairs = np.asarray(run.ragged["classes"].values).reshape(-1, 2) if run.has("classes") else np.empty((0, 2), dtype=np.int64)
    if not len(pairs):
        return Mix(np.empty(0, dtype=np.int64), np.empty(0))
    name, count = pairs[:, 0].astype(np.int64), pairs[:, 1].astype(np.float64)
    low, high = int(name.min()), int(name.max())
    if high - low < 1_000_000:  # counting is ten times faster than sorting
        total = np.bincount(name - low, weights=count)
        names = np.flatnonzero(total) + low
        total = total[total > 0]
    else:
        names, place = np.unique(name, return_inverse=True)
        total = np.bincount(place, weights=count)
    return Mix(names, total / max(1.0, float(total.sum())))


def classes_of(run: Run, batch: int, *, most: int = 12) -> list[dict[str, Any]]:
    """`{"class", "count", "share", "usual"}`: the classes that differ most from the run's share, the largest difference first.

    A class that the batch has none of counts as well. Empty where its classes are unknown.
    """
    pairs = np.asarray(run.ragged["classes"][batch]).reshape(-1, 2) if run.has("classes") else np.empty((0, 2), dtype=np.int64)
    if not len(pairs):
        return []
    mix = run_mix(run)
    count = np.zeros(len(mix.names))
    pairs = pairs[np.isin(pairs[:, 0], mix.names)]  # a class that is never counted is none of the run's
    np.add.at(count, np.searchsorted(mix.names, pairs[:, 0]), pairs[:, 1])
    rest = run.float("class_rest")[batch]
    share = count / max(1.0, float(count.sum()) + (float(rest) if rest > 0 else 0.0))
    order = np.argsort(-np.abs(share - mix.share), kind="stable")[:most]
    return [
        {"class": int(mix.names[k]), "count": int(count[k]), "share": float(share[k]), "usual": float(mix.share[k])}
        for k in order.tolist()
    ]


def ids_of(run: Run, batch: int) -> NDArray[np.int64]:
    """The data set indices of a batch, in order; empty where they are unknown."""
    return np.asarray(run.ragged["sample_ids"][batch], dtype=np.int64) if run.has("sample_ids") else np.empty(0, dtype=np.int64)


def visits_of(run: Run, batch: int) -> dict[str, Any]:
    """Where the samples of a batch were in other epochs: `{"names", "columns", "epochs", "said"}`.

    Columns: `epoch`, `batches` (over how many they lie), `most` (how many are together in the one batch that holds most),
    `batch` (that batch), `loss` (mean loss of the samples where each is known, else of the batches that hold them). `epochs`
    is how many epochs were looked through.
    """
    names = ["epoch", "batches", "most", "batch", "loss"]
    ids = np.unique(ids_of(run, batch))
    ids = ids[ids >= 0]
    looked, others = _looked_through(run, batch) if len(ids) else ([], 0)
    found = [each for epoch in looked if (each := _in_epoch(run, epoch, ids)) is not None]
    rows = [row for row, _ in found]
    columns = [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in names]
    said = _said(len(ids), rows, [came for _, came in found], _epochs_said(len(looked), others)) if len(ids) else ""
    return {"names": names, "columns": columns, "epochs": len(looked), "said": said}


def _looked_through(run: Run, batch: int) -> tuple[list[Epoch], int]:
    """Epochs other than that of the batch, and how many there are in all."""
    others = [epoch for epoch in run.epochs if not epoch.first <= batch < epoch.last]
    offsets = run.ragged["sample_ids"].offsets
    visits = sum(int(offsets[epoch.last] - offsets[epoch.first]) for epoch in others)
    limit = len(others) if visits <= MOST_VISITS else max(1, int(len(others) * MOST_VISITS / visits))
    return [others[at] for at in spread(len(others), min(limit, 200)).tolist()], len(others)


def _in_epoch(run: Run, epoch: Epoch, ids: NDArray[np.int64]) -> tuple[list[Any], int] | None:
    """The row of an epoch, and how many of the samples it holds; None if none."""
    ragged = run.ragged["sample_ids"]
    offsets = ragged.offsets[epoch.first : epoch.last + 1]
    seen = np.asarray(ragged.values[offsets[0] : offsets[-1]])
    place = np.minimum(np.searchsorted(ids, seen), len(ids) - 1)
    at = np.flatnonzero(ids[place] == seen)
    if not len(at):
        return None
    row = np.searchsorted(offsets, at + offsets[0], side="right") - 1
    held = np.bincount(row, minlength=len(epoch))
    loss = _loss(run, epoch, row, at + int(offsets[0]))
    best = int(np.argmax(held))
    came = int(np.count_nonzero(np.bincount(place[at], minlength=len(ids))))
    return [epoch.epoch, int(np.count_nonzero(held)), int(held[best]), epoch.first + best, loss], came


def _loss(run: Run, epoch: Epoch, row: NDArray[np.int64], at: NDArray[np.int64]) -> float | None:
    """Mean loss of the samples at places `at` of all ids, which lie in the batches `row` of the epoch."""
    values = run.loss[epoch.first : epoch.last][row]
    single = run.ragged.get("per_sample")
    if single is not None and np.array_equal(single.offsets, run.ragged["sample_ids"].offsets):
        values = np.asarray(single.values, dtype=np.float64)[at]
    values = values[np.isfinite(values)]
    return float(values.mean()) if len(values) else None


def _said(count: int, rows: list[list[Any]], came: list[int], epochs: str) -> str:
    """What the other epochs show of `count` samples: `rows` are those that hold some, `came` how many of them each does."""
    if not rows:
        return f"None of its {plural(count, 'sample')} was seen in {epochs}."
    if count == 1:
        return f"Its sample was seen in {len(rows):,} of {epochs}."
    together = sum(row[2] >= _NEARLY_ALL * count for row in rows)
    if together >= _NEARLY_ALL * len(rows):
        return f"Its {plural(count, 'sample')} came together in one batch in {together:,} of {epochs}."
    batches = plural(sorted(row[1] for row in rows)[len(rows) // 2], "batch")
    again = sorted(came)[len(came) // 2]
    who = f"Its {count:,} samples" if again == count else f"{again:,} of its {count:,} samples"
    lie = "lies" if again == 1 else "lie"
    return f"{who} {lie} in {batches} of another epoch (the median of {len(rows):,}, found in {epochs})."


def _epochs_said(looked: int, others: int) -> str:
    """The epochs that were looked through."""
    if not others:
        return "another epoch: none was recorded"
    return plural(looked, "other epoch") if looked == others else f"the {looked:,} looked through of {others:,} other epochs"
